"""The picture on top of the page: the blocks in order, their size and what each costs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deep_net_triage.findings.accuracy_cost import Cost
from deep_net_triage.findings.page import typeset
from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.wording import percent, signed

# The points of accuracy lost at which one colour of the style sheet gives way to the next.
EDGES = (0, 1, 2, 5)
_COLOURS = (
    "nothing lost",
    f"up to {EDGES[1]} point lost",
    *(f"{low} to {high} points lost" for low, high in itertools.pairwise(EDGES[1:])),
    f"more than {EDGES[-1]} points lost",
)
_ABREAST = 8  # blocks that fit side by side on a wide screen
_MARGIN = 0.04  # of the scale of the intervals, on either side


@dataclass(frozen=True)
class Whisker:
    """A 95 % interval on the scale that all blocks share, in percent of its width."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class Segment:
    """A block of the picture.

    Attributes:
        name: the block's.
        start: where it begins, in percent of the picture's width.
        width: its width, likewise.
        share: its share of the network's multiply-accumulates, in words.
        colour: the number of its colour, from 0; None if no trial of it has finished.
        cost: what its best method gains or loses, in points; empty if no trial has finished.
        interval: the 95 % interval, in words; empty if no trial has finished.
        method: the best method's title; empty if no trial has finished.
        whisker: the interval as a line; None without an interval.
    """

    name: str
    start: float
    width: float
    share: str
    colour: int | None = None
    cost: str = ""
    interval: str = ""
    method: str = ""
    whisker: Whisker | None = None


@dataclass(frozen=True)
class BlockMap:
    """The picture's values.

    Attributes:
        segments: the blocks in the network's order.
        rest: the share of the layers outside of blocks, in words; empty if there are none, and
            where blocks share layers.
        overlaps: whether layers belong to several blocks: widths are then relative to the
            blocks' sum.
        colours: what each colour that is used means, by its number.
        parent: where the parent stands on the scale of the intervals, in percent of its width.
        scale: the ends of that scale in points, in words; empty without any interval.
    """

    segments: tuple[Segment, ...]
    rest: str
    overlaps: bool
    colours: dict[int, str]
    parent: float
    scale: tuple[str, ...]

    @property
    def abreast(self) -> bool:
        """Whether the blocks fit side by side on a wide screen."""
        return len(self.segments) <= _ABREAST

    @property
    def measured(self) -> bool:
        """Whether every block has a finished trial."""
        return all(segment.colour is not None for segment in self.segments)


def of_study(study: StudyResults, best: Mapping[str, tuple[str, Cost]]) -> BlockMap | None:
    """Returns the picture of a study's blocks.

    Args:
        study: its results.
        best: of each block with a finished trial, the method that loses least and its cost.

    Returns:
        None where the sizes of the network or its blocks are not known.
    """
    finished = [*study.rows, *study.controls]
    macs = finished[0].parent_macs if finished else 0
    if not (study.blocks and macs):
        return None
    low, high = _scale([cost for _, cost in best.values()])
    in_blocks = sum(block.macs for block in study.blocks)
    overlaps = study.share_layers or in_blocks > macs
    whole = in_blocks if overlaps else macs
    segments, start = [], 0.0
    for block in study.blocks:
        measured = {}
        if block.name in best:
            method, cost = best[block.name]
            measured = {"method": METHODS[method].title, **_measured(cost, low, high)}
        width = 100 * block.macs / whole
        share = typeset(percent(block.macs / macs))
        segments.append(Segment(block.name, start, width, share, **measured))
        start += width
    used = sorted({s.colour for s in segments if s.colour is not None})
    return BlockMap(
        segments=tuple(segments),
        rest=typeset(percent(1 - in_blocks / macs)) if in_blocks < whole else "",
        overlaps=overlaps,
        colours={colour: _COLOURS[colour] for colour in used},
        parent=_place(0, low, high),
        scale=tuple(typeset(signed(100 * end)) for end in (low, high)) if low < high else (),
    )


def colour(difference: float) -> int:
    """Returns the number of a cost's colour, 0 where nothing is lost.

    Args:
        difference: accuracy minus the parent's, 0..1; judged as it is shown, in points with
            one decimal.
    """
    lost = -round(100 * difference, 1)
    return sum(lost > edge for edge in EDGES)


def _measured(cost: Cost, low: float, high: float) -> dict[str, object]:
    """Returns the fields of a segment that come from its best method's cost."""
    fields: dict[str, object] = {
        "colour": colour(cost.difference),
        "cost": typeset(signed(100 * cost.difference)),
        "interval": "no interval",
    }
    if estimate := cost.estimate:
        ends = (signed(100 * end) for end in (estimate.low, estimate.high))
        places = (_place(n, low, high) for n in (estimate.low, estimate.mean, estimate.high))
        fields["interval"] = typeset(f"[{', '.join(ends)}]")
        fields["whisker"] = Whisker(*places)
    return fields


def _scale(costs: Sequence[Cost]) -> tuple[float, float]:
    """Returns the lowest and the highest end of all intervals; the parent's zero is between."""
    estimates = [cost.estimate for cost in costs if cost.estimate]
    lows, highs = ([getattr(one, end) for one in estimates] for end in ("low", "high"))
    return min([0.0, *lows]), max([0.0, *highs])


def _place(number: float, low: float, high: float) -> float:
    """Returns where a number stands on a scale, in percent of its width."""
    inside = 1 - 2 * _MARGIN
    return 100 * (_MARGIN + inside * ((number - low) / (high - low) if high > low else 0.5))
