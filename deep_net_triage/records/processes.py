"""Identifies processes across machines, and finds out whether they still run."""

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Process:
    """A process, identified so that others can find out whether it still runs.

    Attributes:
        host: the machine's name, for messages.
        machine: identifies the boot, and on Linux the container, in which `number` is valid.
        number: the process id.
        started: start time, by a clock that can't be set; process ids are reused.
    """

    host: str
    machine: str
    number: int
    started: float

    def __str__(self) -> str:
        """Returns the process's name for messages."""
        return f"process {self.number} on {self.host}"

    def is_here(self) -> bool:
        """Returns whether the process belongs to this machine, or container."""
        return self.machine == machine()

    def is_gone(self) -> bool:
        """Returns whether the process is known to have ended; false for other machines'."""
        return self.is_here() and _started(self.number) != self.started


def current() -> Process:
    """Returns the process that runs this."""
    number = os.getpid()
    return Process(socket.gethostname(), machine(), number, _started(number))


def prefix() -> str:
    """Returns the prefix of the names of temporary files of this machine's processes."""
    return f"unfinished-{machine()}-"


def runs(number: int) -> bool:
    """Returns whether a process with this id runs on this machine."""
    return _started(number) is not None


@cache
def machine() -> str:
    """Returns an identifier of this boot and container, or the host name outside Linux."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and namespace.exists():  # on Linux
        return f"{boot.read_text().strip()[:8]}.{namespace.stat().st_ino}"
    return socket.gethostname()


def _started(number: int) -> float | None:
    try:
        process = psutil.Process(number)
        # A zombie has ended; its parent has not read its exit code yet.
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if Path("/proc/self/stat").exists():
            # In ticks since boot; psutil adds the wall clock, which may be set.
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            return float(fields[19])
        return process.create_time()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
