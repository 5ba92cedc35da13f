"""Arrays with a row an image, kept in memory while there is room, and on disk beyond that."""

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf

# A row an image, in an order that every such array of a split shares.
Rows = tf.Tensor | np.ndarray


class Room:
    """How many bytes may be kept, first in memory, then in files.

    A file has no name from the moment it is made: whatever ends the process, its space is
    given back. What is kept is given back when its last user lets go of it.

    Args:
        folder: where files go.
        memory: bytes of memory; None for a quarter of what is free.
        disk: bytes in `folder`; None for a quarter of what is free there.
    """

    def __init__(
        self, folder: Path, memory: int | None = None, disk: int | None = None
    ) -> None:
        self.folder = folder
        self.memory = psutil.virtual_memory().available // 4 if memory is None else memory
        self.disk = psutil.disk_usage(str(folder)).free // 4 if disk is None else disk

    def kept(
        self, name: str, shape: tuple[int, ...], dtype: str, fill: Callable[[np.ndarray], bool]
    ) -> np.ndarray | None:
        """Returns an array that was filled, or None where there is no room or it can't be.

        Args:
            name: of what it holds, by which a room that is shared knows it.
            shape: rows first.
            dtype: by name, as Keras has it.
            fill: writes all of it, and says whether it could.
        """
        array = self.take(shape, dtype)
        return array if array is not None and fill(array) else None

    def take(self, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
        """Returns an array to be filled, or None where there is no room for it.

        Args:
            shape: rows first.
            dtype: by name, as Keras has it.
        """
        dtype = tf.as_dtype(dtype).as_numpy_dtype
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size <= self.memory:
            mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._account("memory", mapping, size)
        elif size <= self.disk:
            mapping = self._file(size)
            if mapping is None:
                return None
            self._account("disk", mapping, size)
        else:
            return None
        return np.ndarray(shape, dtype, buffer=mapping)

    def _file(self, size: int) -> mmap.mmap | None:
        """Maps a new file; None where the folder or the disk does not allow it after all."""
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # Now, because writing to a mapped file on a full disk kills the process.
                os.posix_fallocate(file.fileno(), 0, size)
                return mmap.mmap(file.fileno(), size)
        except OSError:
            return None

    def _account(self, kind: str, mapping: mmap.mmap, size: int) -> None:
        def add(number: int) -> None:
            setattr(self, kind, getattr(self, kind) + number)

        add(-size)
        weakref.finalize(mapping, add, size)
