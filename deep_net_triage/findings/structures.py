"""Figure 1 of the paper: a block of the network, and the single layer in its place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, FancyBboxPatch

from deep_net_triage.findings import looks
from deep_net_triage.wording import sides

if TYPE_CHECKING:  # most figures are drawn without TensorFlow, in a second instead of ten
    import keras

    from deep_net_triage.network.block import Block

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
# The columns' places: the whole network, the block's layers, and what replaces them.
_NETWORK, _PARENT, _STUDENT = -1.15, 0.0, 1.15


def draw(
    parent: "keras.Model", student: "keras.Model", block: "Block", blocks: Sequence["Block"]
) -> Figure:
    """Returns Figure 1: the network, one of its blocks, and the single layer in its place."""
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
        (_PARENT, looks.block_title(block.name), parent, before, list(range(len(before)))),
        (_STUDENT, "compressed", student, after, places),
    )
    figure = Figure(figsize=(5.6, 0.38 * rows + 1.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-1.75, 1.65), ylim=(-rows - 0.75, 1.25))
    axes.axis("off")
    _draw_network(axes, blocks, block, rows)
    if _branches(parent, block):
        note = "in the order of computation; ways around layers are not drawn"
        axes.text(0.575, -rows - 1.05, note, ha="center", fontsize=7, color=looks.INK)
    for x, title, model, boxes, rows_down in columns:
        axes.text(x, 1.0, title, ha="center", va="center", weight="bold", color=looks.INK)
        _draw_tensor(axes, x, 0.4, block.received_by(model).shape)
        _draw_column(axes, x, [-row - 0.5 for row in rows_down], boxes, -rows)
        _draw_tensor(axes, x, -rows - 0.5, block.returned_by(model).shape)
    return figure


def _draw_network(axes: Axes, blocks: Sequence["Block"], chosen: "Block", rows: int) -> None:
    """Draws the parent's blocks, and lines from the chosen one to its layers."""
    names = ["input", *(block.name for block in blocks), "output"]
    step = rows / len(names)
    middle = {name: -step * (place + 0.5) for place, name in enumerate(names)}
    height = min(0.6, 0.7 * step)
    axes.text(
        _NETWORK, 1.0, "network", ha="center", va="center", weight="bold", color=looks.INK
    )
    for name, y in middle.items():
        fill = _KINDS["Conv2D"][1] if name == chosen.name else "#F7F7F7"
        _draw_box(axes, _NETWORK, y, height, looks.block_title(name), fill)
    for above, below in zip(names, names[1:], strict=False):
        _draw_arrow(axes, _NETWORK, middle[above] - height / 2, middle[below] + height / 2)
    for side, end in ((1, 0.2), (-1, -rows - 0.3)):
        at = _NETWORK + 0.42, middle[chosen.name] + side * height / 2
        to = _PARENT - 0.42, end
        line = {"color": looks.INK, "lw": 0.7, "ls": ":"}
        axes.add_artist(ConnectionPatch(at, to, "data", "data", **line))


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


def _draw_tensor(axes: Axes, x: float, y: float, shape: tuple[int | None, ...]) -> None:
    text = sides(shape[1:]).replace("x", "×")
    axes.text(x, y, text, ha="center", va="center", fontsize=9, style="italic", color=looks.INK)


def _draw_column(
    axes: Axes, x: float, heights: list[float], boxes: list[tuple[str, str]], bottom: float
) -> None:
    above = 0.2
    for y, (text, colour) in zip(heights, boxes, strict=True):
        _draw_box(axes, x, y, 0.6, text, colour)
        _draw_arrow(axes, x, above, y + 0.3)
        above = y - 0.3
    _draw_arrow(axes, x, above, bottom - 0.32)


def _draw_box(axes: Axes, x: float, y: float, height: float, text: str, colour: str) -> None:
    rounded = "round,pad=0,rounding_size=0.06"
    box = FancyBboxPatch((x - 0.42, y - height / 2), 0.84, height, rounded, mutation_aspect=2)
    box.set(facecolor=colour, edgecolor=looks.INK, lw=0.8)
    axes.add_patch(box)
    written = {"ha": "center", "va": "center", "fontsize": 9, "color": looks.INK}
    axes.text(x, y, text, **written, parse_math=False)


def _draw_arrow(axes: Axes, x: float, start: float, end: float) -> None:
    arrow = {"arrowstyle": "-|>", "color": looks.INK, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x, end), (x, start), arrowprops=arrow)
