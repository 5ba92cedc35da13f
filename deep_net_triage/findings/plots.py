"""Figures 2 and 3 of the paper, as matplotlib figures that change no global state."""

import math
from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deep_net_triage.findings import looks, reported_accuracy
from deep_net_triage.findings.statistics import against_parent
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import Row
from deep_net_triage.records.study_results import StudyResults, mean

ACCURACY_NOTE = (
    "A line is the 95 % interval of the difference from the parent, paired by image. One of "
    "20 such intervals misses the true difference by chance."
)
_DISTILLATION = "Distillation (hatched) comes first."
_CENSORED = (
    "A trial that reaches 99 % only in its last epoch (a triangle) might have kept improving."
)
_SCHEDULED = f"The learning rate {reported_accuracy.FALLS}."
_MOST_PANELS = 3
_COLUMN = 0.8  # width of a method's or a block's column; the rest separates it from others
_LETTERS = 60  # of names that fit below a panel, side by side
_ABREAST = 0.13  # of a method's column, from one trial's marker to the next at the same height


def accuracy(studies: Sequence[StudyResults]) -> Figure:
    """Returns Figure 2: test accuracy by compressed block and method, a panel for each study.

    The parent's accuracy is a yellow line. A marker is the mean over seeds, and its line the
    95 % interval of the difference from the parent; a marker without a line has no interval. A
    trial that is missing or failed is a gap. A marker far below all others stands at the lower
    edge with its number.
    """
    figure, panels, leftmost = _panels(studies, width=5.2, height=3.6)
    for panel, study in zip(panels, studies, strict=True):
        _accuracy_panel(panel, study)
    for panel in leftmost:
        panel.set_ylabel(f"{reported_accuracy.name(studies)} (%)")
    ran = {name for study in studies for name in study.methods()}
    handles = [looks.parent(), *(looks.marker(name) for name in METHODS if name in ran)]
    if any(_intervals(study) for study in studies):
        handles.append(looks.interval())
    looks.legend(figure, handles)
    return figure


def convergence(studies: Sequence[StudyResults]) -> Figure:
    """Returns Figure 3: epochs to 99 % of each trial's own maximum, by method.

    A marker is a trial, and the thick line their mean. The epochs of distillation that come
    first are a hatched box below. A trial that reaches 99 % only in the last epoch of a
    constant learning rate might have gone on to rise: its marker points upwards.
    """
    figure, panels, leftmost = _panels(studies, width=4.0, height=3.6, sharey=True)
    for panel, study in zip(panels, studies, strict=True):
        _convergence_panel(panel, study)
    for panel in leftmost:
        panel.set_ylabel("epochs to 99 % of the maximum")
    rows = [row for study in studies for row in study.rows]
    highest = max((row.distill_epochs + row.epochs_to_99 for row in rows), default=1)
    panels[0].set_ylim(0, 1.06 * highest)  # they share it
    handles = [looks.trial(censored=False)]
    if any(_is_censored(study, row) for study in studies for row in study.rows):
        handles.append(looks.trial(censored=True))
    handles.append(Line2D([], [], color=looks.INK, lw=2.5, label="mean over trials"))
    if any(row.distill_epochs for row in rows):
        handles.append(looks.distilling())
    looks.legend(figure, handles)
    return figure


def _panels(
    studies: Sequence[StudyResults], width: float, height: float, sharey: bool = False
) -> tuple[Figure, list[Axes], list[Axes]]:
    """Returns a figure, its panels, one for each study, and the leftmost panel of each row."""
    columns = len(studies) if len(studies) <= _MOST_PANELS else math.ceil(len(studies) / 2)
    rows = math.ceil(len(studies) / columns)
    size = (width * columns + 0.6, height * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    for unused in panels.flat[len(studies) :]:
        unused.remove()
    for panel, study in zip(panels.flat, studies, strict=False):
        panel.set_title(looks.title(study.dataset), color=looks.INK, parse_math=False)
        looks.prepare(panel)
    return figure, list(panels.flat[: len(studies)]), [row[0] for row in panels]


def _accuracy_panel(panel: Axes, study: StudyResults) -> None:
    methods, blocks = study.methods(), study.blocks_run()
    looks.parent_line(panel, 100 * study.baseline_accuracy)
    far, intervals = _far_below(study), _intervals(study)
    at_the_edge = []
    for index, method in enumerate(methods):
        offset = _COLUMN * ((index + 0.5) / len(methods) - 0.5)
        for position, block in enumerate(blocks):
            reached = [100 * row.chosen_accuracy for row in study.trials(method, block)]
            x = position + offset
            if (method, block) in far:
                at_the_edge.append((x, mean(reached), method))
            elif reached:
                if ends := intervals.get((method, block)):
                    panel.plot([x, x], ends, color=METHODS[method].colour, lw=1.2, zorder=2)
                marker = {**looks.marker_style(method), "zorder": 3, "clip_on": False}
                panel.plot([x], [mean(reached)], **marker)
    bottom, top = panel.get_ylim()
    panel.set_ylim(bottom, min(top, 100))
    for x, accuracy, method in at_the_edge:
        panel.plot([x], [bottom], clip_on=False, **looks.marker_style(method))
        beside = {"xytext": (6, 4), "textcoords": "offset points", "fontsize": 8}
        panel.annotate(f"↓ {accuracy:.1f}", (x, bottom), color=looks.INK, **beside)
    titles = [looks.in_two_lines(looks.block_title(block)) for block in blocks]
    longest = max((len(line) for title in titles for line in title.split("\n")), default=0)
    crowded = len(titles) * longest > _LETTERS
    slant = {"rotation": 20, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    panel.set_xticks(range(len(blocks)), titles, parse_math=False, **slant)
    panel.set_xlim(-0.5, len(blocks) - 0.5)
    for edge in range(1, len(blocks)):
        panel.axvline(edge - 0.5, color=looks.GRID, lw=0.7, zorder=0)
    panel.set_xlabel("compressed block")


def _far_below(study: StudyResults) -> set[tuple[str, str]]:
    """Returns the methods and blocks that would press all others into one line."""
    drops: dict[tuple[str, str], list[float]] = {}
    for row in study.rows:
        drop = study.baseline_accuracy - row.chosen_accuracy
        drops.setdefault((row.method, row.block), []).append(drop)
    means = {marker: mean(of_seeds) for marker, of_seeds in drops.items()}
    farthest = looks.farthest(means.values())
    return {marker for marker, drop in means.items() if drop > farthest}


def _intervals(study: StudyResults) -> dict[tuple[str, str], tuple[float, float]]:
    """Returns the ends of 95 % intervals in percent, by method and block.

    They are those of the difference from the parent, which is paired by image; so an interval
    that does not reach the parent's line is a difference that chance does not explain.
    """
    found, parent = {}, study.baseline_accuracy
    for names in dict.fromkeys((row.method, row.block) for row in study.rows):
        estimate = against_parent(study.correct_by_seed(*names), study.parent_correct)
        if estimate:
            ends = parent + estimate.low, parent + estimate.high
            found[names] = tuple(100 * min(max(end, 0.0), 1.0) for end in ends)
    return found


def _convergence_panel(panel: Axes, study: StudyResults) -> None:
    methods = study.methods()
    for position, method in enumerate(methods):
        rows = study.trials(method)
        colour = METHODS[method].colour
        distilled = mean(row.distill_epochs for row in rows)
        if distilled:
            panel.bar(position, distilled, _COLUMN, **looks.hatched(colour))
        average = distilled + mean(row.epochs_to_99 for row in rows)
        ends = [position - _COLUMN / 2, position + _COLUMN / 2]
        panel.plot(ends, [average] * 2, color=looks.INK, lw=2.5)
        at_height = Counter(row.epochs_to_99 for row in rows)
        drawn = Counter()
        for row in rows:
            height = row.epochs_to_99
            place = drawn[height] - (at_height[height] - 1) / 2
            drawn[height] += 1
            # However many there are, they stay in their column.
            apart = min(_ABREAST, _COLUMN / max(1, at_height[height] - 1))
            x, y = position + apart * place, row.distill_epochs + height
            panel.plot([x], [y], **looks.trial_style(colour, _is_censored(study, row)))
    panel.set_xticks(range(len(methods)), [METHODS[name].title for name in methods], fontsize=8)
    panel.set_xlim(-0.6, len(methods) - 0.4)
    panel.yaxis.get_major_locator().set_params(integer=True)


def _is_censored(study: StudyResults, row: Row) -> bool:
    """Returns whether a trial reached 99 % only in its last epoch, and might have gone on.

    With a learning rate that falls to zero, nothing would have followed.
    """
    last = row.epochs_to_99 == study.settings.get("epochs")
    return last and not study.reports_last_epoch


def convergence_note(study: StudyResults) -> str:
    """Returns the note below Figure 3."""
    return f"{_DISTILLATION} {_SCHEDULED if study.reports_last_epoch else _CENSORED}"
