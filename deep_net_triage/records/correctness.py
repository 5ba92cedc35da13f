"""Reads and writes which test images a model classifies correctly, one bit per image.

The parent and each trial have `correct.npy`, for the model of the chosen epoch. A trial also
has `final_correct.npy`, for the model of its last epoch.
"""

from pathlib import Path

import numpy as np

from deep_net_triage.errors import DamagedFile
from deep_net_triage.records import files


def write(file: Path, correct: np.ndarray) -> None:
    """Writes which test images a model classifies correctly.

    Args:
        file: `CORRECT` or `FINAL_CORRECT` of `results.py`, in a trial's or the parent's folder.
        correct: bool, (images,), in the data set's order.
    """
    with files.replacing(file) as unfinished, unfinished.open("wb") as opened:
        np.save(opened, np.packbits(correct))


def read(file: Path, images: int) -> np.ndarray | None:
    """Returns which test images a model classifies correctly: bool, (images,).

    Returns None if there is no such file.

    Raises:
        DamagedFile: if the file can't be decoded.
    """
    if not file.is_file():
        return None
    try:
        packed = np.load(file, allow_pickle=False)
        return np.unpackbits(packed, count=images).astype(bool)
    except (ValueError, TypeError, EOFError) as error:
        raise DamagedFile(f"{file} is damaged: its content has changed") from error
