"""Everything that the future of a training depends on, kept after each of its epochs."""

import errno
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deep_net_triage.records import files

KEPT = 2  # the newest, and the one before in case that is damaged


@dataclass(frozen=True)
class Checkpoint:
    """A training after an epoch.

    Attributes:
        settings: those that determine the training.
        records: a record an epoch so far, as in `epochs.jsonl`.
        facts: single numbers that were found on the way.
        arrays: weights, optimiser and random state, by name.
    """

    settings: dict[str, object]
    records: list[dict[str, object]]
    facts: dict[str, object]
    arrays: dict[str, np.ndarray]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Adds a checkpoint to a folder, and removes all but the newest."""
    description = {
        "settings": checkpoint.settings,
        "records": checkpoint.records,
        "facts": checkpoint.facts,
        "arrays": list(checkpoint.arrays),
    }
    text = np.frombuffer(json.dumps(description, allow_nan=False).encode(), np.uint8)
    number = len(checkpoint.records)
    with files.replacing(folder / f"checkpoint-{number}.npz") as unfinished:
        np.savez(unfinished, description=text, **checkpoint.arrays)
    for file in _newest_first(folder)[KEPT:]:
        file.unlink(missing_ok=True)


def newest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Returns the newest checkpoint of a folder that is whole, if there is one.

    Args:
        folder: of the training.
        say: is told of a damaged one, which is removed.

    Raises:
        OSError: if one can't be read for a reason of the disk's.
    """
    for file in _newest_first(folder):
        checkpoint = _read(file) if _is_whole(file) else None
        if checkpoint:
            return checkpoint
        say(f"{file} is damaged; what was there before it is taken")
        file.unlink()
    return None


def remove(folder: Path) -> None:
    """Removes a training's checkpoints: it has ended."""
    for file in _newest_first(folder):
        file.unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    """Checks the sum that an archive has for each of its arrays."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None and "description.npy" in archive.namelist()
    except OSError as error:
        # To look for something before the file's beginning is damage; the rest is not.
        if error.errno not in (None, errno.EINVAL):
            raise
        return False
    # What zipfile raises for a damaged archive is anything from BadZipFile to RuntimeError.
    except Exception:
        return False


def _read(file: Path) -> Checkpoint | None:
    """Returns what an archive holds; None where it lacks an array.

    A change to its list of contents may leave some out, and the sums of the others right.
    """
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    description = json.loads(arrays.pop("description").tobytes())
    if set(description.pop("arrays", ())) != arrays.keys():
        return None
    return Checkpoint(**description, arrays=arrays)


def _newest_first(folder: Path) -> list[Path]:
    numbered = {
        file: file.stem.removeprefix("checkpoint-") for file in folder.glob("checkpoint-*.npz")
    }
    found = [file for file in numbered if numbered[file].isdecimal()]
    return sorted(found, key=lambda file: int(numbered[file]), reverse=True)
