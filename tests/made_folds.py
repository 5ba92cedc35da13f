"""Folds that are made up, or made from a committed study, and the scripts that read folds."""

import shutil
import subprocess
import sys

import numpy as np

from deep_net_triage.records import files
from tests.conftest import REPOSITORY

HERE = REPOSITORY / "figures" / "folds"
sys.path.insert(1, str(HERE))
import contrasts  # noqa: E402
import fold_results  # noqa: E402

STUDIES = REPOSITORY / "figures" / "study" / "settling_results" / "digits"
DIGITS = STUDIES / "settled_parent0"
CONTROL = ("control", "no-block")


def made_up(number, accuracies=(), early=(), count=6, parent=0.8, noise=0.002):
    """A fold in which all trials end at 0.7 and begin at 0.6, but for those that are named."""
    draw = np.random.default_rng(number)
    cells = [(method, block) for method in contrasts.SIX for block in contrasts.BLOCKS]

    def values(usual, others):
        found = {cell: usual + noise * draw.normal() for cell in (*cells, CONTROL)}
        for (method, block), value in dict(others).items():
            chosen = [c for c in found if method in (c[0], "all") and block in (c[1], "all")]
            found |= {cell: value + noise * draw.normal() for cell in chosen}
        return found

    measures = {
        "accuracy": values(0.7, accuracies),
        "early": values(0.6, early),
        "later": values(0.65, ()),
    }
    return fold_results.Fold(number, count, parent, measures, 10, 10_000, 2000, 3)


def made_up_folds(*values, **more):
    return [made_up(number, *values, **more) for number in range(6)]


def fold_of_digits(folder, fold, source=DIGITS, **settings):
    """A committed study of digits as if it were a fold."""
    shutil.copytree(source, folder)
    content = files.read_json(folder / "study.json")
    content["settings"] |= {"fold": fold, **settings}
    content["near_duplicates"] = 4
    files.write_json(folder / "study.json", content)


def run_analysis(results, output):
    command = [sys.executable, str(HERE / "analyse.py")]
    places = [f"--results={results}", f"--output={output}"]
    return subprocess.run([*command, *places], capture_output=True, text=True, check=False)
