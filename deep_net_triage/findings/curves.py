"""The figure of learning curves: a panel for each block, a line for each method."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from deep_net_triage.findings import looks
from deep_net_triage.methods import CONTROL, METHODS
from deep_net_triage.records.study_results import StudyResults, mean

# Accuracy after each classification epoch, by (block, method), the mean over seeds.
Curves = Mapping[tuple[str, str], Sequence[float]]

_COLUMNS = 2  # as wide as the other figures, for text of one size on a phone
_TICKS = (100, 99, 98, 95, 90, 80, *range(70, -1, -10))  # in percent, by precedence
_MARKED = 12  # the largest number of markers on a line


def means(study: StudyResults) -> Curves:
    """Returns the test accuracy after each epoch that trained on labels, 0..1.

    Epochs of distillation are left out, because no accuracy is measured in them. Seeds that ran
    for different numbers of epochs are averaged over the epochs that all of them have. The
    control, which compresses no block, is left out.
    """
    seeds: dict[tuple[str, str], list[list[float]]] = {}
    for (method, block, _), epochs in study.epochs.items():
        if method != CONTROL:
            reached = [epoch.val_accuracy for epoch in epochs if epoch.phase == "train"]
            seeds.setdefault((block, method), []).append(reached)
    return {
        trial: [mean(accuracies) for accuracies in zip(*of_seeds, strict=False)]
        for trial, of_seeds in seeds.items()
    }


def learning(curves: Curves, baseline_accuracy: float, blocks: Sequence[str]) -> Figure:
    """Returns the learning curves as small multiples on one scale, which widens near 100 %.

    Args:
        curves: as `means` returns them.
        baseline_accuracy: the parent's, 0..1; a dashed line in each panel.
        blocks: the names of the blocks, one for each panel, in the order of the panels.
    """
    rows = max(1, -(-len(blocks) // _COLUMNS))
    figure = Figure(figsize=(5.2, 1.9 * rows + 0.8), layout="constrained")
    panels = list(figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True).flat)
    for spare in panels[len(blocks) :]:
        spare.remove()
    for index, (panel, block) in enumerate(zip(panels, blocks, strict=False)):
        of_block = {name: curves[block, name] for name in METHODS if (block, name) in curves}
        _draw(panel, block, of_block, baseline_accuracy)
        if index + _COLUMNS >= len(blocks):  # the lowest of its column
            panel.tick_params(labelbottom=True)
    _scale(panels[0], [baseline_accuracy, *itertools.chain(*curves.values())])
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("test accuracy (%)", fontsize=10)
    methods = [name for name in METHODS if any(name == method for _, method in curves)]
    parent = Line2D([], [], color=looks.INK, lw=1, ls="--", label="parent")
    lines = [Line2D([], [], label=METHODS[name].title, **_style(name)) for name in methods]
    # Above, because below it would cover the label of the epochs.
    place = {"loc": "outside upper center", "ncols": 4, "frameon": False, "fontsize": 9}
    figure.legend(handles=[parent, *lines], **place)
    return figure


def _scale(panel: Axes, accuracies: Sequence[float]) -> None:
    """Scales the shared axis so that the best curves stay apart where one method fails."""
    low, high = _widened(100 * min(accuracies)), _widened(100 * max(accuracies))
    span = max(high - low, 0.05)
    low, high = low - 0.05 * span, high + 0.05 * span
    panel.set_yscale("function", functions=(_widened, _narrowed))
    panel.set_ylim(_narrowed(low), _narrowed(high))
    ticks: list[float] = []
    for tick in _TICKS:
        far = not ticks or _widened(ticks[-1]) - _widened(tick) >= 0.12 * span
        if low <= _widened(tick) <= high and far:
            ticks.append(tick)
    few = len(ticks) < 3  # a narrow range, which is nearly even
    panel.yaxis.set_major_locator(MaxNLocator(4) if few else FixedLocator(ticks))
    panel.yaxis.set_major_formatter("{x:g}")


def _widened(percent: float | np.ndarray) -> float | np.ndarray:
    """Returns -log10(error + 1), the error in points; the 1 keeps it finite at no error."""
    return -np.log10(101 - np.minimum(percent, 100.99))


def _narrowed(widened: float | np.ndarray) -> float | np.ndarray:
    return 101 - 10.0 ** -np.asarray(widened)


def _draw(panel: Axes, block: str, curves: Mapping[str, Sequence[float]], base: float) -> None:
    looks.prepare(panel)
    panel.set_title(looks.in_two_lines(block), fontsize=10, color=looks.INK, parse_math=False)
    panel.axhline(100 * base, color=looks.INK, lw=1, ls="--", zorder=1)
    for method, accuracies in curves.items():
        style = _style(method)
        if len(accuracies) > _MARKED:
            style["markevery"] = -(-len(accuracies) // _MARKED)
        epochs = range(1, len(accuracies) + 1)
        panel.plot(epochs, [100 * accuracy for accuracy in accuracies], **style)
    panel.xaxis.get_major_locator().set_params(integer=True)


def _style(method: str) -> dict[str, object]:
    line = {"color": METHODS[method].colour, "ls": "-", "lw": 1.2}
    return looks.marker_style(method) | line | {"ms": 3.5, "mew": 1}
