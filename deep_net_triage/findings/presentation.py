"""The end of a command: figures, a page, and the table and verdict on the terminal."""

import keras
from matplotlib.figure import Figure

from deep_net_triage.findings import claims, plots, report, savings, tables, verdict
from deep_net_triage.findings.looks import DPI
from deep_net_triage.findings.verdict import Verdict
from deep_net_triage.network import blocks as network_blocks
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import files
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.steps import Step

# In the page's order.
_CAPTIONS = {
    "accuracy": "Test accuracy of each method at each compressed block",
    "savings": "Accuracy lost against what is saved",
    "convergence": "Epochs to 99 % of each run's own maximum",
    "structure": "A block and the single layer in its place",
}


def present(
    study: StudyResults,
    parent: keras.Model,
    blocks: tuple[Block, ...],
    max_drop: float,
    progress: Progress,
) -> Verdict:
    """Writes a study's figures and its page, prints its table and its verdict, and returns it.

    Args:
        study: its results; the files go to its folder.
        parent: the model that was triaged.
        blocks: its blocks that the command triages.
        max_drop: the accuracy that may be lost, 0..1.
        progress: prints.

    Returns:
        the verdict.
    """
    progress.step(study.dataset, Step("drawing figures"))
    figures = _figures(study, parent, blocks)
    for name, figure in figures.items():
        with files.replacing(study.folder / "figures" / f"{name}.png") as unfinished:
            figure.savefig(unfinished, dpi=DPI)
    reached = verdict.reach(study, max_drop)
    judgements = claims.judge([study]) if study.rows else []
    shown = [name for name in _CAPTIONS if name in figures]
    captioned = [(_CAPTIONS[name], figures[name]) for name in shown]
    page = report.write(study, judgements, reached, captioned)
    progress.say(f"\n{tables.table(study)}\n\n{verdict.describe(reached)}\n")
    progress.say(f"results.csv, figures, models and learning curves: {study.folder}")
    progress.say(f"everything on one page: {page}")
    return reached


def _figures(
    study: StudyResults, parent: keras.Model, blocks: tuple[Block, ...]
) -> dict[str, Figure]:
    largest = network_blocks.largest(blocks)
    student = surgery.compress(parent, largest, initializer="glorot_uniform", seed=0)
    figures = {"structure": plots.structure(parent, student, largest)}
    if study.rows:
        figures["accuracy"] = plots.accuracy([study])
        figures["convergence"] = plots.convergence([study])
        figures["savings"] = savings.draw(study)
    return figures
