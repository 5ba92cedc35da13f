"""Finds out why a first block that starts at random is far below one that starts otherwise.

python figures/study/block1.py --study=runs/cifar10 --data_dir=...

Frozen layers behind the block expect the parent's feature maps, each in its place. So for each
layer-only trial of block 1 it measures how alike each map is to the parent's of that number,
and it retrains those that started at random for four times as long. Both are kept in `block1/`,
of which `remake.py` makes tables.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from collect import keep

from deep_net_triage.images import datasets
from deep_net_triage.learning.methods import METHODS
from deep_net_triage.records import results

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
LONGER = ("--method=cl_rw", "--block=1", "--epochs=32")
IMAGES = 500


def main() -> None:
    """Measures the maps, then trains on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="<output_dir>/cifar10")
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/longer"))
    asked = parser.parse_args()
    images = datasets.load("cifar10", image_size=32, data_dir=asked.data_dir).test.images
    parent = asked.study / "parent" / "model.keras"
    wanted = first_maps(parent, images[:IMAGES])
    kept = HERE / "block1"
    kept.mkdir(exist_ok=True)
    with (kept / "maps.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("method", "seed", "max_accuracy", "similarity", "correlation"))
        for row in results.read_study(asked.study).rows:
            if row["block"] == "block1" and METHODS[row["method"]].updates == "block":
                name = f"{row['method']}-block1-seed{row['seed']}"
                model = asked.study / "trials" / name / "model.keras"
                found = correlation(first_maps(model, images[:IMAGES]), wanted)
                named = [row[key] for key in ("method", "seed", "max_accuracy", "similarity")]
                table.writerow((*named, round(found, 4)))
    flags = [f"--flagfile={REPOSITORY / 'flags' / 'study' / 'cifar10.flags'}", *LONGER]
    places = [f"--parent={parent}", f"--output_dir={asked.output}"]
    places += [f"--data_dir={asked.data_dir}"] if asked.data_dir else []
    command = [sys.executable, str(REPOSITORY / "run_triage.py"), *flags, *places]
    subprocess.run(command, check=True)
    keep(asked.output / "cifar10", kept / "longer")


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
