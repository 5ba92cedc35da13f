"""Shows the progress of a study: bars on a terminal, lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import TextIO

from deep_net_triage.bars import Bars, Row
from deep_net_triage.forecast import ExpectedTraining, Forecast
from deep_net_triage.records.results import Epoch
from deep_net_triage.steps import Step
from deep_net_triage.streams import BrokenPipeSafe
from deep_net_triage.wording import duration

# Elsewhere than on a terminal, work that takes long is a line as often as this.
_SECONDS_BETWEEN_LINES = 60
_STUDY = "study"
# Of a training's row: steps, time left, loss, images a second, and what the last epoch reached.
_DETAILS = 5


class Progress:
    """Shows what a study does and how long it will take.

    A terminal has a bar for the study and one for each process that works on it; what is said
    stays above them. Elsewhere each epoch is a line, and so is each minute of a longer one.
    If nobody reads the stream any more, such as behind `| head`, nothing is shown, and the
    study goes on, because its files are what counts. In a worker process, a `Messenger` of
    `launchers/messages.py` stands in for this class: it has the same methods.

    Args:
        stream: the stream to write to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stdout
        if hasattr(stream, "reconfigure"):  # a path may hold undecodable bytes
            stream.reconfigure(errors="backslashreplace")
        self._stream = BrokenPipeSafe(stream)
        self._bars = Bars(self._stream) if _draws_bars(stream) else None
        self._forecast = Forecast()
        self._opened = time.monotonic()
        # By process: when its last line was written, and its row on a terminal.
        self._written: dict[int, float] = {}
        self._rows: dict[int, Row] = {}

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Removes the bars."""
        if self._bars:
            self._bars.stop()

    def say(self, text: str, process: int = 0) -> None:
        """Prints a line that stays, and removes the bar of the process that says it.

        Args:
            text: one line or several.
            process: the number of the process, where there are several.
        """
        self.idle(process)
        if self._bars:
            self._bars.say(text)
            self._draw_study()
        else:
            self._write(text, process)

    def expect(
        self,
        trainings: Iterable[ExpectedTraining],
        side_by_side: int = 1,
        afterwards: float = 0.0,
    ) -> None:
        """Sets which trainings are to run.

        Args:
            trainings: the parent and the trials.
            side_by_side: how many of them run at once.
            afterwards: seconds of what is trained when they have ended, at most.
        """
        self._forecast.expect(trainings, side_by_side, afterwards)

    def afterwards(self, training: ExpectedTraining) -> None:
        """Sets the training that runs now, one of those after all that were expected."""
        self._forecast.afterwards(training)

    def keep(self, names: Iterable[str]) -> None:
        """Drops all trainings but these from the time left; the others have ended."""
        self._forecast.keep(names)

    def ended(self, training: str, seconds: float) -> None:
        """Notes how long a training took from beginning to end."""
        self._forecast.ended(training, seconds)

    def epoch(self, training: str, epoch: Epoch, of: int, process: int = 0) -> None:
        """Shows a finished epoch.

        Args:
            training: the training's name, such as `[3/30] block1 cl_mw seed 0`.
            epoch: the epoch's measurements.
            of: the number of epochs in the phase.
            process: the number of the process, where there are several.
        """
        self._forecast.epoch_ended(training, epoch.phase, epoch.epoch, epoch.seconds)
        if epoch.val_accuracy is None:
            reached = f"relative error {epoch.relative_error:.3f}"
        else:
            reached = f"accuracy {epoch.val_accuracy:.4f}"
        work = f"{epoch.phase} {epoch.epoch}/{of}"
        if self._bars:
            row = self._rows.get(process)
            if row is None or row.name != training:
                row = Row(training, work, 1.0, ("",) * _DETAILS)
            self._draw(process, replace(row, details=(*row.details[:-1], reached)))
        else:
            left = _left(self._forecast.left())
            self._write("  ".join(filter(None, (training, work, reached, left))), process)

    def step(self, name: str, step: Step, process: int = 0) -> None:
        """Shows how far an epoch, or other work, has come.

        Args:
            name: of the training, or of what the work is for.
            step: what has been done.
            process: the number of the process, where there are several.
        """
        if step.phase:
            self._forecast.stepped(name, step.phase, step.epoch, step.share)
        count = f"{step.done}/{step.of}" if step.of else str(step.done or "")
        rate = "" if step.images_per_second is None else _rate(step.images_per_second)
        loss = "" if step.loss is None else f"loss {step.loss:#.4g}"
        if self._bars:
            share = step.done / step.of if step.of else None
            row, left = self._rows.get(process), _left(self._forecast.left_of(name))
            reached = row.details[-1] if row and row.name == name else ""
            details = (count, left, loss, rate, reached)
            self._draw(process, Row(name, step.work, share, details))
        elif self._is_due(process):
            counted = count and f"{step.unit} {count}"
            left = _left(self._forecast.left())
            parts = (name, step.work, counted, rate, loss, left)
            self._write("  ".join(filter(None, parts)), process)

    def idle(self, process: int = 0) -> None:
        """Removes the bar of a process that has ended its work."""
        if self._rows.pop(process, None):
            self._bars.remove(process)

    def _draw(self, process: int, row: Row) -> None:
        self._rows[process] = row
        self._draw_study()
        self._bars.show(process, row)

    def _draw_study(self) -> None:
        share = self._forecast.share()
        done = "" if share is None else f"{100 * share:.0f} %"
        details = (done, _left(self._forecast.left()))
        self._bars.show(_STUDY, Row(_STUDY, "", share, details))

    def _is_due(self, process: int) -> bool:
        written = self._written.get(process, self._opened)
        return time.monotonic() - written >= _SECONDS_BETWEEN_LINES

    def _write(self, line: str, process: int) -> None:
        self._written[process] = time.monotonic()
        self._stream.write(f"{line}\n")
        self._stream.flush()


def _draws_bars(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _left(seconds: float | None) -> str:
    return f"{duration(seconds)} left" if seconds else ""


def _rate(images_per_second: float) -> str:
    return f"{images_per_second:.{0 if images_per_second >= 10 else 1}f} images/s"
