"""The figure of accuracy lost against what is saved, with its Pareto front."""

import dataclasses
import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, ScaledTranslation, Transform

from deep_net_triage.findings import labels, looks
from deep_net_triage.findings.recommendation import uncounted_text
from deep_net_triage.findings.verdict import BlockSummary
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import Row
from deep_net_triage.records.study_results import StudyResults, mean

NOTE = (
    "A point is a block, by the method that loses least there. Bold names are on the Pareto "
    "front: no other block saves at least as much and loses less, or saves more and loses no "
    "more. Points that save equally much stand side by side; one far below the others stands "
    "at their lower end, with its number. A latency that differs from the parent's by no more "
    "than the spread of either is left out."
)
_WIDTH = 5.2  # inches, as wide as the other figures, for text of one size on a phone
_LETTERS = 60  # that fit below a panel in one line
_BESIDE = 11  # points between two that save equally much
_EQUAL = 0.02  # of the panel's width, in which two points would cover each other

# Costs in `results.csv`; `parent_` before a name makes the parent's.
_SAVINGS = {
    "macs": "multiply-accumulates saved (%)",
    "parameters": "parameters saved (%)",
    "latency": "latency saved, one image (%)",
    "batch_latency": "latency saved, large batch (%)",
}


@dataclass(frozen=True)
class _Point:
    """A block with its best method.

    Attributes:
        block: its name.
        method: the method's name in `METHODS`.
        saved: in percent of the parent's.
        gained: points of accuracy; negative for a loss.
        interval: the ends of the 95 % interval, likewise; None without one.
        name: what is written beside it.
    """

    block: str
    method: str
    saved: float
    gained: float
    interval: tuple[float, float] | None
    name: str


def draw(study: StudyResults, ranking: Sequence[BlockSummary]) -> Figure:
    """Returns a figure with a panel for each saving that was measured.

    Args:
        study: its results.
        ranking: its blocks with a finished trial; each is a point, by its best method.
    """
    measured = {name: points for name in _SAVINGS if (points := _points(study, ranking, name))}
    figure = Figure(figsize=(_WIDTH, 2.5 * len(measured) + 0.5), layout="constrained")
    panels = figure.subplots(len(measured), 1, squeeze=False, sharey=True).ravel()
    for panel, (name, points) in zip(panels, measured.items(), strict=True):
        panel.set_xlabel(_label(study, name), parse_math=False)
        looks.prepare(panel)
        _draw(panel, points)
    figure.supylabel("accuracy minus the parent's (points)", fontsize="medium")
    line = Line2D([], [], color=looks.INK, lw=1, ls="--", label="Pareto front")
    best = {summary.best.method for summary in ranking}
    shown = [looks.marker(name) for name in METHODS if name in best]
    looks.legend(figure, [looks.parent(), line, looks.interval(), *shown])
    figure.draw_without_rendering()  # places the panels, which the labels depend on
    for panel, points in zip(panels, measured.values(), strict=True):
        _name(panel, points, _draw_front(panel, points))
    return figure


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points that no other beats in one number without being worse in the other.

    Args:
        points: pairs of numbers, both better if larger.

    Returns:
        The points in ascending order of the first number.
    """
    best: list[tuple[float, float]] = []
    for point in sorted(set(points), reverse=True):
        if not best or point[1] > best[-1][1]:
            best.append(point)
    return best[::-1]


def _points(study: StudyResults, ranking: Sequence[BlockSummary], name: str) -> list[_Point]:
    """Returns the blocks of which a saving was measured, the means over seeds."""
    points = []
    place = {block: number for number, block in enumerate(study.all_blocks())}
    for summary in sorted(ranking, key=lambda summary: place[summary.block]):
        best = summary.best
        rows = study.trials(best.method, summary.block)
        own, parents = (mean(getattr(row, n) for row in rows) for n in (name, f"parent_{name}"))
        if own is not None and parents and not _within_noise(rows, name):
            estimate, gained = best.cost.estimate, 100 * best.cost.difference
            ends = (100 * estimate.low, 100 * estimate.high) if estimate else None
            saved = 100 * (1 - own / parents)
            points.append(
                _Point(summary.block, best.method, saved, gained, ends, summary.block)
            )
    return _far_ones_at_the_edge(points)


def _far_ones_at_the_edge(points: Sequence[_Point]) -> list[_Point]:
    """Moves points far below the parent to where the others end, and names their loss."""
    farthest = looks.farthest([-point.gained for point in points])
    near = [point for point in points if -point.gained <= farthest]
    bottom = min((end for p in near for end in (p.gained, *(p.interval or ()))), default=0.0)
    return [
        dataclasses.replace(
            point,
            gained=bottom,
            interval=None,
            name=f"{point.name} \u2193 \u2212{-point.gained:.1f}",
        )
        if -point.gained > farthest
        else point
        for point in points
    ]


def _within_noise(rows: Sequence[Row], name: str) -> bool:
    """Returns whether latencies differ by no more than the spread of either; macs never do."""
    if "latency" not in name:
        return False
    own, parents, *spreads = (
        mean(getattr(row, f"{prefix}{name}{suffix}") for row in rows)
        for suffix in ("", "_spread")
        for prefix in ("", "parent_")
    )
    return abs(parents - own) <= max(filter(None, spreads), default=0.0)


def _label(study: StudyResults, name: str) -> str:
    if name == "macs" and study.uncounted:
        note = textwrap.fill(uncounted_text(study.uncounted), _LETTERS)
        return f"{_SAVINGS[name]}\n{note}"
    return _SAVINGS[name]


def _draw(panel: Axes, points: Sequence[_Point]) -> None:
    panel.margins(y=0.1)
    panel.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    looks.parent_line(panel, 0)
    for point in points:  # the axis, which the panels share, holds all intervals
        panel.update_datalim([(0, end) for end in (point.gained, *(point.interval or ()))])
    panel.autoscale_view(scalex=False)
    saved = [point.saved for point in points]
    width = max(saved) - min(saved) or 1.0
    panel.set_xlim(min(saved) - 0.1 * width, max(saved) + 0.22 * width)  # room for names
    for point, moved in zip(points, _moved(panel, points), strict=True):
        if point.interval:
            line = {"color": METHODS[point.method].colour, "lw": 1.2, "zorder": 2.5}
            of_interval = [point.saved] * 2, point.interval
            panel.add_artist(Line2D(*of_interval, transform=moved, **line))
        style = {**looks.marker_style(point.method), "zorder": 3}
        panel.add_artist(Line2D([point.saved], [point.gained], transform=moved, **style))


def _draw_front(panel: Axes, points: Sequence[_Point]) -> list[Bbox]:
    """Draws the Pareto front: the best accuracy among the points that save at least as much.

    Returns:
        what the line covers, in pixels.
    """
    saved, gained = zip(*_front(points), strict=True)
    (left, _), (bottom, _) = panel.get_xlim(), panel.get_ylim()
    x, y = [left], [gained[0]]
    for right, height in zip(saved, gained, strict=True):  # down, then to the right
        x += [x[-1], right]
        y += [height, height]
    corners = [*zip(x, y, strict=True), (saved[-1], bottom)]
    style = {"color": looks.INK, "lw": 1, "ls": "--", "zorder": 2}
    line = Line2D(*zip(*corners, strict=True), transform=panel.transData, **style)
    panel.add_artist(line)
    pixels = panel.transData.transform(corners)
    return [Bbox(ends) for ends in itertools.pairwise(pixels)]


def _front(points: Sequence[_Point]) -> list[tuple[float, float]]:
    return front([(point.saved, point.gained) for point in points])


def _moved(panel: Axes, points: Sequence[_Point]) -> list[Transform]:
    """Returns the transform with which each point is drawn.

    Of points that save equally much, the best keeps its place; the others are moved to its
    right and left in turn.
    """
    left, right = panel.get_xlim()
    best_first = sorted(points, key=lambda point: -point.gained)
    steps = {}
    for number, point in enumerate(best_first):
        before = best_first[:number]
        equal = sum(abs(p.saved - point.saved) < _EQUAL * (right - left) for p in before)
        steps[point] = (equal + 1) // 2 * (1 if equal % 2 else -1)
    inches = panel.figure.dpi_scale_trans
    return [
        panel.transData + ScaledTranslation(steps[point] * _BESIDE / 72, 0, inches)
        for point in points
    ]


def _name(panel: Axes, points: Sequence[_Point], front_line: Sequence[Bbox]) -> None:
    """Writes the blocks' names beside their points, in bold on the front."""
    pixels, best = panel.figure.dpi / 72, _front(points)
    of_parent = Bbox(panel.get_yaxis_transform().transform([(0, 0), (1, 0)]))
    names, taken = [], [box.padded(pixels) for box in (of_parent, *front_line)]
    for point, moved in zip(points, _moved(panel, points), strict=True):
        at = (point.saved, point.gained)
        names.append(
            panel.annotate(
                point.name,
                at,
                (0, 0),
                xycoords=moved,
                textcoords="offset points",
                fontsize=9,
                weight="bold" if at in best else "normal",
                parse_math=False,
            )
        )
        names[-1].set_in_layout(False)
        taken.append(Bbox(moved.transform([at, at])).padded(4 * pixels))
        if point.interval:
            ends = moved.transform([(point.saved, end) for end in point.interval])
            taken.append(Bbox(ends).padded(pixels))
    labels.place(panel, names, taken)
