"""Records how trainings end, and finds what earlier commands finished with equal settings."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np

from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import DamagedFile, TrainingFailed
from deep_net_triage.images.splits import Split
from deep_net_triage.learning import guards, predictions
from deep_net_triage.records import (
    alternatives,
    checkpoints,
    correctness,
    files,
    models,
    results,
)
from deep_net_triage.records.compressions import Compression
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Failure, NetworkResult, TrialResult
from deep_net_triage.records.summaries import Curve, summarize
from deep_net_triage.study.watching import CHECKING

Result = TypeVar("Result", TrialResult, NetworkResult)


def run_and_record(
    journal: Journal,
    name: str,
    train: Callable[[], Result],
    reached: Callable[[Result], str],
    say: Callable[[str], None],
) -> Result | Failure:
    """Runs a training, writes its result or why it failed, and returns that.

    Args:
        journal: of the training, which continues where the journal ends.
        name: of the training in progress lines.
        train: trains, saves and checks; it may raise TrainingFailed.
        reached: says what a result has reached.
        say: receives the progress lines.
    """
    if journal.epochs:
        last = journal.epochs[-1]
        say(f"{name}  resumes after {last.phase} epoch {last.epoch}")
    try:
        result: Result | Failure = train()
    except TrainingFailed as failure:
        journal.check_lock()  # the model may be that of a process which has taken over
        (journal.folder / "model.keras").unlink(missing_ok=True)
        result = Failure(journal.settings, str(failure))
        say(f"{name}  failed: {failure}")
    else:
        say(f"{name}  {reached(result)}")
    journal.finish(result)
    return result


def save_and_check(
    model: keras.Model,
    journal: Journal,
    test: Split,
    reports_last_epoch: bool,
    *,
    saves: bool = True,
    stored: str = "exact",
) -> tuple[Curve, np.ndarray]:
    """Saves a trained model, checks the file, and writes which test images it gets right.

    Args:
        model: as its training left it.
        journal: of that training.
        test: the test images.
        reports_last_epoch: as for `summarize`.
        saves: whether to save the model. If not, the model in memory is tried.
        stored: as for `guards.check_saved`.

    Returns:
        A summary of the learning curve, and which test images the model classifies correctly,
        bool, (images,).

    Raises:
        TrainingFailed: if the saved model is not the trained one.
    """
    folder = journal.folder
    journal.watch.step(CHECKING)
    curve = summarize(results.read_epochs(folder), reports_last_epoch)
    journal.check_lock()
    if saves:
        file = folder / "model.keras"
        models.save(model, file)
        correct = guards.check_saved(file, model, test, curve.chosen_accuracy, stored)
    else:
        correct = predictions.correct(model, test.images, test.labels)
    correctness.write(folder / results.CORRECT, correct)
    return curve, correct


def reuse_or_remove(
    folder: Path,
    read: Callable[[Path], Result | Failure | None],
    settings: dict[str, object],
    say: Callable[[str], None],
) -> Result | None:
    """Returns a folder's result if it is finished, undamaged and of equal settings.

    Otherwise returns None. A folder with a failed, damaged or differing result is removed, and
    so is a training that was interrupted and had other settings: it starts over.
    """
    try:
        result = read(folder)
        if result and not isinstance(result, Failure):
            results.check_files(folder, result.files, all_there=True)
            if not results.differences(result.settings, settings):
                return result
    except DamagedFile as damage:
        say(f"{damage}; it is made again")
    interrupted = checkpoints.settings_of(folder)
    if (folder / "result.json").exists() or (
        interrupted and results.differences(interrupted, settings)
    ):
        shutil.rmtree(folder)
    return None


def rates_of_alternatives(settings: Settings) -> dict[str, float]:
    """Returns the learning rate of each kind of alternative."""
    scratch, trained = settings.learning_rate, settings.classification_rate("model")
    kinds = alternatives.KINDS.items()
    return {name: scratch if kind.from_scratch else trained for name, kind in kinds}


def remove_alternatives(
    settings: Settings, compression: Compression, say: Callable[[str], None]
) -> None:
    """Removes alternatives that can't be compared with a compressed network.

    Args:
        settings: of the command.
        compression: of the network that stays; its result is not written yet.
        say: receives a message about each.
    """
    removed = alternatives.remove_those_of_another(
        settings.folder, compression, rates_of_alternatives(settings), settings.temperature
    )
    for folder in removed:
        say(f"{folder} is removed: it belongs to another compressed network or other settings")


def remove_failed(folder: Path) -> None:
    """Removes the trainings in a folder that failed; they would be run again anyway."""
    for result in sorted(folder.glob("*/result.json")):
        content = files.unless_damaged(files.read_json, result)
        if content and content["status"] == "failed":
            shutil.rmtree(result.parent)


def same_training(one: Path, other: Path) -> bool:
    """Returns whether two folders hold undamaged results of trials with equal settings."""
    first, second = (
        files.unless_damaged(results.read_trial, folder) for folder in (one, other)
    )
    return bool(first and second and first.settings == second.settings)
