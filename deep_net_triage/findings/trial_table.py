"""The table of a study's trials in its page, and what its columns mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from deep_net_triage.findings.page import Cell, Header, element, number, table, word, wrap
from deep_net_triage.methods import METHODS
from deep_net_triage.records import results


@dataclass(frozen=True)
class Column:
    """A column of `results.csv`, as a table for people has it.

    Attributes:
        group: the title above it and its neighbours.
        title: its head, with the unit.
        meaning: one line.
        kind: `word`; `count`, an integer; `accuracy`, a share of the test images, shown in
            percent; `measure`, shown to three figures.
        scale: what a recorded measure is multiplied by to be in the title's unit.
        parent: the column that holds the parent's number beside it.
    """

    group: str
    title: str
    meaning: str
    kind: Literal["word", "count", "accuracy", "measure"] = "measure"
    scale: float = 1.0
    parent: str = ""


_TRIAL = "trial"
_ACCURACY = "test accuracy, %"
_EPOCHS = "epochs"
_ROLE = "what the block does"
_SIZE = "size"
_SPEED = "speed"

# In the order of the table; a trial's own columns, each beside its parent's.
COLUMNS = {
    "block": Column(_TRIAL, "block", "the block that one layer replaces", "word"),
    "method": Column(_TRIAL, "method", "how that layer starts and what is trained", "word"),
    "seed": Column(_TRIAL, "seed", "of all that is drawn at random in the trial", "count"),
    "initial_accuracy": Column(
        _ACCURACY, "at first", "right after compression, nothing trained", "accuracy"
    ),
    "distilled_accuracy": Column(
        _ACCURACY, "distilled", "after the student-teacher phase, before labels", "accuracy"
    ),
    "max_accuracy": Column(
        _ACCURACY,
        "best",
        "after the best epoch on labels",
        "accuracy",
        parent="baseline_accuracy",
    ),
    "chosen_accuracy": Column(
        _ACCURACY,
        "chosen",
        "after the epoch that held-out training images choose; without them, the best",
        "accuracy",
        parent="baseline_accuracy",
    ),
    "accuracy_drop": Column(
        _ACCURACY, "lost", "the parent's less the chosen, negative for a gain", "accuracy"
    ),
    "final_accuracy": Column(_ACCURACY, "last", "after the last epoch on labels", "accuracy"),
    "max_epoch": Column(_EPOCHS, "to best", "the first epoch with the best accuracy", "count"),
    "epochs_to_99": Column(
        _EPOCHS,
        "to 99 %",
        "the first epoch with 99 % of the trial's own best accuracy",
        "count",
    ),
    "chosen_epoch": Column(_EPOCHS, "to chosen", "the epoch of the chosen accuracy", "count"),
    "distill_epochs": Column(
        _EPOCHS, "distilling", "of the student-teacher phase, before those on labels", "count"
    ),
    "reinitialized_accuracy": Column(
        _ROLE,
        "reset, %",
        "the parent's test accuracy with the block's kernels drawn anew, nothing trained",
        "accuracy",
    ),
    "bypassed_accuracy": Column(
        _ROLE,
        "bypassed, %",
        "the parent's test accuracy with the block left out, nothing trained",
        "accuracy",
    ),
    "similarity": Column(
        _ROLE,
        "similarity",
        "linear CKA of what the block and its replacement return: 1 alike, 0 unrelated",
    ),
    "parameters": Column(
        _SIZE,
        "parameters",
        "numbers that the model stores, statistics of batch norms included",
        "count",
        parent="parent_parameters",
    ),
    "bytes": Column(
        _SIZE,
        "MB",
        "of the saved model, 1 MB = 1,000,000 bytes",
        "measure",
        1e-6,
        "parent_bytes",
    ),
    "macs": Column(
        _SPEED,
        "MACs, M",
        "million multiply-accumulates of convolutions and dense layers for one image",
        "measure",
        1e-6,
        "parent_macs",
    ),
    "latency": Column(
        _SPEED,
        "one, ms",
        "milliseconds for one image, the median of several runs",
        "measure",
        1e3,
        "parent_latency",
    ),
    "latency_spread": Column(
        _SPEED,
        "spread, ms",
        "of these runs, from the first to the third quartile",
        "measure",
        1e3,
        "parent_latency_spread",
    ),
    "batch_latency": Column(
        _SPEED,
        "64, ms",
        "milliseconds for 64 images, the median of several runs",
        "measure",
        1e3,
        "parent_batch_latency",
    ),
    "batch_latency_spread": Column(
        _SPEED,
        "spread of 64, ms",
        "of these runs, from the first to the third quartile",
        "measure",
        1e3,
        "parent_batch_latency_spread",
    ),
    "seconds": Column(_SPEED, "trained, s", "seconds that the trial took"),
}


def trials(rows: Sequence[dict[str, object]], test_images: int | None) -> str:
    """Returns the table of finished trials, sortable, with the parent above them.

    Args:
        rows: as `read_study` returns them.
        test_images: what an accuracy is a share of; None where that is not known.
    """
    shown = {
        name: column
        for name, column in COLUMNS.items()
        if any(row.get(name) is not None for row in rows)
    }
    headers = [
        Header(c.title, "word" if c.kind == "word" else "number", c.group)
        for c in shown.values()
    ]
    drawn = [_column(rows, name, column, test_images) for name, column in shown.items()]
    parent, *others = zip(*drawn, strict=True)
    caption = "Every finished trial, below the parent. A dash: not measured."
    parts = [table("trials", caption, headers, others, first=parent, sortable=True)]
    missing = [column.title for name, column in COLUMNS.items() if name not in shown]
    if missing:
        parts.append(element("p", f"Not measured in any trial: {'; '.join(missing)}."))
    return "\n".join(parts)


def meanings() -> str:
    """Returns a line for each column of the table."""
    items = []
    for name, column in COLUMNS.items():
        term = wrap(
            "dt", wrap("b", element("span", column.title)) + " " + element("code", name)
        )
        items.append(wrap("div", term + element("dd", column.meaning)))
    note = (
        "Beside each title stands the name that results.csv has for the column. There, "
        "accuracies are shares from 0 to 1, and the parent's numbers have columns of their own."
    )
    return element("p", note) + "\n" + wrap("dl", "\n".join(items), class_="meanings")


def _column(
    rows: Sequence[dict[str, object]], name: str, column: Column, test_images: int | None
) -> list[Cell]:
    """A column's cells, the parent's first."""
    if column.kind == "word":
        heads = name == "block"
        words = [
            METHODS[row[name]].title if row[name] in METHODS else row[name] for row in rows
        ]
        return [
            word("parent" if heads else "", heads),
            *(word(value, heads) for value in words),
        ]
    scale = 100 if column.kind == "accuracy" else column.scale
    parents = [row.get(column.parent) for row in rows]
    recorded = [results.mean(parents), *(row.get(name) for row in rows)]
    values = [None if value is None else value * scale for value in recorded]
    places = _decimals(column, [v for v in values if v is not None], test_images)
    cells = [number(value, places) for value in values]
    # What a parent can't have is no gap.
    return cells if column.parent else [Cell(""), *cells[1:]]


def _decimals(column: Column, values: Sequence[float], test_images: int | None) -> int:
    """Returns how many decimals a column's numbers, in its unit, are all shown with."""
    if column.kind == "count":
        return 0
    if column.kind == "accuracy":  # an image more or less is seen, and no finer difference
        return 1 if test_images and test_images < 1000 else 2
    largest = max((abs(value) for value in values), default=0)
    return max(0, 2 - math.floor(math.log10(largest))) if largest else 0
