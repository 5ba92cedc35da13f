"""Measured latencies as values, which can be read and shown without TensorFlow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

# The formats of a model that can be timed, and how people call them.
FORMATS = {"keras": "Keras", "litert": "LiteRT", "litert_int8": "LiteRT int8"}


@dataclass(frozen=True)
class Latency:
    """The measured latency of one model at one batch size and number of threads.

    Attributes:
        model: the original or the smaller one.
        format: a key of `FORMATS`.
        batch: images.
        threads: the number that the runtime may use.
        median: of the time of a batch over several runs, in seconds.
        spread: the distance from the first to the third quartile, in seconds.
    """

    model: Literal["parent", "smaller"]
    format: str
    batch: int
    threads: int
    median: float
    spread: float


def pairs(latencies: Sequence[Latency]) -> Iterator[tuple[Latency, Latency]]:
    """Yields the latencies of the parent and of the smaller model in each setting."""
    smaller = {
        (one.format, one.batch, one.threads): one for one in latencies if one.model == "smaller"
    }
    for one in latencies:
        if one.model == "parent":
            yield one, smaller[one.format, one.batch, one.threads]
