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
        host: the machine's name.
        namespace: what its number is valid in: a container has numbers of its own.
        number: of the process.
        started: seconds since 1970, because numbers are used again.
    """

    host: str
    namespace: int
    number: int
    started: float

    def __str__(self) -> str:
        """How a person is told of it."""
        return f"process {self.number} on {self.host}"

    def is_gone(self) -> bool:
        """Says whether it is known to have ended, which can be told of this machine's only."""
        here = (socket.gethostname(), _namespace())
        return (self.host, self.namespace) == here and _started(self.number) != self.started


def current() -> Process:
    """Returns the process that asks."""
    number = os.getpid()
    return Process(socket.gethostname(), _namespace(), number, _started(number))


def prefix() -> str:
    """Returns what the names of files begin with that a process of this machine may leave."""
    return f"unfinished-{socket.gethostname()}-{_namespace()}-"


def runs(number: int) -> bool:
    """Says whether this machine runs a process of this number."""
    return _started(number) is not None


@cache
def _namespace() -> int:
    file = Path("/proc/self/ns/pid")  # of Linux
    return file.stat().st_ino if file.exists() else 0


def _started(number: int) -> float | None:
    try:
        process = psutil.Process(number)
        # One that has ended, but was not asked for its exit code yet, has ended.
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
