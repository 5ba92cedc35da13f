"""The page's table of trials: which columns of `results.csv` it shows, and how."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deep_net_triage.findings import page
from deep_net_triage.methods import TABLE
from deep_net_triage.records.results import COLUMNS, Row
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.wording import decimals


@dataclass(frozen=True)
class Measure:
    """A column of `results.csv` as readers see it.

    Attributes:
        group: the title above it and its neighbours.
        title: its header, with the unit.
        meaning: one line.
        kind: `word`; `count`, an integer; `accuracy`, a share of the test images, shown in
            percent; `measure`, shown with three digits.
        scale: the factor from the recorded unit to the title's.
    """

    group: str
    title: str
    meaning: str
    kind: Literal["word", "count", "accuracy", "measure"] = "measure"
    scale: float = 1


_TRIAL = "trial"
_ACCURACY = "test accuracy, %"
_EPOCHS = "epochs"
_ROLE = "what the block does"
_SIZE = "size"
_SPEED = "speed"

# In the table's order, by their names in `results.csv`.
MEASURES = {
    "block": Measure(_TRIAL, "block", "the block that one layer replaces", "word"),
    "method": Measure(
        _TRIAL, "method", "how that layer is initialised and what is trained", "word"
    ),
    "seed": Measure(_TRIAL, "seed", "the seed of everything random in the trial", "count"),
    "initial_accuracy": Measure(
        _ACCURACY, "at first", "right after compression, before any training", "accuracy"
    ),
    "distilled_accuracy": Measure(
        _ACCURACY, "distilled", "after the student-teacher phase, before labels", "accuracy"
    ),
    "max_accuracy": Measure(_ACCURACY, "best", "after the best epoch on labels", "accuracy"),
    "chosen_accuracy": Measure(
        _ACCURACY,
        "chosen",
        "after the epoch that is best on validation images or, if there are none, on test "
        "images; where the learning rate falls to zero, after the last epoch",
        "accuracy",
    ),
    "accuracy_drop": Measure(
        _ACCURACY, "lost", "the parent's minus the chosen; negative for a gain", "accuracy"
    ),
    "final_accuracy": Measure(_ACCURACY, "last", "after the last epoch on labels", "accuracy"),
    "final_drop": Measure(
        _ACCURACY,
        "lost, last",
        "the parent's minus the last; negative for a gain",
        "accuracy",
    ),
    "max_epoch": Measure(_EPOCHS, "to best", "the first epoch with the best accuracy", "count"),
    "epochs_to_99": Measure(
        _EPOCHS, "to 99 %", "the first epoch with 99 % of the trial's best accuracy", "count"
    ),
    "chosen_epoch": Measure(_EPOCHS, "to chosen", "the epoch of the chosen accuracy", "count"),
    "distill_epochs": Measure(
        _EPOCHS, "distilling", "epochs of the student-teacher phase, before labels", "count"
    ),
    "reinitialized_accuracy": Measure(
        _ROLE,
        "reset, %",
        "the parent's test accuracy with new random kernels in the block, without training",
        "accuracy",
    ),
    "bypassed_accuracy": Measure(
        _ROLE,
        "bypassed, %",
        "the parent's test accuracy with the block left out, without training",
        "accuracy",
    ),
    "similarity": Measure(
        _ROLE,
        "similarity",
        "linear CKA of what the block and its replacement return for the same input: 1 alike, "
        "0 unrelated",
    ),
    "parameters": Measure(
        _SIZE,
        "parameters",
        "numbers that the model stores, batch normalisation's statistics included",
        "count",
    ),
    "bytes": Measure(
        _SIZE, "MiB", "size of the saved weights, 1 MiB = 1,048,576 bytes", scale=2**-20
    ),
    "macs": Measure(
        _SPEED,
        "MACs, M",
        "million multiply-accumulates of convolutions, dense layers and attention per image",
        scale=1e-6,
    ),
    "latency": Measure(
        _SPEED,
        "1 image, ms",
        "milliseconds for one image, the median of several runs",
        scale=1e3,
    ),
    "latency_spread": Measure(
        _SPEED, "spread, ms", "from the first to the third quartile of these runs", scale=1e3
    ),
    "batch_latency": Measure(
        _SPEED,
        "64 images, ms",
        "milliseconds for 64 images, the median of several runs",
        scale=1e3,
    ),
    "batch_latency_spread": Measure(
        _SPEED,
        "spread, 64 images, ms",
        "from the first to the third quartile of these runs",
        scale=1e3,
    ),
    "seconds": Measure(_SPEED, "trained, s", "seconds that the trial took"),
}


def table(study: StudyResults) -> page.Table:
    """Returns the finished trials with everything measured in any of them; the parent first."""
    rows = [*study.rows, *study.controls]
    absent = unmeasured(study)
    return page.Table(
        [
            page.Column(
                measure.title,
                _words(rows, name) if measure.kind == "word" else _numbers(study, rows, name),
                "word" if measure.kind == "word" else "number",
                heads=name == "block",
                group=measure.group,
            )
            for name, measure in MEASURES.items()
            if measure.title not in absent
        ]
    )


def unmeasured(study: StudyResults) -> list[str]:
    """Returns the titles of the columns that are empty in every finished trial."""
    rows = [*study.rows, *study.controls]
    return [
        measure.title
        for name, measure in MEASURES.items()
        if all(getattr(row, name) is None for row in rows)
    ]


def parent_measure(name: str, study: StudyResults) -> str | None:
    """Returns the column with the parent's number beside a trial's; None if there is none.

    The parent's accuracy is that of its own chosen epoch. It is comparable with the best of a
    trial only where the best epoch is chosen, with the last only where the last one is.
    """
    chosen_is_best = not (study.holds_out or study.reports_last_epoch)
    comparable = {
        "chosen_accuracy": True,
        "max_accuracy": chosen_is_best,
        "final_accuracy": study.reports_last_epoch,
    }
    if comparable.get(name):
        return "baseline_accuracy"
    return f"parent_{name}" if f"parent_{name}" in COLUMNS else None


def _words(rows: Sequence[Row], name: str) -> list[page.Cell]:
    if name == "method":
        return page.words(["", *(TABLE[row.method].title for row in rows)])
    return page.words(["parent", *(row.block for row in rows)])


def _numbers(study: StudyResults, rows: Sequence[Row], name: str) -> list[page.Cell]:
    measure = MEASURES[name]
    scale = 100 if measure.kind == "accuracy" else measure.scale
    of_parent = parent_measure(name, study)
    parent = mean(getattr(row, of_parent) for row in rows) if of_parent else None
    recorded = [parent, *(getattr(row, name) for row in rows)]
    values = [None if value is None else value * scale for value in recorded]
    places = _decimals(measure, [v for v in values if v is not None], study.test_images)
    cells = page.numbers(values, places)
    # Empty, not a dash: for the parent it is not applicable rather than missing.
    return cells if of_parent else [page.Cell(""), *cells[1:]]


def _decimals(measure: Measure, values: Sequence[float], test_images: int | None) -> int:
    """Returns the number of decimals of all numbers in a column, which are in its unit."""
    if measure.kind == "count":
        return 0
    if measure.kind == "accuracy":
        return decimals(test_images) if test_images else 2
    largest = max((abs(value) for value in values), default=0)
    return max(0, 2 - math.floor(math.log10(largest))) if largest else 0
