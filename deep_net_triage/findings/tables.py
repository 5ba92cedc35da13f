"""A study's results as a table for the terminal: blocks by methods."""

from deep_net_triage.findings import comparisons, parent_doubts, reported_accuracy
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import Row
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.wording import percent, signed

_CONTROL = "  against control"


def table(study: StudyResults) -> str:
    """Returns the accuracy of each block and method, what it costs, and its convergence.

    A cell reads `98.1 -0.3 2`: accuracy in percent at the chosen epoch, its difference from the
    parent in points, and epochs to 99 % of the maximum, each the mean over seeds. The lines
    below hold the difference from the control, where one has finished, and the accuracies of
    `reported_accuracy.columns` that are not the reported one. A cell without a finished trial
    is a dash. If drops from this parent are meaningless, a last line says why.
    """
    methods = study.methods()
    lines = [["", *(METHODS[name].title for name in methods)]]
    for block in study.blocks_run():
        cells = [_cell(study, study.trials(method, block)) for method in methods]
        for title in dict.fromkeys(title for cell in cells for title in cell):
            lines.append([title or block, *(cell.get(title, "") for cell in cells)])
    heads = max(len(head) for head, *_ in lines)
    widths = [max(map(len, column)) for column in list(zip(*lines, strict=True))[1:]]
    text = [
        "  ".join([head.ljust(heads), *map(str.rjust, cells, widths)]).rstrip()
        for head, *cells in lines
    ]
    title = f"{study.dataset}: the parent reaches {percent(study.baseline_accuracy)}"
    if study.controls:
        reached = percent(mean(row.chosen_accuracy for row in study.controls))
        title += f"; trained further (control), {reached}"
    doubt = parent_doubts.of_study(study)
    return "\n".join([title, *text, _legend(study), *([doubt] if doubt else [])])


def _cell(study: StudyResults, rows: list[Row]) -> dict[str, str]:
    """Returns the lines of a cell by their titles; the first has none."""
    if not rows:
        return {"": "-"}
    accuracy = 100 * mean(row.chosen_accuracy for row in rows)
    gain = signed(-100 * mean(row.accuracy_drop for row in rows))
    epochs = mean(row.epochs_to_99 for row in rows)
    lines = {"": f"{accuracy:.1f} {gain} {round(epochs, 1):g}"}
    if control := comparisons.at_chosen_epoch(study, rows).against_control:
        lines[_CONTROL] = signed(100 * control.mean)
    for title, column in _others(study).items():
        lines[f"  {title}"] = f"{100 * mean(getattr(row, column) for row in rows):.1f}"
    return lines


def _others(study: StudyResults) -> dict[str, str]:
    """Returns the columns of the accuracies that are not the reported one, by their titles."""
    _, *others = reported_accuracy.columns(study).items()
    return dict(others)


def _legend(study: StudyResults) -> str:
    below = ["difference from the control in points"] if study.controls else []
    below += [f"{title} in %" for title in _others(study)]
    return (
        f"({reported_accuracy.name([study])} in %, difference from the parent in points, "
        f"epochs to 99 % of the maximum; below: {', '.join(below)})"
    )
