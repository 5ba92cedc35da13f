"""Storage for arrays with one row per image, of one process or of several in one folder.

The walk through the parent computes an array once, and trials read it many times. A store keeps
arrays by name, and remembers those that it refused. A refusal is final: if an array
were stored later, the computation of others would start from it and round differently.
"""

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

from deep_net_triage.commands.settings import Settings
from deep_net_triage.records import files, locks

# Writes all of an array; returns whether it could.
Fill = Callable[[np.ndarray], bool]


class ArrayStore:
    """Stores the arrays of one process: in memory, and in files when that is full.

    Files are unlinked as soon as they are open, so that the system frees them however the
    process ends. An array's bytes are free again once the store has discarded it and nothing
    else refers to it.

    Args:
        folder: of the files.
        memory: bytes of memory; None for a quarter of what is free.
        disk: bytes in `folder`; None for a quarter of what is free there.
    """

    shared = False

    def __init__(
        self, folder: Path, memory: int | None = None, disk: int | None = None
    ) -> None:
        self.folder = folder
        self.memory = psutil.virtual_memory().available // 4 if memory is None else memory
        self.disk = psutil.disk_usage(str(folder)).free // 4 if disk is None else disk
        self._arrays: dict[str, np.ndarray] = {}
        self._refused: set[str] = set()

    def holds(self, name: str) -> bool:
        """Returns whether the store holds the array of a name."""
        return name in self._arrays

    def refused(self, name: str) -> bool:
        """Returns whether the array of a name was refused before."""
        return name in self._refused

    def get(self, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
        """Returns the array of a name; None if the store does not hold it."""
        return self._arrays.get(name)

    def get_or_fill(
        self, name: str, shape: tuple[int, ...], dtype: str, fill: Fill
    ) -> np.ndarray | None:
        """Returns the array of a name; makes and fills it if the store does not hold it.

        Args:
            name: of the array.
            shape: rows first.
            dtype: Keras's name of the type.
            fill: writes the array.

        Returns:
            The array; None if it is refused: there is no room for it, or it can't be filled, or
            it was refused before.
        """
        array = self._arrays.get(name)
        if array is None and name not in self._refused:
            array = self._taken(shape, dtype)
            if array is None or not fill(array):
                self._refused.add(name)
                return None
            self._arrays[name] = array
        return array

    def discard(self, name: str) -> None:
        """Removes the array of a name from the store, if it is there."""
        self._arrays.pop(name, None)

    def _taken(self, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
        """Returns an array to be filled; None if there is no room for it."""
        size = _bytes(shape, dtype)
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
        return _array(mapping, shape, dtype)

    def _file(self, size: int) -> mmap.mmap | None:
        """Maps a new file; None if the folder or the disk does not allow it after all."""
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                _allocate(file.fileno(), size)
                return mmap.mmap(file.fileno(), size)
        except OSError:
            return None

    def _account(self, kind: str, mapping: mmap.mmap, size: int) -> None:
        def add(number: int) -> None:
            setattr(self, kind, getattr(self, kind) + number)

        add(-size)
        weakref.finalize(mapping, add, size)


class SharedArrayStore:
    """Files in a folder that the processes of one command share; the command removes it.

    The first process that asks for an array fills it while the others wait. The system keeps
    the pages that are read often in memory, once for all of them. An array `NAME` may have

    - `NAME.rows`, its values,
    - `NAME.none`, if it was refused; it is then refused to all processes,
    - `NAME.again`, if it was removed by `discard`. If a slower process still needs it, it is
      made again even beyond the limit, because a refusal would change how values are rounded.

    Args:
        folder: of the files.
        disk: limit in bytes; None for a quarter of the free space and of what the store uses.
    """

    shared = True

    def __init__(self, folder: Path, disk: int | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        free = psutil.disk_usage(str(folder)).free + self._used()
        self.disk = free // 4 if disk is None else disk

    def holds(self, name: str) -> bool:
        """Returns whether the store holds the array of a name."""
        return self._path(name, "rows").exists()

    def refused(self, name: str) -> bool:
        """Returns whether the array of a name was refused before, to any process."""
        return self._path(name, "none").exists()

    def get(self, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
        """Returns the array of a name, read-only; None if the store does not hold it."""
        try:
            return _mapped(self._path(name, "rows"), shape, dtype, mmap.ACCESS_READ)
        except FileNotFoundError:
            return None

    def get_or_fill(
        self, name: str, shape: tuple[int, ...], dtype: str, fill: Fill
    ) -> np.ndarray | None:
        """Returns an array that this or another process has filled; None if it is refused."""
        with locks.waiting(self._path(name, "lock")):
            array = self.get(name, shape, dtype)
            if array is None and not self.refused(name):
                array = self._made(name, shape, dtype, fill)
                if array is None:
                    self._path(name, "none").touch()
            return array

    def discard(self, name: str) -> None:
        """Removes the file of an array, if it is there; arrays that map it stay readable."""
        if self.holds(name):
            self._path(name, "again").touch()
            self._path(name, "rows").unlink(missing_ok=True)

    def _made(
        self, name: str, shape: tuple[int, ...], dtype: str, fill: Fill
    ) -> np.ndarray | None:
        size, file = _bytes(shape, dtype), self._path(name, "rows")
        if size > self.disk - self._used() and not self._path(name, "again").exists():
            return None
        unfinished = files.unfinished_name(file)
        try:
            with unfinished.open("xb") as made:
                _allocate(made.fileno(), size)
            if not fill(_mapped(unfinished, shape, dtype, mmap.ACCESS_WRITE)):
                return None
            array = _mapped(unfinished, shape, dtype, mmap.ACCESS_READ)
            os.replace(unfinished, file)
        except OSError:  # the folder or the disk does not allow it after all
            return None
        finally:
            unfinished.unlink(missing_ok=True)
        return array

    def _path(self, name: str, kind: str) -> Path:
        return self.folder / f"{name}.{kind}"

    def _used(self) -> int:
        used = 0
        for file in self.folder.glob("*.rows"):
            try:
                used += file.stat().st_size
            except FileNotFoundError:  # another process has discarded it
                continue
        return used


def of_command(settings: Settings, shared: Path | None) -> ArrayStore | SharedArrayStore:
    """Returns a store with the room that a command's settings give it.

    Args:
        settings: of the command.
        shared: the folder where the processes of a command share arrays; None for one process.
    """
    if shared:
        return SharedArrayStore(shared, settings.activation_disk)
    folder = settings.activation_dir or settings.folder
    return ArrayStore(folder, settings.activation_memory, settings.activation_disk)


def _bytes(shape: tuple[int, ...], dtype: str) -> int:
    return math.prod(shape) * tf.as_dtype(dtype).size


def _allocate(descriptor: int, size: int) -> None:
    # Now, because writing to a mapped file on a full disk kills the process.
    os.posix_fallocate(descriptor, 0, size)


def _mapped(file: Path, shape: tuple[int, ...], dtype: str, access: int) -> np.ndarray:
    with file.open("r+b") as opened:
        mapping = mmap.mmap(opened.fileno(), 0, access=access)
    return _array(mapping, shape, dtype)


def _array(mapping: mmap.mmap, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.ndarray(shape, tf.as_dtype(dtype).as_numpy_dtype, buffer=mapping)
