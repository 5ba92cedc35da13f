"""The tables of `docs/reproduction.md`, from the files that were kept.

They show what changes where the paper is silent and a decision is taken otherwise.
"""

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from decisions import CHANGES, DECIDED, Change

from deep_net_triage.findings import looks, verdict
from deep_net_triage.findings.statistics import Estimate, accuracy_difference
from deep_net_triage.methods import CONTROL, METHODS
from deep_net_triage.records.files import read_json
from deep_net_triage.records.results import (
    StudyResults,
    mean,
    read_epochs,
    read_result,
    read_study,
    trial_folder,
)


def changes(kept: Path) -> Iterator[str]:
    """Yields a table of decisions taken otherwise; what was not run is left out.

    Args:
        kept: the folder that `decisions.py` keeps them in.
    """
    decided = read_study(kept / DECIDED)
    columns = "decided | otherwise | method | parent | student | change | gain | epochs to 99 %"
    yield f"| {columns} |"
    yield "|---|---|---|---|---|---|---|---|"
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
        best, late = [], []
        for epochs in (30, 60):
            ran = accuracies[:epochs] if len(accuracies) >= epochs else None
            best.append(f"{100 * max(ran):.1f}" if ran else "–")
            late.append(f"{100 * mean(ran[-5:]):.1f}" if ran else "–")
        yield f"| {' | '.join([rate, *best, *late])} |"


def selection(studies: Sequence[StudyResults]) -> Iterator[str]:
    """Yields a table of what is won by reporting the best epoch, by how many there were."""
    yield "| data set | parent | best of few in a row | control | whole model | layer only |"
    yield "|---|---|---|---|---|---|"
    for study in studies:
        found = read_result(study.folder / "parent")
        accuracies = _curve(study.folder / "parent")
        few = read_json(study.folder / "study.json")["settings"]["epochs"]
        flat = accuracies[len(accuracies) // 2 :]
        best = [max(flat[start : start + few]) for start in range(len(flat) - few + 1)]
        groups = [study.controls]
        for updates in ("model", "block"):
            of_group = [row for row in study.rows if METHODS[row["method"]].updates == updates]
            groups.append(of_group)
        cells = (
            _best_and_last([study.baseline_accuracy], [found["final_accuracy"]]),
            f"{100 * mean(best):.1f}",
            *(
                _best_and_last(
                    [row["max_accuracy"] for row in group],
                    [row["final_accuracy"] for row in group],
                )
                for group in groups
            ),
        )
        yield f"| {looks.title(study.dataset)} | {' | '.join(cells)} |"


def steps(studies: Sequence[StudyResults]) -> Iterator[str]:
    """Yields a table of how far accuracy moves an epoch, late in training, in points."""
    yield "| data set | 1 % of the maximum | layer only | whole model | parent |"
    yield "|---|---|---|---|---|"
    for study in studies:
        moved = {"block": [], "model": []}
        for row in study.rows:
            trial = (row["method"], row["block"], row["seed"])
            curve = _curve(trial_folder(study.folder, *trial))
            moved[METHODS[row["method"]].updates].append(_step(curve))
        cells = (
            mean(row["max_accuracy"] for row in study.rows) / 100,
            mean(moved["block"]),
            mean(moved["model"]),
            _step(_curve(study.folder / "parent")),
        )
        numbers = " | ".join(f"{100 * cell:.1f}" for cell in cells)
        yield f"| {looks.title(study.dataset)} | {numbers} |"


def first_maps(kept: Path) -> Iterator[str]:
    """Yields a table of layer-only trials of block 1: their accuracy and their feature maps.

    Args:
        kept: the folder that `odd.py` keeps them in.
    """
    longer = read_study(kept / "block1_longer")
    after = {str(row["seed"]): row["max_accuracy"] for row in longer.rows}
    yield "| trial | CKA | correlation map by map | best of 8 epochs | best of 32 |"
    yield "|---|---|---|---|---|"
    with (kept / "first_maps.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            again = after.get(row["seed"]) if row["method"] == "cl_rw" else None
            cells = (
                f"{METHODS[row['method']].title}, seed {row['seed']}",
                f"{float(row['similarity']):.2f}",
                f"{float(row['correlation']):.2f}",
                f"{100 * float(row['max_accuracy']):.1f}",
                f"{100 * again:.1f}" if again else "–",
            )
            yield f"| {' | '.join(cells)} |"
    yield f"| parent | 1.00 | 1.00 | {100 * longer.baseline_accuracy:.1f} | |"


def third_block(kept: Path, study: StudyResults) -> Iterator[str]:
    """Yields a table of what more seeds say of a third block that seems to gain.

    Args:
        kept: the folder that `odd.py` keeps them in.
        study: the one whose only seed showed it.
    """
    more = read_study(kept / "block3_seeds")
    yield "| method | seed 0 against the parent | two more seeds | against the control |"
    yield "|---|---|---|---|"
    control = verdict.kept_correct(more, CONTROL, more.controls[0]["block"])
    for method in dict.fromkeys(row["method"] for row in more.rows):
        cells = (
            METHODS[method].title,
            points(verdict.against_parent(study, method, "block3")),
            points(verdict.against_parent(more, method, "block3")),
            points(verdict.between(verdict.kept_correct(more, method, "block3"), control)),
        )
        yield f"| {' | '.join(cells)} |"


def slowly(kept: Path, study: StudyResults) -> Iterator[str]:
    """Yields a table of what is left of gains over the parent when it is trained on as well.

    Args:
        kept: the folder that `odd.py` keeps them in.
        study: the one whose methods were retrained at a tenth of the rate.
    """
    slow = read_study(kept / "slowly")
    tried = dict.fromkeys((row["method"], row["block"]) for row in (*slow.controls, *slow.rows))
    yield "| | 0.001: to the parent | to the control | 0.0001: to the parent | to the control |"
    yield "|---|---|---|---|---|"
    for method, block in tried:
        name = CONTROL if method == CONTROL else f"{METHODS[method].title} at {block}"
        cells = [name]
        for one in (study, slow):
            correct = verdict.kept_correct(one, method, block)
            control = verdict.kept_correct(one, CONTROL, one.controls[0]["block"])
            cells.append(points(verdict.against_parent(one, method, block)))
            cells.append(
                "–" if method == CONTROL else points(verdict.between(correct, control))
            )
        yield f"| {' | '.join(cells)} |"


def points(estimate: Estimate) -> str:
    """Returns a difference of accuracies in points with its interval."""
    return estimate.text("", 100).replace("  ", " ")


def _curve(folder: Path) -> list[float]:
    """Returns the test accuracy after each epoch of classification."""
    records = read_epochs(folder)
    return [record["val_accuracy"] for record in records if record["phase"] == "train"]


def _step(curve: list[float]) -> float:
    """Returns how far accuracy moves an epoch, on average over the second half of a curve."""
    late = curve[len(curve) // 2 :]
    return mean(abs(after - before) for before, after in itertools.pairwise(late))


def _line(change: Change, decided: StudyResults, changed: StudyResults) -> str:
    accuracies, gains, epochs, correct = [], [], [], []
    for study in (decided, changed):
        rows = [row for row in (*study.rows, *study.controls) if row["method"] == change.method]
        block = rows[0]["block"]
        accuracies.append(f"{100 * mean(row['max_accuracy'] for row in rows):.1f}")
        gain = verdict.against_parent(study, change.method, block)
        gains.append(f"{round(100 * gain.mean, 1) + 0.0:+.1f}")
        epochs.append(f"{mean(row['epochs_to_99'] for row in rows):.1f}")
        correct.append(verdict.kept_correct(study, change.method, block))
    if correct[0].keys() != correct[1].keys():
        raise ValueError(f"{change.name}: not all seeds finished")
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
        " → ".join(gains),
        " → ".join(epochs),
    )
    return f"| {' | '.join(columns)} |"


def _best_and_last(best: Sequence[float], last: Sequence[float]) -> str:
    return f"{100 * mean(best):.1f}, {100 * mean(last):.1f}"
