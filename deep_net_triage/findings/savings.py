"""The figure of accuracy lost against what is saved, with its Pareto front."""

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deep_net_triage.findings import looks
from deep_net_triage.findings.recommendation import uncounted_text
from deep_net_triage.records.study_results import StudyResults, mean

_COLUMNS = 2  # more can't be read on a phone
_LETTERS = 40  # that fit below a panel in one line

# Costs in `results.csv`; `parent_` before a name makes the parent's.
_SAVINGS = {
    "macs": "multiply-accumulates saved (%)",
    "parameters": "parameters saved (%)",
    "bytes": "file size saved (%)",
    "latency": "latency saved, one image (%)",
    "batch_latency": "latency saved, large batch (%)",
}


def draw(study: StudyResults) -> Figure:
    """Returns a figure with a panel for each saving that was measured.

    A point is a block and method, the mean over seeds. A line joins the Pareto front: the
    points that no other beats in one number without being worse in the other.
    """
    measured = [name for name in _SAVINGS if _points(study, name)]
    rows = math.ceil(len(measured) / _COLUMNS)
    columns = min(_COLUMNS, len(measured))
    figure = Figure(figsize=(3.6 * columns + 0.6, 3 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, name in zip(panels, measured, strict=False):
        panel.set_xlabel(_label(study, name), parse_math=False)
        looks.prepare(panel)
        _draw(panel, _points(study, name))
    for panel in panels[len(measured) :]:
        panel.remove()
    figure.supylabel("accuracy against the parent (points)", fontsize="medium")
    front = Line2D([], [], color=looks.INK, lw=1, ls="--", label="Pareto front")
    looks.legend(figure, [front, *(looks.marker(name) for name in study.methods())])
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


def _points(study: StudyResults, name: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Returns by (method, block) the percent saved, and the points of accuracy gained."""
    points = {}
    for method, block in dict.fromkeys((row.method, row.block) for row in study.rows):
        rows = study.trials(method, block)
        own, parents = (mean(getattr(row, n) for row in rows) for n in (name, f"parent_{name}"))
        if own is not None and parents:
            gained = -100 * mean(row.accuracy_drop for row in rows)
            points[method, block] = 100 * (1 - own / parents), gained
    return points


def _label(study: StudyResults, name: str) -> str:
    if name == "macs" and study.uncounted:
        note = textwrap.fill(uncounted_text(study.uncounted), _LETTERS)
        return f"{_SAVINGS[name]}\n{note}"
    return _SAVINGS[name]


def _draw(panel: Axes, points: dict[tuple[str, str], tuple[float, float]]) -> None:
    panel.margins(x=0.15)  # for the names of blocks
    panel.axhline(0, color=looks.BASELINE, lw=2.5, path_effects=looks.outline(), zorder=1)
    best = front(list(points.values()))
    panel.plot(*zip(*best, strict=True), color=looks.INK, lw=1, ls="--", zorder=2)
    for (method, _), point in points.items():
        panel.plot(*point, **looks.marker_style(method))
    named = set()
    for (_, block), point in points.items():
        if point in best and point not in named:
            named.add(point)
            panel.annotate(
                block,
                point,
                (4, 4),
                textcoords="offset points",
                fontsize=8,
                parse_math=False,
            )
