"""Everything that a training needs to continue, saved after each of its epochs."""

import contextlib
import errno
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deep_net_triage.records import files

_NAME = re.compile(r"checkpoint-(\d+)\.npz", re.ASCII)
KEPT = 2  # the newest, and its predecessor in case the newest is damaged


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    Attributes:
        settings: everything that determines the training.
        records: one object per epoch so far, as in `epochs.jsonl`.
        facts: single numbers measured during the training.
        arrays: weights, optimizer and random state by name.
    """

    settings: dict[str, object]
    records: list[dict[str, object]]
    facts: dict[str, object]
    arrays: dict[str, np.ndarray]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Adds a checkpoint to a folder, and removes all but the newest two."""
    description = vars(checkpoint) | {"arrays": list(checkpoint.arrays)}
    text = np.frombuffer(json.dumps(description, allow_nan=False).encode(), np.uint8)
    number = len(checkpoint.records)
    with files.replacing(folder / f"checkpoint-{number}.npz") as unfinished:
        np.savez(unfinished, description=text, **checkpoint.arrays)
    remove(folder, keep=KEPT)


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Returns the newest undamaged checkpoint in a folder; None if there is none.

    Args:
        folder: the training's folder.
        say: receives a message about each damaged checkpoint, which is then removed.

    Raises:
        OSError: if the disk fails.
    """
    for file in _newest_first(folder):
        if _is_whole(file) and (checkpoint := _read(file)):
            return checkpoint
        say(f"{file} is damaged; falling back on the state before it")
        file.unlink()
    return None


def settings_of(folder: Path) -> dict[str, object] | None:
    """Returns what determines the interrupted training in a folder; None if there is none.

    No array is read. Damage is left for `newest` to find.
    """
    for file in _newest_first(folder):
        with contextlib.suppress(Exception), np.load(file, allow_pickle=False) as archive:
            return json.loads(archive["description"].tobytes())["settings"]
    return None


def epochs_done(folder: Path) -> int:
    """Returns after how many epochs the training in a folder was interrupted; 0 if it was not.

    Damage is left for `newest` to find.
    """
    newest_first = _newest_first(folder)
    return _epochs_in(newest_first[0]) if newest_first else 0


def remove(folder: Path, keep: int = 0) -> None:
    """Removes a training's checkpoints, except the newest `keep`."""
    for file in _newest_first(folder)[keep:]:
        file.unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    """Returns whether every array in an archive matches its checksum."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None and "description.npy" in archive.namelist()
    except OSError as error:
        # Damage can make zipfile seek to a negative position; other errors come from the disk.
        if error.errno not in (None, errno.EINVAL):
            raise
        return False
    # For a damaged archive zipfile raises anything from BadZipFile to RuntimeError.
    except Exception:
        return False


def _read(file: Path) -> Checkpoint | None:
    """Returns the checkpoint in an archive; None if an array is missing.

    A damaged table of contents can omit arrays while the other checksums still match.
    """
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    description = json.loads(arrays.pop("description").tobytes())
    if set(description.pop("arrays", ())) != arrays.keys():
        return None
    return Checkpoint(**description, arrays=arrays)


def _newest_first(folder: Path) -> list[Path]:
    files_found = folder.glob("checkpoint-*.npz")
    valid = [file for file in files_found if _NAME.fullmatch(file.name)]
    return sorted(valid, key=_epochs_in, reverse=True)


def _epochs_in(file: Path) -> int:
    return int(_NAME.fullmatch(file.name)[1])
