"""Keeps the messages of libraries from a person, unless something goes wrong."""

import contextlib
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator

from absl import logging as absl_logging

# Buffers its input, and prints it at a null character or at the end of the input, which also
# comes when the writing process crashes.
_KEEPER = r"""
import sys
held = b""
while not held.endswith(b"\0") and (more := sys.stdin.buffer.read1()):
    held += more
sys.stderr.buffer.write(held.removesuffix(b"\0"))
"""


@contextlib.contextmanager
def native_messages_held() -> Iterator[None]:
    """Holds back what is written to file descriptor 2, as C++ code does without Python.

    It is dropped at the end. If an error is raised, or native code ends the process, all of it
    is shown: another process keeps it.
    """
    stderr = os.dup(2)
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _KEEPER],
        stdin=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C is for this process alone
    )
    os.dup2(keeper.stdin.fileno(), 2)
    wanted = False
    try:
        # Python's own stream may lead elsewhere.
        with (
            open(2, "w", 1, errors="replace", closefd=False) as held,
            contextlib.redirect_stderr(held),
        ):
            yield
    except Exception:
        wanted = True
        raise
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        if wanted:
            with contextlib.suppress(BrokenPipeError):
                keeper.stdin.write(b"\0")
                keeper.stdin.flush()
        else:
            keeper.kill()
        keeper.stdin.close()
        keeper.wait()


def silence_python_libraries() -> None:
    """Hides the warnings of Python's libraries; errors are still shown."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    for name in ("tensorflow", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
