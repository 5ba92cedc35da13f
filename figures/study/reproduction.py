"""The tables of `docs/reproduction.md`, from the files that were kept.

They show what changes where the paper is silent and a decision is taken otherwise.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from decisions import CHANGES, DECIDED, Change

from deep_net_triage.findings import verdict
from deep_net_triage.findings.statistics import Estimate, accuracy_difference
from deep_net_triage.learning.methods import METHODS
from deep_net_triage.records.results import (
    StudyResults,
    mean,
    read_epochs,
    read_result,
    read_study,
)


def changes(kept: Path) -> Iterator[str]:
    """Yields a table of decisions taken otherwise; what was not run is left out.

    Args:
        kept: the folder that `decisions.py` keeps them in.
    """
    decided = read_study(kept / DECIDED)
    columns = "decided | otherwise | method | parent | accuracy | difference | epochs to 99 %"
    yield f"| {columns} |"
    yield "|---|---|---|---|---|---|---|"
    for change in CHANGES:
        if (kept / change.name).is_dir():
            yield _line(change, decided, read_study(kept / change.name))


def rates(searched: Path) -> Iterator[str]:
    """Yields a table of the learning rates that were tried for the parent.

    Args:
        searched: the file that `search_parent.py` writes.
    """
    yield "| learning rate | best of 30 epochs | of 60 | mean of epochs 26 to 30 | 56 to 60 |"
    yield "|---|---|---|---|---|"
    for rate, accuracies in json.loads(searched.read_text(encoding="utf-8")).items():
        cells = [
            f"{100 * max(accuracies[:30]):.1f}",
            "–",
            f"{100 * mean(accuracies[25:30]):.1f}",
        ]
        cells.append("–")
        if len(accuracies) == 60:
            cells[1::2] = f"{100 * max(accuracies):.1f}", f"{100 * mean(accuracies[55:]):.1f}"
        yield f"| {' | '.join([rate, *cells])} |"


def selection(studies: Sequence[StudyResults]) -> Iterator[str]:
    """Yields a table of what is won by reporting the best epoch, by how many there were."""
    yield "| data set | parent | of as few epochs | control | whole model | layer only |"
    yield "|---|---|---|---|---|---|"
    for study in studies:
        found = read_result(study.folder / "parent")
        accuracies = [record["val_accuracy"] for record in read_epochs(study.folder / "parent")]
        few = read_result(next((study.folder / "trials").iterdir()))["settings"]["epochs"]
        flat = accuracies[len(accuracies) // 2 :]
        best = [max(flat[start : start + few]) for start in range(len(flat) - few + 1)]
        rows = [row for row in study.rows if METHODS[row["method"]].updates == "model"]
        others = [row for row in study.rows if METHODS[row["method"]].updates == "block"]
        cells = (
            _best_and_last(study.baseline_accuracy, found["final_accuracy"]),
            f"{100 * mean(best):.1f}",
            *(_mean_best_and_last(group) for group in (study.controls, rows, others)),
        )
        yield f"| {study.dataset} | {' | '.join(cells)} |"


def first_maps(kept: Path) -> Iterator[str]:
    """Yields a table of layer-only trials of block 1: their accuracy and their feature maps.

    Args:
        kept: the folder that `odd.py` keeps them in.
    """
    longer = read_study(kept / "block1_longer")
    yield "| trial | similarity (CKA) | correlation map by map | accuracy | after 32 epochs |"
    yield "|---|---|---|---|---|"
    with (kept / "first_maps.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            again = [
                trial["max_accuracy"]
                for trial in longer.rows
                if (trial["method"], str(trial["seed"])) == (row["method"], row["seed"])
            ]
            cells = (
                f"{METHODS[row['method']].title}, seed {row['seed']}",
                f"{float(row['similarity']):.2f}",
                f"{float(row['correlation']):.2f}",
                f"{100 * float(row['max_accuracy']):.1f}",
                f"{100 * again[0]:.1f}" if again else "–",
            )
            yield f"| {' | '.join(cells)} |"
    yield f"| parent | 1.00 | 1.00 | {100 * longer.baseline_accuracy:.1f} | |"


def points(estimate: Estimate) -> str:
    """Returns a difference of accuracies in points with its interval."""
    return estimate.text("", 100).replace("  ", " ")


def _line(change: Change, decided: StudyResults, changed: StudyResults) -> str:
    accuracies, epochs, correct = [], [], []
    for study in (decided, changed):
        rows = [row for row in (*study.rows, *study.controls) if row["method"] == change.method]
        accuracies.append(f"{100 * mean(row['max_accuracy'] for row in rows):.1f}")
        epochs.append(f"{mean(row['epochs_to_99'] for row in rows):.1f}")
        correct.append(verdict.kept_correct(study, change.method, rows[0]["block"]))
    parents = "the same"
    if change.of_parent:
        parents = points(
            accuracy_difference(changed.parent_correct[np.newaxis], decided.parent_correct)
        )
    columns = (
        change.decided,
        change.otherwise,
        METHODS[change.method].title if change.method in METHODS else change.method,
        parents,
        " → ".join(accuracies),
        points(verdict.between(correct[1], correct[0])),
        " → ".join(epochs),
    )
    return f"| {' | '.join(columns)} |"


def _mean_best_and_last(rows: Sequence[dict[str, object]]) -> str:
    last = mean(row["final_accuracy"] for row in rows)
    return _best_and_last(mean(row["max_accuracy"] for row in rows), last)


def _best_and_last(best: float, last: float) -> str:
    return f"{100 * best:.1f}, {100 * last:.1f}"
