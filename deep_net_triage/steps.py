"""How far a piece of work has come, reported about twice a second while it goes on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

# Reports may pass through a pipe, and reading the loss waits for a GPU.
SECONDS_BETWEEN_REPORTS = 0.5


@dataclass(frozen=True)
class Step:
    """How far a piece of work has come.

    Attributes:
        work: what is done, such as `train 1/20` or `reading test images`.
        done: steps or images so far.
        of: how many there are in all; 0 if unknown.
        unit: what `done` and `of` count.
        images_per_second: since the first step; None until the second.
        loss: the mean over the epoch so far; None if there is none.
        phase: of a training, `train` or `distill`; empty for other work.
        epoch: the number of the phase's epoch, from 1; 0 for other work.
        share: how much of the epoch is done, 0..1.
    """

    work: str
    done: int = 0
    of: int = 0
    unit: Literal["step", "image"] = "step"
    images_per_second: float | None = None
    loss: float | None = None
    phase: str = ""
    epoch: int = 0
    share: float = 0.0


# Receives each report.
Report = Callable[[Step], None]


def ignore(step: Step) -> None:
    """Receives a report that nobody watches."""


class Reporter:
    """Reports how far one piece of work after another has come, not too often."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._reported = float("-inf")
        self._work = Step("")
        self._first: tuple[float, int] | None = None

    def begin(self, work: Step) -> None:
        """Begins a piece of work, of which nothing is done yet."""
        self._work, self._first = work, None
        if self._is_due(time.monotonic()):
            self._report(work)

    def reached(
        self,
        done: int,
        images: int,
        *,
        loss: Callable[[], float] | None = None,
        share: float = 0.0,
    ) -> None:
        """Reports how far the work has come, if the last report is long enough ago.

        Args:
            done: steps or images so far.
            images: images so far.
            loss: returns the mean over the epoch so far; called for a report only.
            share: how much of an epoch is done, 0..1.
        """
        now = time.monotonic()
        # The first step does not count: TensorFlow traces it.
        if done and self._first is None:
            self._first = now, images
        if not self._is_due(now):
            return
        rate = None
        if self._first and now > self._first[0] and images > self._first[1]:
            rate = (images - self._first[1]) / (now - self._first[0])
        self._report(
            replace(
                self._work,
                done=done,
                images_per_second=rate,
                loss=loss() if loss and done else None,
                share=share,
            )
        )

    def _is_due(self, now: float) -> bool:
        if now - self._reported < SECONDS_BETWEEN_REPORTS:
            return False
        self._reported = now
        return True
