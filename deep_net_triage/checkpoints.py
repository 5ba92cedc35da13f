"""Everything that the future of a training depends on, kept after each of its epochs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deep_net_triage import files

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
    }
    text = np.frombuffer(json.dumps(description, allow_nan=False).encode(), np.uint8)
    number = len(checkpoint.records)
    with files.replacing(folder / f"checkpoint-{number}.npz") as unfinished:
        np.savez(unfinished, description=text, **checkpoint.arrays)
    for file in _newest_first(folder)[KEPT:]:
        file.unlink(missing_ok=True)


def newest(
    folder: Path, settings: dict[str, object], say: Callable[[str], None]
) -> Checkpoint | None:
    """Returns the newest checkpoint of a folder that is whole, if there is one.

    Args:
        folder: of the training.
        settings: those that the training must have had.
        say: is told of a damaged one, which is removed.
    """
    for file in _newest_first(folder):
        try:
            checkpoint = _read(file)
        # An archive of arrays has a sum for each; what NumPy and zipfile raise for a damaged
        # one is anything from BadZipFile to MemoryError.
        except Exception:
            say(f"{file} is damaged; the one before is taken")
            file.unlink()
            continue
        if checkpoint.settings == settings:
            return checkpoint
    return None


def remove(folder: Path) -> None:
    """Removes a training's checkpoints: it has ended."""
    for file in _newest_first(folder):
        file.unlink(missing_ok=True)


def _read(file: Path) -> Checkpoint:
    with np.load(file, allow_pickle=False) as archive:
        arrays = dict(archive)
    return Checkpoint(**json.loads(arrays.pop("description").tobytes()), arrays=arrays)


def _newest_first(folder: Path) -> list[Path]:
    numbered = {
        file: file.stem.removeprefix("checkpoint-") for file in folder.glob("checkpoint-*.npz")
    }
    found = [file for file in numbered if numbered[file].isdecimal()]
    return sorted(found, key=lambda file: int(numbered[file]), reverse=True)
