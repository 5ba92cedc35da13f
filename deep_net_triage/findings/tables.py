"""A study's results as a table for the terminal: blocks by methods."""

from deep_net_triage.findings import looks, verdict
from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.wording import percent, signed


def table(study: StudyResults) -> str:
    """Returns the accuracy of each block and method, its gain, and its convergence.

    A cell reads `98.1 -0.3 2`: accuracy in percent, its difference from the parent in points,
    and epochs to 99 % of the maximum, each the mean over seeds. A cell without a finished trial
    is a dash. If drops from this parent are meaningless, a last line says why.
    """
    methods = study.methods()
    lines = [["", *(METHODS[name].title for name in methods)]]
    for block in study.blocks_run():
        lines.append([block, *(_cell(study, method, block) for method in methods)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    title = f"{study.dataset}: the parent reaches {percent(study.baseline_accuracy)}"
    if study.controls:
        reached = percent(mean(row.chosen_accuracy for row in study.controls))
        title += f", trained on (control) {reached}"
    accuracy = looks.accuracy_name([study])
    legend = f"({accuracy} in %, points against the parent, epochs to 99 % of the maximum)"
    doubt = verdict.doubt(study)
    return "\n".join([title, *text, legend, *([doubt] if doubt else [])])


def _cell(study: StudyResults, method: str, block: str) -> str:
    rows = study.trials(method, block)
    if not rows:
        return "-"
    accuracy = 100 * mean(row.chosen_accuracy for row in rows)
    gain = signed(-100 * mean(row.accuracy_drop for row in rows))
    epochs = mean(row.epochs_to_99 for row in rows)
    return f"{accuracy:.1f} {gain} {round(epochs, 1):g}"
