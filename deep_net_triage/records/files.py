"""Writing files completely or not at all, and detecting later damage to them."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.records import processes

Read = TypeVar("Read")

_SEAL = "sha256"  # the key in a JSON file for the digest of its other entries


def check_writable(folder: Path) -> None:
    """Raises InputError if an output folder can't be created or written to; creates nothing."""
    try:
        existing = nearest(folder)
    except OSError as error:
        raise InputError(f"--output_dir={folder} can't be written: {error.strerror}") from error
    if not existing.is_dir():
        raise InputError(f"--output_dir={folder} can't be written: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"--output_dir={folder} can't be written: no permission in {existing}")


def nearest(folder: Path) -> Path:
    """Returns a folder or, if it does not exist, the nearest one above it that does."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return existing


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yields a temporary path; the file written there then replaces `file` atomically.

    A missing folder is created, but not its parent: a study whose own folder was removed
    must not continue in a new one.
    """
    file.parent.mkdir(exist_ok=True)
    unfinished = unfinished_name(file)
    try:
        yield unfinished
        _reach_the_disk(unfinished)
        os.replace(unfinished, file)
        with contextlib.suppress(OSError):  # some file systems can't sync a folder
            _reach_the_disk(file.parent)
    except OSError as error:
        error.filename = error.filename or str(file)  # some writers leave it out
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def unfinished_name(file: Path) -> Path:
    """Returns the temporary path, in the same folder, at which this process writes a file."""
    return file.with_name(f"{processes.prefix()}{os.getpid()}-{file.name}")


def remove_leftovers(folder: Path, nested: bool = True) -> None:
    """Removes the temporary files that killed processes of this machine left in a folder.

    Args:
        folder: where to look.
        nested: whether to look in the folders within it, too.
    """
    find = folder.rglob if nested else folder.glob
    for file in list(find(f"{processes.prefix()}*")):
        number, _, _ = file.name.removeprefix(processes.prefix()).partition("-")
        if number.isdecimal() and not processes.runs(int(number)):
            if file.is_dir():
                shutil.rmtree(file, ignore_errors=True)
            else:
                file.unlink(missing_ok=True)


def copy_folder(source: Path, target: Path) -> None:
    """Copies a folder to a path where there is none; the copy appears there as a whole."""
    unfinished = unfinished_name(target)
    try:
        shutil.copytree(source, unfinished)
        os.replace(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def append_line(file: Path, line: str) -> None:
    """Appends a line to a file and waits until it is on the disk."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(f"{line}\n")
        lines.flush()
        os.fsync(lines.fileno())


def write_json(file: Path, value: dict[str, object]) -> None:
    """Writes a JSON file that includes a digest of its own content."""
    with replacing(file) as unfinished:
        text = json.dumps({**value, _SEAL: _seal(value)}, indent=2, allow_nan=False)
        unfinished.write_text(f"{text}\n", encoding="utf-8")


def read_json(file: Path) -> dict[str, object] | None:
    """Returns the content of a file that `write_json` wrote; None if there is no file.

    Raises:
        DamagedFile: if the file has changed since; the message names it.
        InputError: if the file has no digest.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        seal = value.pop(_SEAL, None)
        whole = seal == _seal(value)
    except FileNotFoundError:
        return None
    # Valid JSON that this program never writes, such as a list or a NaN, is damage too.
    except (ValueError, AttributeError, TypeError, RecursionError):
        seal, whole = "", False
    if seal is None:
        raise InputError(
            f"{file} was written by another version of this program, or by hand; choose "
            "another --output_dir, or move its study away"
        )
    if not whole:
        raise DamagedFile(f"{file} is damaged: its content has changed")
    return value


def unless_damaged(read: Callable[..., Read], *arguments: object) -> Read | None:
    """Returns what a function reads with some arguments; None if a file is damaged."""
    try:
        return read(*arguments)
    except DamagedFile:
        return None


def digest(file: Path) -> str:
    """Returns the SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_as_recorded(file: Path, digests: Mapping[str, str]) -> bool:
    """Returns whether a file exists and has the digest recorded for its name."""
    return file.is_file() and digest(file) == digests.get(file.name)


def _seal(value: dict[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _reach_the_disk(path: Path) -> None:
    """Waits until a file's content, or a folder's listing, would survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
