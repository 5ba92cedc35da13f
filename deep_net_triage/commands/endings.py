"""Turns errors and signals into one line for the user and an exit code."""

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator

from deep_net_triage.commands import program
from deep_net_triage.errors import (
    ExportFailed,
    InputError,
    LockLost,
    Terminated,
    TrainingFailed,
    WorkerEnded,
)

_GOES_ON = "what is finished is kept; run the same command again to continue"
_EXHAUSTED = "ResourceExhaustedError"  # of TensorFlow, for memory and for its own files
# TensorFlow 2.21's text for oneDNN's status `dnnl_out_of_memory`.
_ONEDNN_OUT_OF_MEMORY = "exception:Status: 1,"
_SMALLEST_ADDRESS_SPACE = 3 * 2**30
_LONGEST = 500  # characters
# Shells use these exit codes for processes that a signal has ended.
_INTERRUPTED, _TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
_REMEDIES = {
    errno.ENOSPC: "free some space there, or choose another --output_dir",
    errno.EDQUOT: "free some space there, or choose another --output_dir",
    errno.EROFS: "make it writable, or choose another --output_dir",
    errno.EACCES: "allow it to be read and written",
}


def describe(error: BaseException) -> tuple[str, int] | None:
    """Returns the line to print for an error and the exit code; None for a bug in this program.

    The code is 1 for an error during the study, 2 for bad input, and 128 plus the signal's
    number after a signal.
    """
    if isinstance(error, InputError):
        return _one_line(str(error)), 2
    if isinstance(error, TrainingFailed | ExportFailed):
        return str(error), 1
    if isinstance(error, WorkerEnded):
        return str(error), error.code
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted; {_GOES_ON}", _INTERRUPTED
    if isinstance(error, Terminated):
        return f"terminated; {_GOES_ON}", _TERMINATED
    if isinstance(error, LockLost):
        return f"{error}; {_GOES_ON}", 1
    if type(error).__name__ == _EXHAUSTED and os.strerror(errno.ENOSPC) in str(error):
        error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if _is_out_of_memory(error):
        return f"out of memory; {_GOES_ON}", 1
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        reason = _one_line(error.strerror or str(error))
        remedy = _REMEDIES.get(error.errno)
        return f"{where}{reason}{f' ({remedy})' if remedy else ''}; {_GOES_ON}", 1
    return None


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Makes SIGTERM raise `Terminated`."""

    def end(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def in_address_space(run: Callable[[], int]) -> int:
    """Runs a command and returns its exit code, even if `ulimit -v` limits the address space.

    Under such a limit TensorFlow may be killed by a signal instead of raising an error. A child
    process then runs the command, and this process reports how it ended.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return run()
    space = f"the address space is limited to {limit / 2**30:.1f} GiB (ulimit -v)"
    if limit < _SMALLEST_ADDRESS_SPACE:
        program.print_error(f"{space}; TensorFlow needs at least 3 GiB")
        return 2
    process = os.fork()
    if not process:
        return run()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: os.kill(process, number))
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code >= 0:
        return code
    name = signal.Signals(-code).name
    program.print_error(f"ended by {name}: {space}; {_GOES_ON}")
    return 128 - code


def _one_line(text: str) -> str:
    """Returns a text on one line, without its middle if it is very long."""
    text = " ".join(text.split())
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def _is_out_of_memory(error: BaseException) -> bool:
    """Returns whether Python, TensorFlow or oneDNN ran out of memory.

    TensorFlow's errors are recognized by name, because its import may have failed.
    """
    name = type(error).__name__
    if name == "AbortedError":
        return _ONEDNN_OUT_OF_MEMORY in str(error)
    return isinstance(error, MemoryError) or name == _EXHAUSTED
