"""Arrays with a row an image in files that several processes read and one of them fills."""

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf

from deep_net_triage.records import files, locks


class SharedRoom:
    """Room in a folder that the processes of one command share, and that it removes at its end.

    Whoever first wants an array fills it while the others wait. The system keeps what is read
    often in memory, once for all of them.

    Args:
        folder: where files go.
        disk: bytes there; None for a quarter of what is free or in use by the room itself.
    """

    def __init__(self, folder: Path, disk: int | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        free = psutil.disk_usage(str(folder)).free + self._used()
        self.disk = free // 4 if disk is None else disk

    def kept(
        self, name: str, shape: tuple[int, ...], dtype: str, fill: Callable[[np.ndarray], bool]
    ) -> np.ndarray | None:
        """Returns an array that this or another process has filled, as `Room.kept` does.

        What one process had no room for, or could not fill, is None for the others as well: all
        take the same ways, which round alike.
        """
        file, refused = self.folder / f"{name}.rows", self.folder / f"{name}.none"
        with locks.waiting(self.folder / f"{name}.lock"):
            if refused.exists():
                return None
            if not file.exists() and not self._make(file, shape, dtype, fill):
                refused.touch()
                return None
        return _mapped(file, shape, dtype, mmap.ACCESS_READ)

    def _make(
        self,
        file: Path,
        shape: tuple[int, ...],
        dtype: str,
        fill: Callable[[np.ndarray], bool],
    ) -> bool:
        size = int(np.prod(shape)) * tf.as_dtype(dtype).size
        if size > self.disk - self._used():
            return False
        unfinished = files.unfinished_name(file)
        try:
            with unfinished.open("xb") as made:
                # Now, because writing to a mapped file on a full disk kills the process.
                os.posix_fallocate(made.fileno(), 0, size)
            if not fill(_mapped(unfinished, shape, dtype, mmap.ACCESS_WRITE)):
                return False
            os.replace(unfinished, file)
        except OSError:  # the folder or the disk does not allow it after all
            return False
        finally:
            unfinished.unlink(missing_ok=True)
        return True

    def _used(self) -> int:
        return sum(file.stat().st_size for file in self.folder.glob("*.rows"))


def _mapped(file: Path, shape: tuple[int, ...], dtype: str, access: int) -> np.ndarray:
    with file.open("r+b") as opened:
        mapping = mmap.mmap(opened.fileno(), 0, access=access)
    return np.ndarray(shape, tf.as_dtype(dtype).as_numpy_dtype, buffer=mapping)
