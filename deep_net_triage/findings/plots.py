"""The paper's three figures, as matplotlib figures that change no global state."""

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch

from deep_net_triage.findings import looks, reported_accuracy
from deep_net_triage.findings.statistics import against_parent
from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.wording import sides

if TYPE_CHECKING:  # most figures are drawn without TensorFlow, in a second instead of ten
    import keras

    from deep_net_triage.network.blocks import Block

_KINDS = {
    "Conv2D": ("Conv {0[0]}×{0[1]}, {1}", "#CFE3F3"),
    "SeparableConv2D": ("Separable {0[0]}×{0[1]}, {1}", "#CFE3F3"),
    "BatchNormalization": ("Batch norm", "#E9E9E9"),
    "ReLU": ("ReLU", "#F7F7F7"),
    "Activation": ("Activation", "#F7F7F7"),
    "MaxPooling2D": ("Max pool", "#FBE3C6"),
    "AveragePooling2D": ("Average pool", "#FBE3C6"),
}
_MOST_BOXES = 14
_MOST_PANELS = 3
# A marker this many times as far below the parent as the median marker is drawn at the
# edge: to scale it would squash all the others into one line.
_FAR = 10


def accuracy(studies: Sequence[StudyResults]) -> Figure:
    """Returns Figure 2: test accuracy by compressed block and method, a panel for each study.

    The parent's accuracy is a yellow line; a trial that is missing or failed is a gap. With
    several seeds the marker is their mean and a line spans them. A pale band around the parent
    has the median width of the markers' 95 % intervals. A marker far below all others stands at
    the lower edge with its number.
    """
    figure, panels, leftmost = _panels(studies, width=4.6, height=3.6)
    for panel, study in zip(panels, studies, strict=True):
        _accuracy_panel(panel, study)
    for panel in leftmost:
        panel.set_ylabel(f"{reported_accuracy.name(studies)} (%)")
    ran = {name for study in studies for name in study.methods()}
    handles = [looks.parent(), *(looks.marker(name) for name in METHODS if name in ran)]
    if any(_noise(study) for study in studies):
        handles.append(Patch(**looks.NOISE, label="noise (median 95 % interval)"))
    looks.legend(figure, handles)
    return figure


def convergence(studies: Sequence[StudyResults]) -> Figure:
    """Returns Figure 3: epochs to 99 % of each trial's own maximum, averaged over blocks.

    Each dot is one trial. Hatched bars are the epochs of distillation that came before.
    """
    figure, panels, leftmost = _panels(studies, width=4.0, height=3.6)
    for panel, study in zip(panels, studies, strict=True):
        _convergence_panel(panel, study)
    for panel in leftmost:
        panel.set_ylabel("epochs to 99 % of the maximum")
    one = Line2D([], [], ls="", marker="o", ms=4, mfc="white", mec=looks.INK, label="one trial")
    average = Patch(fc="#BBBBBB", ec=looks.INK, label="mean over blocks")
    distilling = Patch(fc="white", ec=looks.INK, hatch="////", label="distilling before")
    looks.legend(figure, [average, one, distilling])
    return figure


def structure(parent: "keras.Model", student: "keras.Model", block: "Block") -> Figure:
    """Returns Figure 1: a block of the parent beside the single layer in its place.

    Args:
        parent: the model with the block.
        student: the model with the block compressed.
        block: the block to draw.
    """
    pool = (block.pool,) if block.pool else ()
    before = _boxes(parent, (*block.layers, *pool))
    after = _boxes(student, (*block.compressed_layers, *pool))
    rows = max(len(before), len(after) + 2)
    # Both columns begin and end at the same height, because inputs and outputs have the same
    # shapes. The compressed layers stand half way down, the pooling beside the parent's.
    first = (rows - len(after)) // 2
    places = list(range(first, first + len(after)))
    if pool:
        places[-1] = rows - 1
    columns = (
        (0.0, f"parent, {block.name}", parent, before, list(range(len(before)))),
        (1.15, "compressed", student, after, places),
    )
    figure = Figure(figsize=(4.2, 0.38 * rows + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, 1.65), ylim=(-rows - 0.75, 1.25))
    axes.axis("off")
    if _branches(parent, block):
        note = "in the order of computation; ways around layers are not drawn"
        axes.text(0.575, -rows - 1.05, note, ha="center", fontsize=7, color=looks.INK)
    for x, title, model, boxes, rows_down in columns:
        axes.text(x, 1.0, title, ha="center", va="center", weight="bold", color=looks.INK)
        _draw_tensor(axes, x, 0.4, block.received_by(model).shape)
        _draw_column(axes, x, [-row - 0.5 for row in rows_down], boxes, -rows)
        _draw_tensor(axes, x, -rows - 0.5, block.returned_by(model).shape)
    return figure


def _branches(model: "keras.Model", block: "Block") -> bool:
    """Returns whether paths part and meet again in a block."""
    own = (operation for operation in model.operations if operation.name in block.layers)
    return any(isinstance(operation.input, list) for operation in own)


def _boxes(model: "keras.Model", names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns text and colour of a box for each layer; one box for the middle of many."""
    operations = {operation.name: operation for operation in model.operations}
    boxes = []
    for name in names:
        kind = type(operations[name]).__name__
        text, colour = _KINDS.get(kind, (kind, "#F7F7F7"))
        if kind in ("Conv2D", "SeparableConv2D"):
            text = text.format(operations[name].kernel_size, operations[name].filters)
        boxes.append((text, colour))
    hidden = len(boxes) - _MOST_BOXES
    if hidden > 0:
        half = _MOST_BOXES // 2
        boxes[half:-half] = [(f"… {hidden} more …", "white")]
    return boxes


def _panels(studies: Sequence[StudyResults], width: float, height: float) -> tuple:
    """Returns a figure, its panels, one for each study, and the leftmost panel of each row."""
    columns = len(studies) if len(studies) <= _MOST_PANELS else math.ceil(len(studies) / 2)
    rows = math.ceil(len(studies) / columns)
    size = (width * columns + 0.6, height * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for unused in panels.flat[len(studies) :]:
        unused.remove()
    for panel, study in zip(panels.flat, studies, strict=False):
        panel.set_title(looks.title(study.dataset), color=looks.INK, parse_math=False)
        looks.prepare(panel)
    return figure, list(panels.flat[: len(studies)]), [row[0] for row in panels]


def _accuracy_panel(panel: Axes, study: StudyResults) -> None:
    methods, blocks = study.methods(), study.blocks_run()
    panel.axhline(
        100 * study.baseline_accuracy,
        color=looks.BASELINE,
        lw=2.5,
        path_effects=looks.outline(),
        zorder=1,
    )
    if noise := _noise(study):
        parent = study.baseline_accuracy
        panel.axhspan(100 * (parent - noise), 100 * (parent + noise), **looks.NOISE, zorder=0)
    far = _far_below(study)
    at_the_edge = []
    for index, method in enumerate(methods):
        offset = 0.7 * ((index + 0.5) / len(methods) - 0.5)
        for position, block in enumerate(blocks):
            reached = [100 * row.chosen_accuracy for row in study.trials(method, block)]
            x = position + offset
            if (method, block) in far:
                at_the_edge.append((x, mean(reached), method))
            elif reached:
                span = [min(reached), max(reached)]
                panel.plot([x, x], span, color=METHODS[method].colour, lw=1.5)
                panel.plot([x], [mean(reached)], **looks.marker_style(method))
    bottom, _ = panel.set_ylim(panel.get_ylim())
    for x, accuracy, method in at_the_edge:
        panel.plot([x], [bottom], clip_on=False, **looks.marker_style(method))
        beside = {"xytext": (6, 4), "textcoords": "offset points", "fontsize": 8}
        panel.annotate(f"↓ {accuracy:.1f}", (x, bottom), color=looks.INK, **beside)
    panel.set_xticks(range(len(blocks)), blocks, parse_math=False)
    panel.set_xlim(-0.5, len(blocks) - 0.5)
    for edge in range(1, len(blocks)):
        panel.axvline(edge - 0.5, color=looks.GRID, lw=0.7, zorder=0)
    panel.set_xlabel("compressed block")


def _far_below(study: StudyResults) -> set[tuple[str, str]]:
    """Returns the methods and blocks that would press all others into one line."""
    drops: dict[tuple[str, str], list[float]] = {}
    for row in study.rows:
        drop = study.baseline_accuracy - row.chosen_accuracy
        drops.setdefault((row.method, row.block), []).append(drop)
    means = {marker: mean(of_seeds) for marker, of_seeds in drops.items()}
    usual = statistics.median(map(abs, means.values())) if means else 0.0
    return {marker for marker, drop in means.items() if usual and drop > _FAR * usual}


def _noise(study: StudyResults) -> float | None:
    """Returns half the width of the 95 % intervals against the parent, the median of all."""
    compared = dict.fromkeys((row.method, row.block) for row in study.rows)
    estimates = [
        against_parent(study.correct_by_seed(*names), study.parent_correct)
        for names in compared
    ]
    halves = [(estimate.high - estimate.low) / 2 for estimate in estimates if estimate]
    return statistics.median(halves) if halves else None


def _convergence_panel(panel: Axes, study: StudyResults) -> None:
    methods = study.methods()
    for position, method in enumerate(methods):
        rows = study.trials(method)
        colour = METHODS[method].colour
        average = mean(row.epochs_to_99 for row in rows)
        distilling = mean(row.distill_epochs for row in rows)
        panel.bar(position, average, 0.7, color=colour, edgecolor=looks.INK, lw=0.6)
        if distilling:
            hatched = {"color": "white", "edgecolor": colour, "hatch": "////", "lw": 0.6}
            panel.bar(position, distilling, 0.7, bottom=average, **hatched)
        for index, row in enumerate(rows):
            x = position + 0.5 * ((index + 0.5) / len(rows) - 0.5)
            panel.plot([x], [row.epochs_to_99], "o", ms=4, mfc="white", mec=looks.INK, mew=0.8)
    panel.set_xticks(range(len(methods)), [METHODS[name].title for name in methods], fontsize=8)
    panel.set_ylim(bottom=0)
    panel.yaxis.get_major_locator().set_params(integer=True)


def _draw_tensor(axes: Axes, x: float, y: float, shape: tuple[int | None, ...]) -> None:
    text = sides(shape[1:]).replace("x", "×")
    axes.text(x, y, text, ha="center", va="center", fontsize=9, style="italic", color=looks.INK)


def _draw_column(
    axes: Axes, x: float, heights: list[float], boxes: list[tuple[str, str]], bottom: float
) -> None:
    above = 0.2
    for y, (text, colour) in zip(heights, boxes, strict=True):
        rounded = "round,pad=0,rounding_size=0.06"
        box = FancyBboxPatch((x - 0.42, y - 0.3), 0.84, 0.6, rounded, mutation_aspect=2)
        box.set(facecolor=colour, edgecolor=looks.INK, lw=0.8)
        axes.add_patch(box)
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color=looks.INK)
        _draw_arrow(axes, x, above, y + 0.3)
        above = y - 0.3
    _draw_arrow(axes, x, above, bottom - 0.32)


def _draw_arrow(axes: Axes, x: float, start: float, end: float) -> None:
    arrow = {"arrowstyle": "-|>", "color": looks.INK, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x, end), (x, start), arrowprops=arrow)
