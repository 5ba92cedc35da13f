"""The figure of a compression: accuracy against what is saved, step by step."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from deep_net_triage.findings import labels, looks
from deep_net_triage.findings.rivals import Rival, Smaller
from deep_net_triage.records.alternatives import KINDS
from deep_net_triage.records.study_results import mean

TITLE = "Accuracy against what is saved, step by step"
NOTE = (
    "The line leads from the parent through the steps that were kept, each with the block that "
    "it compresses, to the compressed network. Intervals are over seeds and test images, paired "
    "with the parent. Networks that save equally much stand side by side."
)
_SIZE = 5.2, 4.2  # inches, as wide as the other figures
_BESIDE = 10  # points between networks that save equally much
# A network this many times as far below the parent as the path and `max_drop` is drawn at the
# edge: to scale it would press the path into one line.
_FAR = 3
_PIECES = 16  # into which a sloping line is cut, so that names come near it
_PATH = "#0072B2"
_KEPT = {"marker": "o", "ms": 6, "mfc": _PATH, "mec": _PATH}
_UNDONE = {"marker": "o", "ms": 6, "mfc": "white", "mec": looks.INK, "mew": 1.2}
_END = {"marker": "*", "ms": 13, "mfc": _PATH, "mec": _PATH}
_LIMIT = {"color": looks.INK, "lw": 1, "ls": ":"}
# Each alternative has a marker and a colour of its own; shapes tell them apart in grey too.
_MARKS = {
    "scratch": ("s", "#D55E00"),
    "scratch_taught": ("D", "#E69F00"),
    "left_out": ("v", "#009E73"),
    "narrow": ("^", "#56B4E9"),
    "pruned": ("P", "#CC79A7"),
}


@dataclass(frozen=True)
class _Point:
    """A network in the figure.

    Attributes:
        x: multiply-accumulates saved, in percent of the parent's.
        accuracy: on the test images, in percent.
        style: of its marker.
        interval: the ends of its 95 % interval in percent; None without one.
        name: written beside it.
    """

    x: float
    accuracy: float
    style: dict[str, object]
    interval: tuple[float, float] | None = None
    name: str = ""


def draw(smaller: Smaller) -> Figure | None:
    """Returns the figure; None if no step of the compression has finished."""
    path, others = _path(smaller), [*_undone(smaller), *_alternatives(smaller)]
    if len(path) + len(others) == 1:
        return None
    figure = Figure(figsize=_SIZE, layout="constrained")
    panel = figure.subplots()
    panel.set(xlabel="multiply-accumulates saved (%)", ylabel="test accuracy (%)")
    panel.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    looks.prepare(panel)
    lowest = path[0].accuracy - 100 * smaller.compression.max_drop
    looks.legend(figure, _handles(smaller))
    others = _limit(panel, path, others, lowest)
    figure.draw_without_rendering()  # places the panel, which the points beside others need
    path, others = _beside(panel, path, others)
    lines = [
        panel.axhline(
            path[0].accuracy,
            color=looks.BASELINE,
            lw=2.5,
            path_effects=looks.outline(),
            zorder=1,
        ),
        panel.axhline(lowest, zorder=1, **_LIMIT),
        *panel.plot(
            [point.x for point in path],
            [point.accuracy for point in path],
            color=_PATH,
            lw=1.6,
            zorder=2,
        ),
    ]
    for point in (*others, *path[1:]):
        _mark(panel, point)
    _name(panel, [*path[1:], *others], lines)
    return figure


def _path(smaller: Smaller) -> list[_Point]:
    """Returns the parent, the steps that were kept, and the compressed network."""
    compression, network = smaller.compression, smaller.compressed
    points = [_Point(0.0, 100 * compression.baseline_accuracy, _KEPT)]
    for step in compression.steps:
        if step.kept:
            at = 100 * smaller.macs_saved(step.macs), 100 * step.accuracy
            points.append(_Point(*at, _KEPT, name=step.block))
    if network is None:
        return points
    end = _network(smaller, network, _END)
    if compression.final:
        return [*points, end]
    return [*points[:-1], replace(end, name=points[-1].name)]


def _undone(smaller: Smaller) -> Iterator[_Point]:
    compression = smaller.compression
    for step in compression.steps:
        if step.accuracy is not None and not step.kept:
            at = 100 * smaller.macs_saved(step.macs), 100 * step.accuracy
            yield _Point(*at, _UNDONE, name=step.block)
    if compression.finals and not compression.final:
        accuracy = 100 * mean(final.accuracy for final in compression.finals)
        saved = 100 * smaller.macs_saved(compression.macs)
        yield _Point(saved, accuracy, _UNDONE, name="final retraining")


def _alternatives(smaller: Smaller) -> list[_Point]:
    return [_network(smaller, rival, _style(rival.kind)) for rival in smaller.alternatives]


def _network(smaller: Smaller, network: Rival, style: dict[str, object]) -> _Point:
    saved, cost = 100 * smaller.macs_saved(network.macs), network.from_parent
    if cost is None:
        return _Point(saved, 100 * network.accuracy, style)
    parent = smaller.compression.baseline_accuracy
    ends = 100 * (parent + cost.low), 100 * (parent + cost.high)
    return _Point(saved, 100 * (parent + cost.mean), style, ends)


def _style(kind: str) -> dict[str, object]:
    marker, colour = _MARKS[kind]
    return {"marker": marker, "ms": 6.5, "mfc": "white", "mec": colour, "mew": 1.6}


def _handles(smaller: Smaller) -> list[Line2D]:
    """Returns the legend's entries."""
    shown = [
        looks.parent(),
        Line2D([], [], label="most that may be lost", **_LIMIT),
        Line2D([], [], color=_PATH, lw=1.6, label="step kept", **_KEPT),
    ]
    if any(_undone(smaller)):
        shown.append(Line2D([], [], ls="", label="step undone", **_UNDONE))
    if smaller.compressed:
        shown.append(Line2D([], [], ls="", label="compressed", **_END))
        shown.append(Line2D([], [], color=looks.INK, lw=1.2, label="95 % interval"))
    for rival in smaller.alternatives:
        title = KINDS[rival.kind].title
        shown.append(Line2D([], [], ls="", label=title, **_style(rival.kind)))
    return shown


def _limit(
    panel: Axes, path: Sequence[_Point], others: Sequence[_Point], lowest: float
) -> list[_Point]:
    """Sets the panel's limits.

    Returns:
        The points off the path; those far below it stand at the lower edge, with their accuracy
        as part of the name.
    """
    parent = path[0].accuracy
    on_path = [end for point in path for end in (point.accuracy, *(point.interval or ()))]
    farthest = parent - _FAR * (parent - min(lowest, *on_path))
    near = [point for point in others if point.accuracy >= farthest]
    heights = [end for point in near for end in (point.accuracy, *(point.interval or ()))]
    heights = [max(height, farthest) for height in (parent, lowest, *on_path, *heights)]
    room = 0.08 * (max(heights) - min(heights)) or 1.0
    bottom, _ = panel.set_ylim(min(heights) - room, max(heights) + room)
    saved = [point.x for point in (*path, *others)]
    room = 0.05 * (max(saved) - min(saved)) or 1.0
    panel.set_xlim(min(saved) - room, max(saved) + room)
    return [
        point
        if point.accuracy >= farthest
        else replace(
            point,
            accuracy=bottom,
            interval=None,
            name=f"{point.name} ↓ {point.accuracy:.1f}".strip(),
        )
        for point in others
    ]


def _beside(
    panel: Axes, path: Sequence[_Point], others: Sequence[_Point]
) -> tuple[list[_Point], list[_Point]]:
    """Returns path and others, moved to the right where they would cover each other.

    The panel grows to the right until it holds them.
    """
    fixed = list(path[:-1]) or list(path)
    moving, start = [*path[len(fixed) :], *others], fixed[-1].x
    crowded = sorted((p for p in moving if p.x >= start), key=lambda p: p.x)
    left, right = panel.get_xlim()
    width = panel.bbox.width / panel.figure.dpi * 72  # points
    while True:
        gap = _BESIDE / width * (right - left)
        places = _apart([point.x for point in crowded], start, gap)
        if not places or places[-1] <= right - gap:
            break
        right += gap
    panel.set_xlim(left, right)
    moved = {id(p): replace(p, x=x) for p, x in zip(crowded, places, strict=True)}
    moving = [moved.get(id(point), point) for point in moving]
    ends = len(path) - len(fixed)
    return [*fixed, *moving[:ends]], moving[ends:]


def _apart(ascending: Sequence[float], start: float, gap: float) -> list[float]:
    """Returns numbers that are no smaller, and at least `gap` apart, also from `start`."""
    places: list[float] = []
    for number in ascending:
        places.append(max(number, (places or [start])[-1] + gap))
    return places


def _mark(panel: Axes, point: _Point) -> None:
    if point.interval:
        line = {"color": point.style["mec"], "lw": 1.2, "zorder": 2.5}
        panel.plot([point.x] * 2, point.interval, **line)
    panel.plot([point.x], [point.accuracy], ls="", zorder=3, clip_on=False, **point.style)


def _name(panel: Axes, points: Sequence[_Point], lines: Sequence[Line2D]) -> None:
    """Writes the names of steps, where they cover neither points, lines nor each other."""
    pixel = panel.figure.dpi / 72
    taken = [box.padded(pixel) for line in lines for box in _boxes(line)]
    for point in points:
        at = panel.transData.transform([(point.x, point.accuracy)] * 2)
        taken.append(Bbox(at).padded(4 * pixel))
        if point.interval:
            ends = panel.transData.transform([(point.x, end) for end in point.interval])
            taken.append(Bbox(ends).padded(pixel))
    names = [
        panel.annotate(
            point.name,
            (point.x, point.accuracy),
            (0, 0),
            textcoords="offset points",
            fontsize=9,
            color=looks.INK,
            parse_math=False,
        )
        for point in points
        if point.name
    ]
    for name in names:
        name.set_in_layout(False)
    labels.place(panel, names, taken)


def _boxes(line: Line2D) -> Iterator[Bbox]:
    """Yields what a line covers, in pixels."""
    corners = line.get_transform().transform(line.get_xydata())
    for (x, y), (to_x, to_y) in itertools.pairwise(corners):
        for piece in range(_PIECES):
            first, last = piece / _PIECES, (piece + 1) / _PIECES
            yield Bbox(
                [
                    (x + first * (to_x - x), y + first * (to_y - y)),
                    (x + last * (to_x - x), y + last * (to_y - y)),
                ]
            )
