"""Results become the paper's figures, as matplotlib figures that touch no global state."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch

from deep_net_triage.methods import METHODS
from deep_net_triage.results import StudyResults, block_order, mean

if TYPE_CHECKING:  # most figures are drawn without TensorFlow, in a second instead of ten
    import keras

    from deep_net_triage.blocks import Block

# Okabe and Ito's colours, told apart by colour-blind readers; the markers serve in grey.
_COLOURS = {
    "cl_rw": "#56B4E9",
    "cm_rw": "#0072B2",
    "cl_mw": "#E69F00",
    "cm_mw": "#D55E00",
    "stn": "#009E73",
    "stn_cm": "#CC79A7",
}
_MARKERS = {"cl_rw": "o", "cm_rw": "s", "cl_mw": "^", "cm_mw": "D", "stn": "v", "stn_cm": "P"}
_BASELINE = "#F0E442"
_INK = "#333333"
_KINDS = {
    "Conv2D": ("Conv {0[0]}×{0[1]}, {1}", "#CFE3F3"),
    "BatchNormalization": ("Batch norm", "#E9E9E9"),
    "ReLU": ("ReLU", "#F7F7F7"),
    "Activation": ("Activation", "#F7F7F7"),
    "MaxPooling2D": ("Max pool", "#FBE3C6"),
    "AveragePooling2D": ("Average pool", "#FBE3C6"),
}
DPI = 200


def accuracy(studies: Sequence[StudyResults]) -> Figure:
    """Returns Figure 2: maximum test accuracy per compressed block and method.

    The parent's accuracy is a yellow line; a trial that is missing or failed is a gap. With
    several seeds the marker is their mean and a line spans them.
    """
    figure, panels = _panels(studies, width=4.6, height=3.6)
    for panel, study in zip(panels, studies, strict=True):
        _accuracy_panel(panel, study)
    panels[0].set_ylabel("maximum test accuracy (%)")
    baseline = Line2D([], [], color=_BASELINE, lw=2.5, path_effects=_outline(), label="parent")
    _legend(figure, [baseline, *(_marker(name) for name in _methods(studies))])
    return figure


def convergence(studies: Sequence[StudyResults]) -> Figure:
    """Returns Figure 3: epochs to 99 % of each run's own maximum, averaged over the blocks.

    Each dot is one block's trial; hatched are the student-teacher epochs that came before.
    """
    figure, panels = _panels(studies, width=4.0, height=3.6)
    for panel, study in zip(panels, studies, strict=True):
        _convergence_panel(panel, study)
    panels[0].set_ylabel("epochs to 99 % of the maximum")
    block = Line2D([], [], ls="", marker="o", ms=4, mfc="white", mec=_INK, label="one block")
    average = Patch(fc="#BBBBBB", ec=_INK, label="mean over blocks")
    distilling = Patch(fc="white", ec=_INK, hatch="////", label="distilling before")
    _legend(figure, [average, block, distilling])
    return figure


def structure(parent: "keras.Model", student: "keras.Model", block: "Block") -> Figure:
    """Returns Figure 1: a block of the parent beside the single layer in its place.

    Args:
        parent: holds the block.
        student: holds it compressed.
        block: which block to draw.
    """
    before = [parent.get_layer(name) for name in (*block.layers, block.pool)]
    after = [student.get_layer(name) for name in (*block.compressed_layers, block.pool)]
    rows = len(before)
    # Both columns begin and end level, for what enters and what leaves has the same shape; the
    # compressed layers stand together half way down.
    first = (rows - len(after)) // 2
    columns = (
        (0.0, f"parent, {block.name}", before, list(range(rows))),
        (1.15, "compressed", after, [*range(first, first + len(after) - 1), rows - 1]),
    )
    figure = Figure(figsize=(4.2, 0.38 * rows + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, 1.65), ylim=(-rows - 0.75, 1.25))
    axes.axis("off")
    for x, title, layers, places in columns:
        axes.text(x, 1.0, title, ha="center", va="center", weight="bold", color=_INK)
        _draw_tensor(axes, x, 0.4, layers[0].input.shape)
        _draw_column(axes, x, [-place - 0.5 for place in places], layers)
        _draw_tensor(axes, x, -rows - 0.5, layers[-1].output.shape)
    return figure


def _panels(studies: Sequence[StudyResults], width: float, height: float) -> tuple:
    figure = Figure(figsize=(width * len(studies) + 0.6, height), layout="constrained")
    panels = figure.subplots(1, len(studies), squeeze=False)[0]
    for panel, study in zip(panels, studies, strict=True):
        panel.set_title(study.dataset, color=_INK)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="#E5E5E5", lw=0.7)
        panel.set_axisbelow(True)
    return figure, panels


def _accuracy_panel(panel: Axes, study: StudyResults) -> None:
    methods = _methods([study])
    blocks = sorted({row["block"] for row in study.rows}, key=block_order)
    panel.axhline(
        100 * study.baseline_accuracy,
        color=_BASELINE,
        lw=2.5,
        path_effects=_outline(),
        zorder=1,
    )
    for index, method in enumerate(methods):
        offset = 0.7 * ((index + 0.5) / len(methods) - 0.5)
        for position, block in enumerate(blocks):
            reached = [100 * row["max_accuracy"] for row in _rows(study, method, block)]
            if reached:
                x = position + offset
                panel.plot([x, x], [min(reached), max(reached)], color=_COLOURS[method], lw=1.5)
                panel.plot([x], [mean(reached)], **_marker_style(method))
    panel.set_xticks(range(len(blocks)), blocks)
    panel.set_xlim(-0.5, len(blocks) - 0.5)
    for edge in range(1, len(blocks)):
        panel.axvline(edge - 0.5, color="#E5E5E5", lw=0.7, zorder=0)
    panel.set_xlabel("compressed block")


def _convergence_panel(panel: Axes, study: StudyResults) -> None:
    methods = _methods([study])
    for position, method in enumerate(methods):
        rows = _rows(study, method)
        colour = _COLOURS[method]
        average = mean(row["epochs_to_99"] for row in rows)
        distilling = mean(row["distill_epochs"] for row in rows)
        panel.bar(position, average, 0.7, color=colour, edgecolor=_INK, lw=0.6)
        if distilling:
            hatched = {"color": "white", "edgecolor": colour, "hatch": "////", "lw": 0.6}
            panel.bar(position, distilling, 0.7, bottom=average, **hatched)
        for index, row in enumerate(rows):
            x = position + 0.5 * ((index + 0.5) / len(rows) - 0.5)
            panel.plot([x], [row["epochs_to_99"]], "o", ms=4, mfc="white", mec=_INK, mew=0.8)
    panel.set_xticks(range(len(methods)), [METHODS[name].title for name in methods], fontsize=8)
    panel.set_ylim(bottom=0)
    panel.yaxis.get_major_locator().set_params(integer=True)


def _rows(
    study: StudyResults, method: str, block: str | None = None
) -> list[dict[str, object]]:
    rows = [row for row in study.rows if row["method"] == method]
    return [row for row in rows if block is None or row["block"] == block]


def _methods(studies: Sequence[StudyResults]) -> list[str]:
    found = {row["method"] for study in studies for row in study.rows}
    return [name for name in METHODS if name in found]


def _marker_style(method: str) -> dict[str, object]:
    """Filled where the whole model is retrained, hollow where the block alone is."""
    colour = _COLOURS[method]
    filled = METHODS[method].updates == "model"
    return {
        "marker": _MARKERS[method],
        "ls": "",
        "ms": 6.5,
        "mec": colour,
        "mfc": colour if filled else "white",
        "mew": 1.6,
    }


def _marker(method: str) -> Line2D:
    return Line2D([], [], label=METHODS[method].title, **_marker_style(method))


def _outline() -> list[patheffects.AbstractPathEffect]:
    """A thin dark edge, without which yellow is lost on white paper."""
    return [patheffects.Stroke(linewidth=4, foreground=_INK), patheffects.Normal()]


def _legend(figure: Figure, handles: list) -> None:
    columns = min(len(handles), 4 if figure.get_figwidth() < 7 else 7)  # what fits the width
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def _draw_tensor(axes: Axes, x: float, y: float, shape: tuple[int | None, ...]) -> None:
    text = " × ".join("any" if side is None else str(side) for side in shape[1:])
    axes.text(x, y, text, ha="center", va="center", fontsize=9, style="italic", color=_INK)


def _draw_column(
    axes: Axes, x: float, heights: list[float], layers: "list[keras.layers.Layer]"
) -> None:
    above = 0.2
    for y, layer in zip(heights, layers, strict=True):
        text, colour = _KINDS[type(layer).__name__]
        if type(layer).__name__ == "Conv2D":
            text = text.format(layer.kernel_size, layer.filters)
        rounded = "round,pad=0,rounding_size=0.06"
        box = FancyBboxPatch((x - 0.42, y - 0.3), 0.84, 0.6, rounded, mutation_aspect=2)
        box.set(facecolor=colour, edgecolor=_INK, lw=0.8)
        axes.add_patch(box)
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color=_INK)
        _draw_arrow(axes, x, above, y + 0.3)
        above = y - 0.3
    _draw_arrow(axes, x, above, heights[-1] - 0.82)


def _draw_arrow(axes: Axes, x: float, start: float, end: float) -> None:
    arrow = {"arrowstyle": "-|>", "color": _INK, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x, end), (x, start), arrowprops=arrow)
