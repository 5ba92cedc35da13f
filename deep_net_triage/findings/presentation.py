"""What people see of a study: its page while it runs; at its end figures and verdict too."""

import dataclasses
from pathlib import Path

import keras
import matplotlib
from matplotlib.figure import Figure

from deep_net_triage.findings import (
    claims,
    compression_path,
    plots,
    report,
    rivals,
    savings,
    smaller_text,
    structures,
    stuck,
    tables,
    verdict,
)
from deep_net_triage.findings.drawings import Picture
from deep_net_triage.findings.looks import DPI
from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.findings.unfinished import Unfinished
from deep_net_triage.findings.verdict import Verdict
from deep_net_triage.methods import GROUPS
from deep_net_triage.network import blocks as network_blocks
from deep_net_triage.network import surgery
from deep_net_triage.network.block import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import files
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.steps import Step

# In the page's order. Figures 1 to 3 are the paper's; the page adds Figure 5, the learning
# curves, and Figure 6, the compression.
_TITLES = {
    "structure": (1, "A block and the single layer in its place"),
    "accuracy": (2, "Test accuracy of each method at each compressed block"),
    "convergence": (3, "Epochs to 99 % of each run's own maximum"),
    "savings": (4, "What each block costs against what it saves"),
}
# Metadata that each format would store about the time of writing; None leaves it out.
_FORMATS = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
# In seconds. Drawing takes about one, a hundredth of such a trial.
_LONG_TRIAL = 100


def present(
    study: StudyResults,
    parent: keras.Model,
    blocks: tuple[Block, ...],
    max_drop: float,
    progress: Progress,
    smaller: Smaller | None = None,
) -> Verdict:
    """Writes a study's figures and page, prints its table and verdict, returns the verdict.

    Args:
        study: its results; the files go to its folder.
        parent: the model that was triaged.
        blocks: its blocks that the command triages.
        max_drop: the accuracy that may be lost, 0..1.
        progress: prints.
        smaller: what several compressed blocks came to; None if none were to be compressed.

    Returns:
        the verdict.
    """
    progress.step(study.dataset, Step("drawing figures"))
    reached = verdict.reach(study, max_drop)
    smaller = _doubted(smaller, study, reached)
    figures = _of_trials(study, reached) | {"structure": _structure(parent, blocks)}
    path = smaller and compression_path.draw(smaller)
    drawn = figures | ({"compression": path} if path else {})
    for name in (*_TITLES, "compression"):
        _save(drawn.get(name), study.folder / "figures" / name)
    # The paper's claims are about its own networks and methods.
    judged = not study.given_parent and any(row.method in GROUPS["all"] for row in study.rows)
    judgements = claims.judge([study]) if judged else []
    drawings = _captioned(study, figures)
    page = report.write(study, judgements, reached, drawings, smaller=smaller)
    compressed = smaller and smaller_text.recommendation(smaller, max_drop)
    progress.say(f"\n{tables.table(study)}\n\n{verdict.describe(reached, compressed)}\n")
    if smaller:
        progress.say(f"{smaller_text.describe(smaller)}\n")
    progress.say(f"results.csv, figures, models and learning curves: {study.folder}")
    progress.say(f"everything on one page: {page}")
    return reached


def present_unfinished(
    study: StudyResults, standing: Unfinished, max_drop: float, smaller: Smaller | None = None
) -> None:
    """Writes the page of a study that still runs.

    It judges no claims. It has figures only where drawing them is short beside a trial.

    Args:
        study: its results so far; the page goes to its folder.
        standing: which trials have ended, run, or are left.
        max_drop: the accuracy that may be lost, 0..1.
        smaller: what several compressed blocks came to, and its alternatives so far.
    """
    reached = verdict.reach(study, max_drop)
    took = mean(row.seconds for row in (*study.rows, *study.controls))
    drawn = None
    if took and took >= _LONG_TRIAL:
        drawn = _captioned(study, _of_trials(study, reached))
    report.write(study, [], reached, drawn, standing, _doubted(smaller, study, reached))


def present_alternatives(study: StudyResults, standing: Unfinished, max_drop: float) -> None:
    """Writes the page of a study whose compression has ended and whose alternatives still run.

    The arguments are those of `present_unfinished`.
    """
    present_unfinished(study, standing, max_drop, rivals.read(study))


def _doubted(smaller: Smaller | None, study: StudyResults, reached: Verdict) -> Smaller | None:
    """Returns what a compression came to, with doubts about the parent or the alternatives."""
    if smaller is None or reached.doubt:
        return smaller and dataclasses.replace(smaller, doubt=reached.doubt)
    trained = [
        (f"{rival.name}, seed {seed}", correct.mean(), rival.train_accuracies.get(seed))
        for rival in smaller.alternatives
        for seed, correct in rival.correct.items()
    ]
    return dataclasses.replace(smaller, stuck=stuck.among(study, "alternatives", trained))


def _of_trials(study: StudyResults, reached: Verdict) -> dict[str, Figure]:
    """Returns the figures that finished trials make, by their names."""
    if not study.rows:
        return {}
    return {
        "accuracy": plots.accuracy([study]),
        "convergence": plots.convergence([study]),
        "savings": savings.draw(study, reached.ranking),
    }


def _save(figure: Figure | None, file: Path) -> None:
    """Writes a figure in every format, the same bytes for the same figure.

    Without a figure, that of an earlier command is removed.
    """
    for suffix, metadata in _FORMATS.items():
        target = file.with_suffix(f".{suffix}")
        if figure is None:
            target.unlink(missing_ok=True)
            continue
        with (
            matplotlib.rc_context({"svg.hashsalt": file.name}),
            files.replacing(target) as unfinished,
        ):
            figure.savefig(unfinished, format=suffix, dpi=DPI, metadata=metadata)


def _structure(parent: keras.Model, blocks: tuple[Block, ...]) -> Figure:
    largest = network_blocks.largest(blocks)
    student = surgery.compress(parent, largest, initializer="glorot_uniform", seed=0)
    return structures.draw(parent, student, largest, blocks)


def _captioned(study: StudyResults, figures: dict[str, Figure]) -> list[Picture]:
    """Returns figures in the page's order, each with its title and note."""
    notes = {
        "accuracy": plots.ACCURACY_NOTE,
        "convergence": plots.convergence_note(study),
        "savings": savings.NOTE,
    }
    return [
        Picture(number, title, figures[name], notes.get(name, ""))
        for name, (number, title) in _TITLES.items()
        if name in figures
    ]
