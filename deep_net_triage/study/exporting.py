"""Exports the smaller model that a study recommends."""

import functools
from pathlib import Path

from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.findings.verdict import Recommendation
from deep_net_triage.network import exports
from deep_net_triage.progress import Progress
from deep_net_triage.records import alternatives, models, results
from deep_net_triage.study.plan import Plan


def chosen(
    folder: Path,
    compressed: Path | None,
    smaller: Smaller | None,
    student: Recommendation | None,
) -> Path | None:
    """Returns the model to export; None if there is none to recommend.

    Args:
        folder: of the study.
        compressed: the compressed network's file; None if this command made none. The
            alternative to take is preferred to it.
        smaller: what compression and alternatives came to; None without a compression.
        student: that is recommended; it counts if nothing was compressed.
    """
    network = smaller and smaller.standing.to_take
    if compressed and network and network.kind:
        alternative = alternatives.folder_of(folder, network.kind, min(network.correct))
        return alternative / "model.keras"
    if compressed or student is None:
        return compressed
    trial = results.trial_folder(folder, student.method, student.block, student.seed)
    return trial / "model.keras"


def export(file: Path | None, plan: Plan, progress: Progress) -> None:
    """Exports a model beside its file, and prints where and what the checks found."""
    if file is None:
        progress.say("nothing to export: no model stays within --max_drop")
        return
    if not file.is_file():
        progress.say(f"nothing to export: {file} was not saved (--nosave_models), or is gone")
        return
    report = functools.partial(progress.step, "export")
    model, formats = models.load(file), plan.settings.export
    for made in exports.export(model, file.parent, formats, plan.dataset, report):
        progress.say(str(made))
