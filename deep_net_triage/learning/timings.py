"""What steps of a network take on this machine, as `stopwatch` times them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BlockTimings:
    """Seconds that a forward pass of a batch takes.

    Attributes:
        original: through the parent's block.
        replacement: through the convolution that replaces it.
        before: through the parent's layers before the block.
    """

    original: float
    replacement: float
    before: float


@dataclass(frozen=True)
class Timings:
    """What a batch of a study's images takes on this machine, in seconds.

    Attributes:
        step: a training step of the whole parent.
        forward: a forward pass through the parent.
        blocks: forward passes through each block and its replacement, by the block's name.
        tracing: what the first training step takes beyond the others.
        slowdowns: how many times as long a training step takes on a share of the cores, by the
            number of such shares; 1 for all cores.
    """

    step: float
    forward: float
    blocks: Mapping[str, BlockTimings]
    tracing: float
    slowdowns: Mapping[int, float]
