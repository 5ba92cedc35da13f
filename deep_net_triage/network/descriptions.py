"""The blocks of a model as plain values and as a table, free of Keras and TensorFlow.

`study.json` stores these values, and everything that shows a study reads them back.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BlockDescription:
    """The size and cost of a block, and of the one convolution that replaces it.

    Attributes:
        name: such as `block1`.
        first: the block's first layer.
        last: its last layer; the pooling behind it is not included.
        pool: the pooling behind the block; None without one.
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


def text(name: str, blocks: Sequence[BlockDescription], refused: Sequence[Refused]) -> str:
    """Returns the blocks of a model as a table, with a line below it for each refusal.

    Args:
        name: the model's name.
        blocks: a row each.
        refused: the segments that are not blocks.
    """
    lines = [("", "layers", "conv", "receives", "returns", "parameters", "macs", "one conv")]
    for block in blocks:
        lines.append(
            (
                block.name,
                f"{block.first} to {block.last}",
                str(block.convolutions),
                _sides(block.received),
                _sides(block.returned),
                f"{block.parameters:,}",
                f"{block.macs:,}",
                f"{block.compressed_parameters:,} / {block.compressed_macs:,}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    below = [f"not a block: {r.first} to {r.last}: {r.reason}" for r in refused]
    return "\n".join([f"{name}: {len(blocks)} blocks", *table, *below])


def _sides(shape: Sequence[int | None]) -> str:
    return "x".join(map(str, shape))
