"""Which process of which machine wrote something, and whether it still runs."""

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Process:
    """A process as others may look for it.

    Attributes:
        host: the machine's name, for people.
        machine: what its number is valid in: one run of a machine's system, or of a container.
        number: of the process.
        started: when, by a clock that nobody sets, because numbers are used again.
    """

    host: str
    machine: str
    number: int
    started: float

    def __str__(self) -> str:
        """How a person is told of it."""
        return f"process {self.number} on {self.host}"

    def is_here(self) -> bool:
        """Says whether it is one of this machine, so that it can be looked for."""
        return self.machine == machine()

    def is_gone(self) -> bool:
        """Says whether it is known to have ended, which can be told of this machine's only."""
        return self.is_here() and _started(self.number) != self.started


def current() -> Process:
    """Returns the process that asks."""
    number = os.getpid()
    return Process(socket.gethostname(), machine(), number, _started(number))


def prefix() -> str:
    """Returns what the names of files begin with that a process of this machine may leave."""
    return f"unfinished-{machine()}-"


def runs(number: int) -> bool:
    """Says whether this machine runs a process of this number."""
    return _started(number) is not None


@cache
def machine() -> str:
    """Returns what tells this run of this system, or container, from every other."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and namespace.exists():  # on Linux
        return f"{boot.read_text().strip()[:8]}.{namespace.stat().st_ino}"
    return socket.gethostname()


def _started(number: int) -> float | None:
    try:
        process = psutil.Process(number)
        # One that has ended, but was not asked for its exit code yet, has ended.
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if Path("/proc/self/stat").exists():
            # In ticks since the system began; psutil adds the time of day, which may be set.
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            return float(fields[19])
        return process.create_time()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
