"""The figure by block: what each method loses against the control, and against the parent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import beside
import contrasts
import fold_results
import verdicts
from contrasts import Cell
from fold_results import Fold
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deep_net_triage.findings import looks
from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.wording import signed

_WIDTH, _HEIGHT = 4.2, 3.6  # inches of a panel
_FURTHEST = 12.0  # points; a mean further from the control stands there, with its number
_SPREAD = 0.8  # of a block's column, over which methods stand side by side


@dataclass(frozen=True)
class Panel:
    """One setting of a data set.

    Attributes:
        title: above the panel.
        parent: its accuracy less the control's, in points.
        cells: a method's accuracy at a block less the control's and both ends of its interval,
            in points.
    """

    title: str
    parent: float
    cells: Mapping[Cell, tuple[float, float, float]]


def of_folds(title: str, folds: Sequence[Fold]) -> Panel:
    """Returns the panel of a data set, with uncorrected intervals over its folds."""

    def less_control(cell: Cell) -> tuple[float, float, float]:
        weights = contrasts.less({cell: 1.0}, contrasts.PARENT_TRAINED_ON)
        values = fold_results.weighted(folds, "accuracy", weights)
        return tuple(100 * end for end in verdicts.interval(values))

    trained_on = mean(fold_results.weighted(folds, "accuracy", contrasts.PARENT_TRAINED_ON))
    cells = [(method, block) for block in contrasts.BLOCKS for method in contrasts.SIX]
    parent = mean(fold.parent for fold in folds) - trained_on
    return Panel(title, 100 * parent, {cell: less_control(cell) for cell in cells})


def of_images(title: str, studies: Sequence[StudyResults]) -> Panel:
    """Returns the panel of a few folds, with intervals over their test images."""
    control = contrasts.PARENT_TRAINED_ON

    def less_control(cell: Cell) -> tuple[float, float, float]:
        found = beside.difference(studies, [cell], control)
        return 100 * found.mean, 100 * found.low, 100 * found.high

    cells = [(m, b) for b in beside.SIZED_BLOCKS for m in beside.SIZED_METHODS]
    parent = -beside.difference(studies, control, None).mean
    return Panel(title, 100 * parent, {cell: less_control(cell) for cell in cells})


def draw(panels: Sequence[Panel]) -> Figure:
    """Returns the figure: a panel for each setting, all on one scale."""
    figure = Figure(figsize=(_WIDTH * len(panels) + 0.4, _HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    axes[0].set_ylabel("accuracy − control's (points)")
    for each, panel in zip(axes, panels, strict=True):
        looks.prepare(each)
        each.set_title(panel.title, color=looks.INK)
        each.set_xlabel("compressed block")
        looks.parent_line(each, panel.parent)
        each.axhline(0, color=looks.INK, lw=1, ls=":", zorder=1.5)
        blocks = list(dict.fromkeys(block for _, block in panel.cells))
        methods = list(dict.fromkeys(method for method, _ in panel.cells))
        for (method, block), (value, *ends) in panel.cells.items():
            place = (methods.index(method) + 0.5) / len(methods) - 0.5
            x = blocks.index(block) + _SPREAD * place
            each.plot([x, x], ends, color=METHODS[method].colour, lw=1.2, zorder=2)
            y = min(max(value, -_FURTHEST), _FURTHEST)
            each.plot([x], [y], zorder=3, clip_on=False, **looks.marker_style(method))
            if y != value:
                number = signed(value, 0).replace("-", "\N{MINUS SIGN}")
                inwards = (-6, 6 if y < 0 else -12)
                each.annotate(number, (x, y), inwards, textcoords="offset points", ha="right")
        each.set_xticks(range(len(blocks)), map(looks.block_title, blocks))
        each.set_xlim(-0.5, len(blocks) - 0.5)
    shown = [*map(looks.marker, contrasts.SIX), looks.parent()]
    shown.append(Line2D([], [], color=looks.INK, lw=1, ls=":", label="control"))
    looks.legend(figure, shown)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(max(low, -_FURTHEST), min(high, _FURTHEST))
    return figure
