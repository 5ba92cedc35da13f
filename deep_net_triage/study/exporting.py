"""Exports the smaller model that a study came to."""

import functools
from pathlib import Path

from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.findings.verdict import Recommendation
from deep_net_triage.network import exports
from deep_net_triage.progress import Progress
from deep_net_triage.records import alternatives, models, results
from deep_net_triage.study.plan import Plan


def recommended(folder: Path, student: Recommendation | None) -> Path | None:
    """Returns the model of a recommended student, if there is one."""
    if student is None:
        return None
    trial = results.trial_folder(folder, student.method, student.block, student.seed)
    return trial / "model.keras"


def best_alternative(folder: Path, smaller: Smaller | None) -> Path | None:
    """Returns the model of the best alternative that beats the compressed network, if any does.

    Args:
        folder: of the study.
        smaller: what compression and alternatives came to; None without a compression.
    """
    if smaller is None or not smaller.better:
        return None
    best = smaller.better[0]
    return alternatives.folder_of(folder, best.kind, min(best.correct)) / "model.keras"


def export(file: Path | None, plan: Plan, progress: Progress) -> None:
    """Exports a model beside its file, and prints where and what the checks found."""
    if file is None or not file.is_file():
        progress.say("nothing to export: no model stays within --max_drop")
        return
    report = functools.partial(progress.step, "export")
    model, formats = models.load(file), plan.settings.export
    for made in exports.export(model, file.parent, formats, plan.dataset, report):
        progress.say(str(made))
