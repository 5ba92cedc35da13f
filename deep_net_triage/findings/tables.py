"""A study's results as a table for the terminal: blocks by methods."""

from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import StudyResults, block_order, mean


def table(study: StudyResults) -> str:
    """Returns the maximum accuracy of each block and method, its drop, and its convergence.

    A cell reads `98.1 -0.3 2`: accuracy in percent, its difference from the parent in points
    (a loss is negative), and epochs to 99 % of the maximum; the mean over seeds. A cell
    without a finished trial is a dash.
    """
    methods = [name for name in METHODS if any(row["method"] == name for row in study.rows)]
    blocks = sorted({row["block"] for row in study.rows}, key=block_order)
    lines = [["", *(METHODS[name].title for name in methods)]]
    for block in blocks:
        cells = [_cell(study, method, block) for method in methods]
        lines.append([block, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(methods) + 1)]
    text = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    ]
    title = f"{study.dataset}: the parent reaches {100 * study.baseline_accuracy:.1f} %"
    if study.controls:
        reached = 100 * mean(row["max_accuracy"] for row in study.controls)
        title += f", trained on (control) {reached:.1f} %"
    legend = "maximum accuracy in %, points against the parent, epochs to 99 % of the maximum"
    return "\n".join([title, *text, f"({legend})"])


def _cell(study: StudyResults, method: str, block: str) -> str:
    rows = [row for row in study.rows if (row["method"], row["block"]) == (method, block)]
    if not rows:
        return "-"
    accuracy = 100 * mean(row["max_accuracy"] for row in rows)
    # Adding zero turns a rounded -0.0 into 0.0.
    points = round(-100 * mean(row["accuracy_drop"] for row in rows), 1) + 0.0
    epochs = mean(row["epochs_to_99"] for row in rows)
    return f"{accuracy:.1f} {points:+.1f} {round(epochs, 1):g}"
