"""Numbers of the folds' page, computed again from the committed files by NumPy alone."""

import json
import re

import numpy as np
import pytest

from tests.conftest import REPOSITORY

HERE = REPOSITORY / "figures" / "folds"
WHOLE, LAYER = ("cm_rw", "cm_mw", "stn_cm"), ("cl_rw", "cl_mw", "stn")
BLOCKS = ("block1", "block2", "block3", "block4", "block5")
# Student's t for 95 %, from a table, by the number of folds.
QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
# The share of a fold's images that are tested, divided by the share that is trained on.
OVERLAP = 1 / 5

SETS = [
    name
    for name in ("cifar10", "cifar100")
    if len(list(HERE.glob(f"{name}/*/results.csv"))) > 1
]


def trial(fold, method, block):
    (file,) = fold.glob(f"trials/{method}-{block}-seed*/correct.npy")
    return file.parent


def last(fold, method, block="no-block"):
    """The share of test images that a student classifies correctly after its last epoch."""
    packed = np.load(trial(fold, method, block) / "correct.npy")
    images = json.loads((fold / "parent" / "result.json").read_text())["settings"][
        "test_images"
    ]
    return np.unpackbits(packed, count=images).mean()


def early(fold, method, block):
    """The mean accuracy of the first three epochs after distillation."""
    lines = (trial(fold, method, block) / "epochs.jsonl").read_text().splitlines()
    epochs = [one for one in map(json.loads, lines) if one["phase"] == "train"]
    return np.mean([one["val_accuracy"] for one in epochs[:3]])


def over(measure, fold, methods, blocks=BLOCKS):
    return np.mean([measure(fold, method, block) for method in methods for block in blocks])


DIFFERENCES = {
    "whole model minus control": lambda fold: over(last, fold, WHOLE) - last(fold, "control"),
    "block1 minus block5": lambda fold: (
        over(last, fold, WHOLE + LAYER, BLOCKS[:1])
        - over(last, fold, WHOLE + LAYER, BLOCKS[4:])
    ),
    "control minus layer only, block5": lambda fold: (
        last(fold, "control") - over(last, fold, LAYER, BLOCKS[4:])
    ),
    "mean minus random start, early": lambda fold: (
        over(early, fold, ("cl_mw", "cm_mw")) - over(early, fold, ("cl_rw", "cm_rw"))
    ),
}


@pytest.mark.skipif(not SETS, reason="no two folds of a data set have been committed")
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("difference", DIFFERENCES)
def test_the_page_has_the_numbers_of_the_files(name, difference):
    folds = sorted((HERE / name).glob("fold*"))
    values = [100 * DIFFERENCES[difference](fold) for fold in folds]
    mean, deviation = np.mean(values), np.std(values, ddof=1)
    plain = QUANTILES[len(folds)] * deviation / np.sqrt(len(folds))
    corrected = QUANTILES[len(folds)] * deviation * np.sqrt(1 / len(folds) + OVERLAP)
    page = (HERE / "README.md").read_text().replace("\u2212", "-")
    title = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}[name]
    (section,) = re.findall(rf"## {title}\n(.*?)(?=\n## |\Z)", page, re.DOTALL)
    (row,) = re.findall(rf"\| {re.escape(difference)} \|([^\n]*)", section)
    shown = list(map(float, re.findall(r"[+-]\d+\.\d+", row)))[:5]
    expected = [mean, mean - corrected, mean + corrected, mean - plain, mean + plain]
    # The page shows two decimals; the quantiles above have five digits.
    assert shown == pytest.approx(expected, abs=0.006, rel=1e-4)
