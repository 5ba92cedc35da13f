"""The blocks of a model as plain values and as a table, free of Keras and TensorFlow.

`study.json` stores the descriptions, and everything that shows a study reads them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deep_net_triage.wording import counted, sides


@dataclass(frozen=True)
class Shape:
    """The 3x3 convolution that turns a segment's input into a tensor of its output's shape.

    Attributes:
        filters: the segment's output channels.
        strides: the segment's total stride, (rows, columns).
        padding: `same`, or `valid` if the segment trims the map's edge by one pixel.
    """

    filters: int
    strides: tuple[int, int]
    padding: str


@dataclass(frozen=True)
class BlockDescription:
    """The size and cost of a block, and of what replaces it.

    Attributes:
        name: such as `block1`.
        first: the block's first layer.
        last: its last layer; the pooling after it is not included.
        pool: the pooling after the block; None without one.
        layers: the number of its layers.
        convolutions: the number of its convolutions.
        received: the shape of its input, (rows, columns, channels); None for an open side.
        returned: the shape of its output before the pooling, likewise.
        parameters: the numbers that the block stores.
        macs: its multiply-accumulates for one image.
        compressed_parameters: the numbers that its replacement stores.
        compressed_macs: the replacement's multiply-accumulates for one image.
    """

    name: str
    first: str
    last: str
    pool: str | None
    layers: int
    convolutions: int
    received: tuple[int | None, int | None, int]
    returned: tuple[int | None, int | None, int]
    parameters: int
    macs: int
    compressed_parameters: int
    compressed_macs: int


@dataclass(frozen=True)
class Refused:
    """A segment of a model that holds convolutions but is not a block.

    Attributes:
        first: its first layer.
        last: its last layer.
        reason: why one convolution can't replace it.
    """

    first: str
    last: str
    reason: str


def text(
    name: str,
    blocks: Sequence[BlockDescription],
    refused: Sequence[Refused],
    uncounted: Sequence[str],
    notes: Sequence[str] = (),
) -> str:
    """Returns the blocks of a model as a table, with lines below it on what it leaves out.

    Args:
        name: the model's name.
        blocks: the rows of the table.
        refused: the segments that are not blocks.
        uncounted: layers whose multiply-accumulates are missing from the table.
        notes: further lines, such as why a block is large.
    """
    shapes, numbers = ("receives", "returns"), ("parameters", "macs")
    replacement = "replacement (parameters / macs)"
    lines = [("", "layers", "conv", *shapes, *numbers, replacement)]
    for block in blocks:
        lines.append(
            (
                block.name,
                f"{block.first} to {block.last}",
                str(block.convolutions),
                sides(block.received),
                sides(block.returned),
                f"{block.parameters:,}",
                f"{block.macs:,}",
                f"{block.compressed_parameters:,} / {block.compressed_macs:,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    below = [f"not a block: {r.first} to {r.last}: {r.reason}" for r in refused]
    below += notes
    if uncounted:
        below.append(f"not counted in macs: {', '.join(uncounted)}")
    return "\n".join([f"{name}: {counted(len(blocks), 'block')}", *table, *below])
