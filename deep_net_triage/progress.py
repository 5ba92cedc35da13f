"""Shows the progress of a study, as one line that is rewritten or as one line per epoch."""

import shutil
import sys
from collections.abc import Iterable
from typing import TextIO

from deep_net_triage.forecast import ExpectedTraining, Forecast
from deep_net_triage.records.results import Epoch
from deep_net_triage.wording import duration


class Progress:
    """Shows what a study does and how long it will take.

    On a terminal, one line is rewritten in place; elsewhere, each epoch is a line of its own.

    Args:
        stream: the stream to write to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if hasattr(self._stream, "reconfigure"):  # a path may hold undecodable bytes
            self._stream.reconfigure(errors="backslashreplace")
        self._rewrites = self._stream.isatty()
        self._forecast = Forecast()

    def say(self, text: str) -> None:
        """Prints a line that is not rewritten."""
        self._write(f"{text}\n")

    def expect(self, trainings: Iterable[ExpectedTraining], side_by_side: int = 1) -> None:
        """Sets which trainings are to run, and how many of them run at once."""
        self._forecast.expect(trainings, side_by_side)

    def keep(self, names: Iterable[str]) -> None:
        """Drops all trainings but these from the time left; the others have ended."""
        self._forecast.keep(names)

    def ended(self, training: str, seconds: float) -> None:
        """Notes how long a training took from beginning to end."""
        self._forecast.ended(training, seconds)

    def epoch(self, training: str, epoch: Epoch, of: int) -> None:
        """Shows a finished epoch.

        Args:
            training: the training's name, such as `[3/30] block1 cl_mw seed 0`.
            epoch: the epoch's measurements.
            of: the number of epochs in the phase.
        """
        self._forecast.epoch_ended(training, epoch.phase, epoch.epoch, epoch.seconds)
        if epoch.val_accuracy is None:
            reached = f"relative error {epoch.relative_error:.3f}"
        else:
            reached = f"accuracy {epoch.val_accuracy:.4f}"
        phase = f"{epoch.phase} {epoch.epoch}/{of}"
        left = self._forecast.left()
        line = f"{training}  {phase}  {reached}"
        if left is not None:
            line += f"  {duration(left)} left"
        self._write(_fitting(line) if self._rewrites else f"{line}\n")

    def _write(self, text: str) -> None:
        # Returns to the line's start and erases the line.
        self._stream.write(f"\r\x1b[K{text}" if self._rewrites else text)
        self._stream.flush()


def _fitting(line: str) -> str:
    """Returns a line cut to the terminal's width, because a wrapped line can't be erased."""
    width = shutil.get_terminal_size().columns - 1
    return line if len(line) <= width else f"{line[: width - 1]}…"
