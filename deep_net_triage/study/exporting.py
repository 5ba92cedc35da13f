"""Exports the smaller model that a study recommends."""

import dataclasses
import functools
import os
import shutil
from pathlib import Path

from deep_net_triage.errors import ExportFailed
from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.findings.verdict import Verdict
from deep_net_triage.network import exports
from deep_net_triage.progress import Progress
from deep_net_triage.records import alternatives, files, models, results
from deep_net_triage.study.plan import Plan


def chosen(
    folder: Path, compressed: Path | None, smaller: Smaller | None, verdict: Verdict
) -> Path | None:
    """Returns the model to export; None if there is none to recommend.

    Args:
        folder: of the study.
        compressed: the compressed network's file; None if this command made none. An
            alternative to take is exported in its place, unless the verdict doubts the parent.
        smaller: what compression and alternatives came to; None without a compression.
        verdict: of the study; the student that it recommends counts if nothing was compressed.
    """
    network = smaller and smaller.standing.to_take
    if compressed and network and network.kind and not verdict.doubt:
        alternative = alternatives.folder_of(folder, network.kind, min(network.correct))
        return alternative / "model.keras"
    student = verdict.recommendation
    if compressed or student is None:
        return compressed
    trial = results.trial_folder(folder, student.method, student.block, student.seed)
    return trial / "model.keras"


def export(file: Path | None, plan: Plan, progress: Progress) -> None:
    """Exports a model beside its file, and prints where and what the checks found.

    It must run outside the scope of replicas, in which TensorFlow can't run a SavedModel.

    Args:
        file: of the model; None to export nothing.
        plan: of the study.
        progress: shows messages, and how far the work has come.

    Raises:
        ExportFailed: if an export can't be made, once all others have been.
    """
    if file is None:
        return
    if not file.is_file():
        progress.say(f"nothing to export: {file} was not saved (--nosave_models), or is gone")
        return
    report = functools.partial(progress.step, "export")
    model, formats = models.load(file), plan.settings.export
    # Beside the model there is never an export that is incomplete or has not been checked.
    unchecked = files.unfinished_name(file.parent / "exports")
    unchecked.mkdir()
    failures = []
    try:
        for name in formats:
            try:
                (made,) = exports.export(model, unchecked, (name,), plan.dataset, report)
            except ExportFailed as failure:
                failures.append(str(failure))
                continue
            checked = file.parent / made.file.name
            if checked.is_dir():
                shutil.rmtree(checked)
            os.replace(made.file, checked)
            progress.say(str(dataclasses.replace(made, file=checked)))
    finally:
        shutil.rmtree(unchecked, ignore_errors=True)
    if failures:
        raise ExportFailed("; ".join(failures))
