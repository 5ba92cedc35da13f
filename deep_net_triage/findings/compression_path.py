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
from deep_net_triage.findings.drawings import Picture
from deep_net_triage.findings.rivals import Rival, Smaller
from deep_net_triage.records.alternatives import KINDS
from deep_net_triage.records.study_results import mean

_TITLE = "Accuracy against what is saved, step by step"
_NOTE = (
    "The line leads from the parent through the steps that were kept, each with the block that "
    "it compresses. A dashed line leads from the last of them to the network after the final "
    "retraining, which has the same size. The number below each alternative is the percentage "
    "that it saves. 95 % intervals, paired with the parent, are over test images and, where "
    "there are several, seeds. An arrow points to an accuracy too low to show."
)
_HELD_OUT = " Validation images, and not the accuracy shown, decided which steps were kept."
_SIZE = 5.2, 4.2  # inches, as wide as the other figures
_PANELS = 12  # the width of the path's panel beside alternatives of a width of 1
# A network this many times as far below the parent as the path and `max_drop` is drawn at the
# edge: to scale it would press the path into one line.
_FAR = 3
# Of the saved shares' range, on the right of the last point, where its name finds room.
_MARGIN = 0.22
_PIECES = 16  # into which a sloping line is cut, so that names come near it
_PATH = "#0072B2"
_KEPT = {"marker": "o", "ms": 6, "mfc": _PATH, "mec": _PATH}
_UNDONE = {"marker": "o", "ms": 6, "mfc": "white", "mec": looks.INK, "mew": 1.2}
_END = {"marker": "*", "ms": 13, "mfc": _PATH, "mec": _PATH}
_FINAL = {"color": _PATH, "lw": 1.6, "ls": (0, (3, 2))}
_LIMIT = {"color": looks.INK, "lw": 1, "ls": ":", "zorder": 1}
# Each alternative has a marker and a colour of its own; shapes tell them apart in grey too.
_MARKS = {
    "scratch": ("s", "#D55E00"),
    "scratch_taught": ("D", "#E69F00"),
    "left_out": ("v", "#009E73"),
    "narrow": ("^", "#56B4E9"),
    "pruned": ("p", "#CC79A7"),
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


def picture(smaller: Smaller) -> Picture | None:
    """Returns the figure with its caption; None if no step of the compression has finished."""
    figure = draw(smaller)
    note = _NOTE + (_HELD_OUT if smaller.compression.held_out else "")
    return Picture(6, _TITLE, figure, note) if figure else None


def draw(smaller: Smaller) -> Figure | None:
    """Returns the figure; None if no step of the compression has finished."""
    path, undone = _path(smaller), list(_undone(smaller))
    if len(path) + len(undone) == 1:
        return None
    figure = Figure(figsize=_SIZE, layout="constrained")
    panel, *beside = _panels(figure, len(smaller.alternatives))
    lowest = path[0].accuracy - 100 * smaller.compression.max_drop
    alternatives = [_network(smaller, one, _style(one.kind)) for one in smaller.alternatives]
    looks.legend(figure, _handles(smaller))
    _set_limits(panel, path, undone, alternatives, lowest)
    for each in (panel, *beside):
        looks.parent_line(each, path[0].accuracy)
        each.axhline(lowest, **_LIMIT)
    for each in beside:
        _draw_alternatives(each, alternatives)
    figure.draw_without_rendering()  # places the panel, which the names depend on
    steps = path[:-1] if smaller.compression.final else path
    _connect(panel, steps, {"color": _PATH, "lw": 1.6})
    if smaller.compression.final:
        _connect(panel, path[-2:], _FINAL)
    shown = [*path[1:], *(_at_edge(panel, point) for point in undone)]
    for point in shown:
        _mark(panel, point)
    _name(panel, shown)
    return figure


def _connect(panel: Axes, points: Sequence[_Point], style: dict[str, object]) -> None:
    line = [point.x for point in points], [point.accuracy for point in points]
    panel.plot(*line, zorder=2, **style)


def _panels(figure: Figure, alternatives: int) -> list[Axes]:
    """Returns a panel for the path and, if there are alternatives, one for these."""
    widths = [_PANELS, max(3, alternatives)] if alternatives else [1]
    panels = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)
    first, *others = panels[0]
    first.set(xlabel="multiply-accumulates saved (%)", ylabel="test accuracy (%)")
    first.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    for panel in panels[0]:
        looks.prepare(panel)
    for panel in others:
        panel.set_xlabel("saved (%)")
        panel.set_title("alternatives", fontsize=9, color=looks.INK)
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
    return [first, *others]


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
    shown = [looks.parent(), Line2D([], [], label="allowed loss", **_LIMIT)]
    if smaller.compressed:
        shown.append(Line2D([], [], color=_PATH, lw=1.6, label="step kept", **_KEPT))
    if smaller.compression.final:
        shown.append(Line2D([], [], label="final retraining", **_FINAL))
    if any(_undone(smaller)):
        shown.append(Line2D([], [], ls="", label="step undone", **_UNDONE))
    if smaller.compressed:
        shown.append(Line2D([], [], ls="", label="compressed", **_END))
        shown.append(looks.interval())
    for rival in smaller.alternatives:
        title = KINDS[rival.kind].title
        shown.append(Line2D([], [], ls="", label=title, **_style(rival.kind)))
    return shown


def _set_limits(
    panel: Axes,
    path: Sequence[_Point],
    undone: Sequence[_Point],
    alternatives: Sequence[_Point],
    lowest: float,
) -> None:
    """Lets a panel hold the path, what may be lost, and all others that are not far below.

    Alternatives stand in a panel beside it, which shares the vertical axis alone.
    """
    parent = path[0].accuracy
    on_path = [end for point in path for end in (point.accuracy, *(point.interval or ()))]
    farthest = parent - _FAR * (parent - min(lowest, *on_path))
    near = [point for point in (*undone, *alternatives) if point.accuracy >= farthest]
    heights = [end for point in near for end in (point.accuracy, *(point.interval or ()))]
    heights = [max(height, farthest) for height in (parent, lowest, *on_path, *heights)]
    room = 0.1 * (max(heights) - min(heights)) or 1.0
    panel.set_ylim(min(heights) - room, max(heights) + room)
    saved = [point.x for point in (*path, *undone)]
    width = max(saved) - min(saved) or 1.0
    panel.set_xlim(min(saved) - 0.05 * width, max(saved) + _MARGIN * width)


def _draw_alternatives(panel: Axes, points: Sequence[_Point]) -> None:
    """Draws networks side by side, each above what it saves."""
    panel.set_xticks(range(len(points)), [f"{point.x:.0f}" for point in points], fontsize=8)
    panel.set_xlim(-0.7, len(points) - 0.3)
    bottom, _ = panel.get_ylim()
    for place, point in enumerate(points):
        if point.accuracy < bottom:
            # Turned, the arrow points downwards.
            text, at = f"\u2190 {point.accuracy:.1f}", (place, bottom)
            turned = {"rotation": 90, "ha": "center", "va": "bottom", "fontsize": 8}
            offset = {"xytext": (0, 7), "textcoords": "offset points"}
            panel.annotate(text, at, color=looks.INK, **offset, **turned)
        _mark(panel, _at_edge(panel, replace(point, x=place)))


def _at_edge(panel: Axes, point: _Point) -> _Point:
    """Moves a point below the panel to its edge, and adds its accuracy to its name."""
    bottom, _ = panel.get_ylim()
    if point.accuracy >= bottom:
        return point
    name = f"{point.name} \u2193 {point.accuracy:.1f}"
    return replace(point, accuracy=bottom, interval=None, name=name)


def _mark(panel: Axes, point: _Point) -> None:
    if point.interval:
        line = {"color": point.style["mec"], "lw": 1.2, "marker": "_", "ms": 6, "mew": 1.2}
        panel.plot([point.x] * 2, point.interval, zorder=2.5, **line)
    panel.plot([point.x], [point.accuracy], ls="", zorder=3, clip_on=False, **point.style)


def _name(panel: Axes, points: Sequence[_Point]) -> None:
    """Writes the names of steps, where they cover neither points, lines nor each other."""
    pixel = panel.figure.dpi / 72
    taken = [box.padded(pixel) for line in panel.lines for box in _boxes(line)]
    for point in points:
        at = panel.transData.transform([(point.x, point.accuracy)] * 2)
        taken.append(Bbox(at).padded(5 * pixel))
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
