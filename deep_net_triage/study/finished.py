"""Finds what an earlier command finished in the same way, beside the trials of a study."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from deep_net_triage.errors import DamagedFile
from deep_net_triage.records import results
from deep_net_triage.records.results import Failure, NetworkResult, TrialResult

Result = TypeVar("Result", TrialResult, NetworkResult)


def by_the_same_settings(
    folder: Path,
    read: Callable[[Path], Result | Failure | None],
    settings: dict[str, object],
    say: Callable[[str], None],
) -> Result | None:
    """Returns the finished and undamaged result in a folder; removes the folder of any other.

    Args:
        folder: of a training.
        read: reads its result.
        settings: everything that determines the training.
        say: receives a message about a damaged file.
    """
    try:
        result = read(folder)
        if result and not isinstance(result, Failure):
            results.check_files(folder, result.files)
            if result.settings == settings:
                return result
    except DamagedFile as damage:
        say(f"{damage}; it is made again")
    if (folder / "result.json").exists():
        shutil.rmtree(folder)
    return None
