"""The tables of `docs/reproduction.md` on single studies, from their files.

They show how the results change if a decision that the paper leaves open is made differently.
"""

import csv
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from decisions import CHANGES, DECIDED, Change
from made_parts import header, row

from deep_net_triage.findings import looks
from deep_net_triage.findings.statistics import (
    Estimate,
    accuracy_difference,
    against_parent,
    paired_difference,
)
from deep_net_triage.methods import CONTROL, NO_BLOCK, TABLE
from deep_net_triage.records.results import Epoch, Row, read_epochs, read_parent
from deep_net_triage.records.study_results import StudyResults, mean, read_study
from deep_net_triage.wording import signed


def changes(runs: Path) -> Iterator[str]:
    """Yields a table of decisions made differently; what was not run is left out.

    Args:
        runs: the folder to which `decisions.py` copies its runs.
    """
    decided = read_study(runs / DECIDED)
    columns = "decided | otherwise | method | parent | student | change | gain | epochs to 99 %"
    yield from header(*columns.split(" | "))
    for change in CHANGES:
        if (runs / change.name).is_dir():
            yield _line(change, decided, read_study(runs / change.name))


def rates(searched: Path) -> Iterator[str]:
    """Yields a table of the learning rates that were tried for the parent.

    Args:
        searched: the file of `search_parent.py`.
    """
    yield from header(
        "learning rate", "best of 30 epochs", "of 60", "mean of epochs 26 to 30", "56 to 60"
    )
    for rate, accuracies in json.loads(searched.read_text(encoding="utf-8")).items():
        best, late = [], []
        for epochs in (30, 60):
            ran = accuracies[:epochs] if len(accuracies) >= epochs else None
            best.append(f"{100 * max(ran):.1f}" if ran else "–")
            late.append(f"{100 * mean(ran[-5:]):.1f}" if ran else "–")
        yield row(rate, *best, *late)


def selection(studies: Sequence[StudyResults]) -> Iterator[str]:
    """Yields a table of what reporting the best epoch gains, by the number of epochs."""
    few = studies[0].settings["epochs"]
    yield from header(
        "data set", "parent", f"best of {few}", "control", "whole model", "layer only"
    )
    for study in studies:
        parent = read_parent(study.folder / "parent")
        accuracies = _curve(read_epochs(study.folder / "parent"))
        flat = accuracies[len(accuracies) // 2 :]
        best = [max(flat[start : start + few]) for start in range(len(flat) - few + 1)]
        groups = [study.controls]
        for updates in ("model", "block"):
            groups.append([one for one in study.rows if TABLE[one.method].updates == updates])
        cells = (
            _best_and_last([study.baseline_accuracy], [parent.final_accuracy]),
            f"{100 * mean(best):.1f}",
            *(
                _best_and_last(
                    [one.max_accuracy for one in group], [one.final_accuracy for one in group]
                )
                for group in groups
            ),
        )
        yield row(looks.title(study.dataset), *cells)


def steps(studies: Sequence[StudyResults]) -> Iterator[str]:
    """Yields a table of how far accuracy moves from epoch to epoch, late in training."""
    yield from header("data set", "1 % of the maximum", "layer only", "whole model", "parent")
    for study in studies:
        moved = {"block": [], "model": []}
        for one in study.rows:
            curve = _curve(study.epochs[one.trial])
            moved[TABLE[one.method].updates].append(_step(curve))
        cells = (
            mean(one.max_accuracy for one in study.rows) / 100,
            mean(moved["block"]),
            mean(moved["model"]),
            _step(_curve(read_epochs(study.folder / "parent"))),
        )
        yield row(looks.title(study.dataset), *(f"{100 * cell:.1f}" for cell in cells))


def first_maps(runs: Path) -> Iterator[str]:
    """Yields a table of layer-only trials of block 1: their accuracy and their feature maps.

    Args:
        runs: the folder to which `odd.py` copies its runs.
    """
    longer = read_study(runs / "block1_longer")
    after = {str(one.seed): one.max_accuracy for one in longer.rows}
    yield from header(
        "trial", "CKA", "correlation map by map", "best of 8 epochs", "best of 32"
    )
    with (runs / "first_maps.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            again = after.get(line["seed"]) if line["method"] == "cl_rw" else None
            yield row(
                f"{TABLE[line['method']].title}, seed {line['seed']}",
                f"{float(line['similarity']):.2f}",
                f"{float(line['correlation']):.2f}",
                f"{100 * float(line['max_accuracy']):.1f}",
                f"{100 * again:.1f}" if again else "–",
            )
    yield row("parent", "1.00", "1.00", f"{100 * longer.baseline_accuracy:.1f}", "")


def third_block(runs: Path, study: StudyResults) -> Iterator[str]:
    """Yields a table of two more seeds of a third block that seems to gain.

    Args:
        runs: the folder to which `odd.py` copies its runs.
        study: the study with one seed, which shows the gain.
    """
    more = read_study(runs / "block3_seeds")
    yield from header(
        "method", "seed 0 against the parent", "two more seeds", "against the control"
    )
    control = more.correct_by_seed(CONTROL, NO_BLOCK)
    for method in dict.fromkeys(one.method for one in more.rows):
        yield row(
            TABLE[method].title,
            points(gain(study, method, "block3")),
            points(gain(more, method, "block3")),
            points(paired_difference(more.correct_by_seed(method, "block3"), control)),
        )


def slowly(runs: Path, study: StudyResults) -> Iterator[str]:
    """Yields a table of how much of a gain is left if the parent is trained on as well.

    Args:
        runs: the folder to which `odd.py` copies its runs.
        study: the study whose trials were run again at a tenth of the rate.
    """
    slow = read_study(runs / "slowly")
    tried = dict.fromkeys((one.method, one.block) for one in (*slow.controls, *slow.rows))
    yield from header(
        "", "0.001: from parent", "from control", "0.0001: from parent", "from control"
    )
    for method, block in tried:
        title = TABLE[method].title
        cells = [title if method == CONTROL else f"{title} at {block}"]
        for one in (study, slow):
            correct = one.correct_by_seed(method, block)
            control = one.correct_by_seed(CONTROL, NO_BLOCK)
            cells.append(points(gain(one, method, block)))
            cells.append(
                "–" if method == CONTROL else points(paired_difference(correct, control))
            )
        yield row(*cells)


def gain(study: StudyResults, method: str, block: str) -> Estimate | None:
    """Returns the accuracy of a method's students at a block minus the parent's, 0..1."""
    return against_parent(study.correct_by_seed(method, block), study.parent_correct)


def points(estimate: Estimate) -> str:
    """Returns a difference of accuracies in points with its interval."""
    return estimate.text("", 100)


def _curve(epochs: Sequence[Epoch]) -> list[float]:
    """Returns the test accuracy after each epoch of classification."""
    return [epoch.val_accuracy for epoch in epochs if epoch.phase == "train"]


def _step(curve: list[float]) -> float:
    """Returns how far accuracy moves from epoch to epoch in the second half of a curve."""
    late = curve[len(curve) // 2 :]
    return mean(abs(after - before) for before, after in itertools.pairwise(late))


def _line(change: Change, decided: StudyResults, changed: StudyResults) -> str:
    accuracies, gains, epochs, correct = [], [], [], []
    for study in (decided, changed):
        rows = _rows(study, change.method)
        block = rows[0].block
        accuracies.append(f"{100 * mean(one.chosen_accuracy for one in rows):.1f}")
        gains.append(signed(100 * gain(study, change.method, block).mean))
        epochs.append(f"{mean(one.epochs_to_99 for one in rows):.1f}")
        correct.append(study.correct_by_seed(change.method, block))
    if correct[0].keys() != correct[1].keys():
        raise ValueError(f"{change.name}: not all seeds finished")
    parents = "the same"
    if change.of_parent:
        parents = points(
            accuracy_difference(changed.parent_correct[np.newaxis], decided.parent_correct)
        )
    return row(
        change.decided,
        change.otherwise,
        TABLE[change.method].title,
        parents,
        " → ".join(accuracies),
        points(paired_difference(correct[1], correct[0])),
        " → ".join(gains),
        " → ".join(epochs),
    )


def _rows(study: StudyResults, method: str) -> Sequence[Row]:
    return study.controls if method == CONTROL else study.trials(method)


def _best_and_last(best: Sequence[float], last: Sequence[float]) -> str:
    return f"{100 * mean(best):.1f}, {100 * mean(last):.1f}"
