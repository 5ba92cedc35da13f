"""Shows the progress of a study, as one line that is rewritten or as one line per epoch."""

import shutil
import sys
import time
from typing import TextIO

from deep_net_triage.records.results import Epoch
from deep_net_triage.wording import duration


class Progress:
    """Shows what a study does and how long it will take.

    On a terminal, one line is rewritten in place; elsewhere, each epoch is a line of its own.
    The time left is the number of epochs left times the mean duration of epochs so far.

    Args:
        stream: the stream to write to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if hasattr(self._stream, "reconfigure"):  # a path may hold undecodable bytes
            self._stream.reconfigure(errors="backslashreplace")
        self._rewrites = self._stream.isatty()
        self._started = time.monotonic()
        self._epochs_left = 0
        self._epochs_done = 0

    def say(self, text: str) -> None:
        """Prints a line that is not rewritten."""
        self._write(f"{text}\n")

    def expect(self, epochs: int) -> None:
        """Sets the number of epochs left; restarts the clock if no epoch has finished."""
        if not self._epochs_done:
            self._started = time.monotonic()
        self._epochs_left = epochs

    def epoch(self, training: str, epoch: Epoch, of: int) -> None:
        """Shows a finished epoch.

        Args:
            training: the training's name, such as `[3/30] block1 cl_mw seed 0`.
            epoch: the epoch's measurements.
            of: the number of epochs in the phase.
        """
        self._epochs_done += 1
        self._epochs_left -= 1
        if epoch.val_accuracy is None:
            reached = f"relative error {epoch.relative_error:.3f}"
        else:
            reached = f"accuracy {epoch.val_accuracy:.4f}"
        phase = f"{epoch.phase} {epoch.epoch}/{of}"
        line = f"{training}  {phase}  {reached}  {self._time_left()}"
        self._write(_fitting(line) if self._rewrites else f"{line}\n")

    def _time_left(self) -> str:
        seconds = time.monotonic() - self._started
        left = max(0.0, seconds / self._epochs_done * self._epochs_left)
        return f"{duration(left)} left"

    def _write(self, text: str) -> None:
        # Returns to the line's start and erases the line.
        self._stream.write(f"\r\x1b[K{text}" if self._rewrites else text)
        self._stream.flush()


def _fitting(line: str) -> str:
    """Returns a line cut to the terminal's width, because a wrapped line can't be erased."""
    width = shutil.get_terminal_size().columns - 1
    return line if len(line) <= width else f"{line[: width - 1]}…"
