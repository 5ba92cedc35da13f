"""Records how trainings end, and finds what earlier commands finished with equal settings."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from deep_net_triage.commands.settings import Settings, rates_of_networks
from deep_net_triage.errors import DamagedFile, TrainingFailed
from deep_net_triage.records import alternatives, checkpoints, results
from deep_net_triage.records.compressions import Compression
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Failure, NetworkResult, TrialResult

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
        (journal.folder / "model.keras").unlink(missing_ok=True)
        result = Failure(journal.settings, str(failure))
        say(f"{name}  failed: {failure}")
    else:
        say(f"{name}  {reached(result)}")
    journal.finish(result)
    return result


def reuse_or_remove(
    folder: Path,
    read: Callable[[Path], Result | Failure | None],
    settings: dict[str, object],
    say: Callable[[str], None],
) -> Result | None:
    """Returns a folder's result if it is finished, undamaged and of equal settings.

    Otherwise returns None. A folder with a failed, damaged or differing result is removed, and
    so is a training that was interrupted and had other settings: it starts over.

    Args:
        folder: of a training.
        read: reads its result.
        settings: everything that determines the training.
        say: receives a message about a damaged file.
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
        settings.folder, compression, rates_of_networks(settings), settings.temperature
    )
    for folder in removed:
        say(f"{folder} is removed: it belongs to another compressed network or other settings")


def same_training(one: Path, other: Path) -> bool:
    """Returns whether two folders hold undamaged results of trials with equal settings."""
    try:
        first, second = results.read_trial(one), results.read_trial(other)
    except DamagedFile:
        return False
    return bool(first and second and first.settings == second.settings)
