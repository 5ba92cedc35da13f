"""Looks into what is odd in the studies: is it the method, or a fault?

python figures/study/odd.py --studies=runs --data_dir=... [--output=FOLDER]

On CIFAR-10 a first block that starts at random can stay far behind. Frozen layers behind it
expect the parent's feature maps, each in its place: so for each layer-only trial of block 1
it measures how alike each map is to the parent's of that number, and retrains those that
started at random for four times as long. On CIFAR-100 a compressed third block seems to gain:
so it adds two seeds. On CIFAR-10 a compressed last block seems to gain: so it retrains at a
tenth of the rate, at which the parent trained on gains as well. All is kept in `odd/`, of
which `remake.py` makes tables.
"""

import argparse
import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from collect import keep

from deep_net_triage.images import datasets
from deep_net_triage.methods import METHODS
from deep_net_triage.records import results

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
# By name: the study whose parent and settings it shares, and what differs.
RUNS = {
    "block1_longer": ("cifar10", ("--method=cl_rw", "--block=1", "--epochs=32")),
    "slowly": (
        "cifar10",
        ("--method=stn,cm_mw,stn_cm,control", "--block=1,5", "--learning_rate=0.0001"),
    ),
    "block3_seeds": ("cifar100", ("--method=cm_rw,cm_mw,control", "--block=3", "--seeds=1,2")),
}
# As many as the similarity of `results.csv` is measured on.
IMAGES = 512


def main() -> None:
    """Measures the maps, then trains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=Path, required=True, help="their --output_dir")
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/odd"))
    asked = parser.parse_args()
    kept = HERE / "odd"
    kept.mkdir(exist_ok=True)
    images = datasets.load(
        "cifar10", image_size=32, data_dir=asked.data_dir, test_examples=2000
    ).test.images
    measured = list(first_blocks(asked.studies / "cifar10", images[:IMAGES]))
    with (kept / "first_maps.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("method", "seed", "max_accuracy", "similarity", "correlation", "dead"))
        table.writerows(measured)
    data = [f"--data_dir={asked.data_dir.resolve()}"] if asked.data_dir else []
    for name, (study, flags) in RUNS.items():
        folder = (asked.output / name).resolve()
        parent = (asked.studies / study / "parent" / "model.keras").resolve()
        command = [sys.executable, "run_triage.py", f"--flagfile=flags/study/{study}.flags"]
        command += [*flags, *data, f"--parent={parent}", f"--output_dir={folder}"]
        subprocess.run(command, check=True, cwd=REPOSITORY)
        keep(folder / study, kept / name)


def first_blocks(study: Path, images: np.ndarray) -> Iterator[tuple[object, ...]]:
    """Yields a row a layer-only trial of block 1, in the order of the file's columns.

    `correlation` leaves out maps that are the same everywhere; `dead` is how many they are.
    """
    wanted = first_maps(study / "parent" / "model.keras", images)
    for row in results.read_study(study).rows:
        if row["block"] == "block1" and METHODS[row["method"]].updates == "block":
            name = f"{row['method']}-block1-seed{row['seed']}"
            found = first_maps(study / "trials" / name / "model.keras", images)
            named = (row[key] for key in ("method", "seed", "max_accuracy", "similarity"))
            alive = found.std(axis=0) > 0
            likeness = correlation(found[:, alive], wanted[:, alive])
            yield (*named, round(likeness, 4), int((~alive).sum()))


def first_maps(path: Path, images: np.ndarray) -> np.ndarray:
    """Returns what a saved model's first block returns, pooled; (positions, maps)."""
    model = keras.models.load_model(path)
    pooled = keras.Model(model.input, model.get_layer("block1_pool").output)
    returned = pooled.predict(images, verbose=0)
    return returned.reshape(-1, returned.shape[-1])


def correlation(maps: np.ndarray, wanted: np.ndarray) -> float:
    """Returns Pearson's correlation of each map with the wanted one, averaged over maps."""
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(maps.T, wanted.T, strict=True)]
    return float(np.mean(each))


if __name__ == "__main__":
    main()
