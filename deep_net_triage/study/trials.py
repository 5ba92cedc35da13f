"""One trial: from its student's start to its files."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.learning import guards, predictions, tensorboard
from deep_net_triage.learning.control import Control
from deep_net_triage.learning.retraining import Retraining, Trained
from deep_net_triage.methods import CONTROL, METHODS
from deep_net_triage.network import costs
from deep_net_triage.network.blocks import Block
from deep_net_triage.progress import Progress, duration
from deep_net_triage.records import results
from deep_net_triage.records.journal import Journal, Record
from deep_net_triage.study import parents


@dataclass(frozen=True)
class Trial:
    """One (method, block, seed); the control compresses no block, which None stands for."""

    method: str
    block: Block | None
    seed: int

    def __str__(self) -> str:
        """How progress lines name it."""
        return f"{self.block_name} {self.method} seed {self.seed}"

    @property
    def block_name(self) -> str:
        """What stands for the block in its folder's name and in its row."""
        return self.block.name if self.block else "no-block"

    def epochs(self, settings: Settings) -> int:
        """Returns how many epochs it takes, those of the student-teacher phase included."""
        distils = self.method in METHODS and METHODS[self.method].distil
        return settings.epochs + distils * settings.distill_epochs


def of_study(blocks: Sequence[Block], settings: Settings) -> list[Trial]:
    """Returns the trials that settings ask for, in the order of the network."""
    asked = [
        Trial(method, block, seed)
        for block in blocks
        for method in settings.methods
        for seed in settings.seeds
    ]
    controls = [Trial(CONTROL, None, seed) for seed in settings.seeds if settings.control]
    return asked + controls


def of_shard(asked: Sequence[Trial], shard: tuple[int, int] | None) -> list[Trial]:
    """Returns a job's part of a study's trials, whatever of them is finished.

    Each block's trials are dealt out to the jobs in turn, beginning with the job after the one
    that the block before began with, so that each job has trials of all kinds.

    Args:
        asked: as `of_study` returns them.
        shard: the job's number, from 0, and the number of jobs; None for one job.
    """
    if shard is None:
        return list(asked)
    index, count = shard
    chosen = []
    for first, block in enumerate(dict.fromkeys(trial.block for trial in asked)):
        of_block = [trial for trial in asked if trial.block == block]
        chosen += [t for turn, t in enumerate(of_block) if (first + turn) % count == index]
    return chosen


def run(
    trial: Trial,
    retraining: Retraining | Control,
    folder: Path,
    determining: dict[str, object],
    parent: dict[str, object],
    name: str,
    progress: Progress,
    still_ours: Callable[[], None],
) -> dict[str, object]:
    """Retrains one student, leaves its folder finished or failed, and returns its result.

    Args:
        trial: which.
        retraining: that of its block, or the control's.
        folder: where its files go, and where it goes on if it was begun there.
        determining: the settings that its result records.
        parent: the parent's result.
        name: of the trial, in progress lines.
        progress: where a person watches.
        still_ours: raises where another process works on the trial by now.
    """
    settings = retraining.settings
    of = {"train": settings.epochs, "distill": settings.distill_epochs}
    logs = settings.folder / "tensorboard" / folder.name
    curves = tensorboard.Curves(logs) if settings.tensorboard else None

    def watch(record: Record) -> None:
        progress.epoch(name, record, of[record["phase"]])
        if curves:
            curves.add(record)

    journal = Journal(folder, determining, watch, progress.say, still_ours, settings.overwrite)
    if journal.records:
        last = journal.records[-1]
        progress.say(f"{name}  goes on after {last['phase']} epoch {last['epoch']}")
    result = {"status": "failed", "reason": None, "settings": determining}
    try:
        trained = retraining.run(trial.method, trial.seed, journal)
        row = _row(trial, retraining, trained, parent["baseline_accuracy"], folder)
        still_ours()
        correct = _keep_model(trained.model, retraining, folder, row["chosen_accuracy"])
        results.write_correct(folder, correct)
        guards.check_parent(retraining.parent, parent["weights_sha256"])
    except TrainingFailed as failure:
        (folder / "model.keras").unlink(missing_ok=True)
        result["reason"] = str(failure)
        progress.say(f"{name}  failed: {failure}")
    else:
        row |= {"seconds": journal.seconds, "bytes": _size(folder)}
        row |= {"parent_bytes": _size(results.parent_folder(folder)), **retraining.latencies}
        result |= {"status": "finished", "row": row, "files": results.digests(folder)}
        progress.say(
            f"{name}  max {row['max_accuracy']:.4f} ({0 - row['accuracy_drop']:+.4f}), "
            f"99 % at epoch {row['epochs_to_99']}, {duration(row['seconds'])}"
        )
    journal.finish(result)
    return result


def _keep_model(
    model: keras.Model, retraining: Retraining | Control, folder: Path, accuracy: float
) -> np.ndarray:
    """Saves a student where that is asked for, and makes sure of what was saved.

    Returns:
        Which of the test images it gets right, bool, (images,).
    """
    test = retraining.dataset.test
    if not retraining.settings.save_models:
        return predictions.correct(model, test.images, test.labels)
    file = folder / "model.keras"
    parents.save(model, file)
    return guards.check_saved(file, model, test, accuracy)


def _size(folder: Path) -> int | None:
    """Returns the bytes of a saved model's weights; None where it is not kept.

    The rest of its file is small, and not the same size each time.
    """
    file = folder / "model.keras"
    if not file.is_file():
        return None
    with zipfile.ZipFile(file) as archive:
        return archive.getinfo("model.weights.h5").file_size


def _row(
    trial: Trial,
    retraining: Retraining | Control,
    trained: Trained,
    baseline: float,
    folder: Path,
) -> dict[str, object]:
    """Returns a trial's line of `results.csv`, its time apart, from its own `epochs.jsonl`."""
    epochs = results.read_epochs(folder)
    summary = results.summarize(epochs)
    return {
        "dataset": retraining.dataset.name,
        "method": trial.method,
        "block": trial.block_name,
        "seed": trial.seed,
        "baseline_accuracy": baseline,
        "initial_accuracy": trained.initial_accuracy,
        "distilled_accuracy": trained.distilled_accuracy,
        **retraining.without_training,
        "similarity": trained.similarity,
        **summary,
        "distill_epochs": sum(record["phase"] == "distill" for record in epochs),
        "accuracy_drop": round(baseline - summary["chosen_accuracy"], 12),
        "parent_parameters": costs.parameters(retraining.parent),
        "parameters": costs.parameters(trained.model),
        "parent_macs": costs.macs(retraining.parent),
        "macs": costs.macs(trained.model),
    }
