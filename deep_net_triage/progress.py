"""What a person sees while a study runs: one line that changes, or one line an epoch."""

import sys
import time
from typing import TextIO


class Progress:
    """Shows where a study stands and how long it will take.

    On a terminal one line is rewritten in place; anywhere else each epoch is a line of its
    own. Time left is what is left of the epochs, each taken as long as those so far.

    Args:
        stream: where to write; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        if hasattr(self._stream, "reconfigure"):  # a path may hold what no terminal can show
            self._stream.reconfigure(errors="backslashreplace")
        self._rewrites = self._stream.isatty()
        self._started = time.monotonic()
        self._epochs_left = 0
        self._epochs_done = 0

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self._write(f"{text}\n")

    def expect(self, epochs: int) -> None:
        """Says how many epochs are left; the clock starts with the first of them."""
        if not self._epochs_done:
            self._started = time.monotonic()
        self._epochs_left = epochs

    def epoch(self, training: str, record: dict[str, object], of: int) -> None:
        """Shows an epoch that has ended.

        Args:
            training: what is being trained, such as `[3/30] block1 cl_mw seed 0`.
            record: the epoch's record, as `epochs.jsonl` keeps it.
            of: number of epochs of its phase.
        """
        self._epochs_done += 1
        self._epochs_left -= 1
        if record["val_accuracy"] is None:
            reached = f"relative error {record['relative_error']:.3f}"
        else:
            reached = f"accuracy {record['val_accuracy']:.4f}"
        phase = f"{record['phase']} {record['epoch']}/{of}"
        line = f"{training}  {phase}  {reached}  {self._time_left()}"
        self._write(line if self._rewrites else f"{line}\n")

    def _time_left(self) -> str:
        seconds = time.monotonic() - self._started
        left = seconds / self._epochs_done * self._epochs_left
        return f"{duration(left)} left"

    def _write(self, text: str) -> None:
        # Carriage return and "erase to the end of the line".
        self._stream.write(f"\r\x1b[K{text}" if self._rewrites else text)
        self._stream.flush()


def duration(seconds: float) -> str:
    """Returns a duration as a person would say it: `45 s`, `12 min`, `3.5 h`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
