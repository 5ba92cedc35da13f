"""Examines the odd results of the studies: is the method the cause, or a fault?

python figures/study/odd.py --studies=runs --data_dir=... [--output=FOLDER]

On CIFAR-10 a first block that starts at random can stay far behind. The frozen layers after it
expect the parent's feature maps, each in its place. So the script measures how similar each map
of each layer-only trial of block 1 is to the parent's map of that number, and retrains the
trials that started at random for four times as long. On CIFAR-100 a compressed third block
seems to gain: the script adds two seeds. On CIFAR-10 a compressed last block seems to gain: the
script retrains it at a tenth of the rate, and the parent as well. The results are copied to
`odd/`, from which `remake.py` makes tables.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from collect import keep, run

from deep_net_triage.images import datasets
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import trial_folder
from deep_net_triage.records.study_results import read_study

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
# By name: the study whose parent and settings a run shares, and the flags that differ.
RUNS = {
    "block1_longer": ("cifar10", ("--method=cl_rw", "--block=1", "--epochs=32")),
    "slowly": (
        "cifar10",
        ("--method=stn,cm_mw,stn_cm,control", "--block=1,5", "--learning_rate=0.0001"),
    ),
    "block3_seeds": ("cifar100", ("--method=cm_rw,cm_mw,control", "--block=3", "--seeds=1,2")),
}
# The number on which the similarity in `results.csv` is measured.
IMAGES = 512


def main() -> None:
    """Measures the maps, then runs what `RUNS` lists."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=Path, required=True, help="their --output_dir")
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/odd"))
    arguments = parser.parse_args()
    copies = HERE / "odd"
    copies.mkdir(exist_ok=True)
    images = datasets.load(
        "cifar10", image_size=32, data_dir=arguments.data_dir, test_examples=2000
    ).test.images
    measured = list(first_blocks(arguments.studies / "cifar10", images[:IMAGES]))
    with (copies / "first_maps.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("method", "seed", "max_accuracy", "similarity", "correlation", "dead"))
        table.writerows(measured)
    data = (f"--data_dir={arguments.data_dir}",) if arguments.data_dir else ()
    for name, (study, flags) in RUNS.items():
        folder = arguments.output / name
        parent = arguments.studies / study / "parent" / "model.keras"
        of_study = f"--flagfile={REPOSITORY / 'flags' / 'study' / study}.flags"
        shared = (of_study, "--parallel_trials=1", f"--parent={parent}")
        run((*shared, *flags, *data), folder)
        keep(folder / study, copies / name)


def first_blocks(study: Path, images: np.ndarray) -> Iterator[tuple[object, ...]]:
    """Yields a row of the file for each layer-only trial of block 1.

    `correlation` leaves out constant maps; `dead` is the number of them.
    """
    parents = first_maps(study / "parent" / "model.keras", images)
    for row in read_study(study).rows:
        if row.block == "block1" and METHODS[row.method].updates == "block":
            maps = first_maps(trial_folder(study, *row.trial) / "model.keras", images)
            alive = maps.std(axis=0) > 0
            likeness = round(correlation(maps[:, alive], parents[:, alive]), 4)
            dead = int((~alive).sum())
            yield row.method, row.seed, row.max_accuracy, row.similarity, likeness, dead


def first_maps(path: Path, images: np.ndarray) -> np.ndarray:
    """Returns the pooled output of a saved model's first block; (positions, maps)."""
    model = keras.models.load_model(path)
    pooled = keras.Model(model.input, model.get_layer("block1_pool").output)
    returned = pooled.predict(images, verbose=0)
    return returned.reshape(-1, returned.shape[-1])


def correlation(maps: np.ndarray, parents: np.ndarray) -> float:
    """Returns Pearson's correlation of each map with the parent's, averaged over maps."""
    each = [np.corrcoef(a, b)[0, 1] for a, b in zip(maps.T, parents.T, strict=True)]
    return float(np.mean(each))


if __name__ == "__main__":
    main()
