"""What a study ends in: figures, a page and lines for the terminal, made from its files."""

from pathlib import Path

import keras
from matplotlib.figure import Figure

from deep_net_triage.findings import claims, plots, report, savings, tables, verdict
from deep_net_triage.findings.looks import DPI
from deep_net_triage.network import blocks, surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import files, results


def present(
    folder: Path,
    parent: keras.Model,
    chosen: tuple[Block, ...],
    max_drop: float,
    progress: Progress,
) -> None:
    """Makes a study's figures and its page, and prints its table and its verdict.

    Args:
        folder: the study's.
        parent: as it was triaged.
        chosen: its blocks that were asked for.
        max_drop: the accuracy that may be lost, 0..1.
        progress: where a person watches.
    """
    study = results.read_study(folder)
    largest = blocks.largest(chosen)
    student = surgery.compress(parent, largest, initializer="glorot_uniform", seed=0)
    figures = {"structure": plots.structure(parent, student, largest)}
    if study.rows:
        figures |= {
            "accuracy": plots.accuracy([study]),
            "convergence": plots.convergence([study]),
            "savings": savings.draw(study),
        }
    for name, figure in figures.items():
        _save(figure, folder / "figures" / f"{name}.png")
    reached = verdict.reach(study, max_drop)
    classes = files.read_json(folder / "study.json")["classes"]
    judgements = claims.judge([study], {study.dataset: classes}) if study.rows else []
    page = report.write(folder, judgements, reached, _captioned(figures))
    progress.say(f"\n{tables.table(study)}\n\n{verdict.describe(reached)}\n")
    progress.say(f"results.csv, figures, models and learning curves: {folder}")
    progress.say(f"everything on one page: {page}")


def _captioned(figures: dict[str, Figure]) -> list[tuple[str, Figure]]:
    captions = {
        "accuracy": "Test accuracy of each method at each compressed block",
        "savings": "Accuracy lost against what is saved",
        "convergence": "Epochs to 99 % of each run's own maximum",
        "structure": "A block and the single layer in its place",
    }
    return [(captions[name], figures[name]) for name in captions if name in figures]


def _save(figure: Figure, file: Path) -> None:
    with files.replacing(file) as unfinished:
        figure.savefig(unfinished, dpi=DPI)
