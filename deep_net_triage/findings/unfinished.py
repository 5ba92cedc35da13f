"""What the page says of a study that still runs, and for how long it reloads itself."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.wording import counted

_MOST_NAMED = 6
_LEAST_PATIENCE = 3600.0
# A training after the trials may have many times the epochs of one, and more layers.
_PATIENCE_LATER = 12 * 3600.0
_TRIALS_OF_PATIENCE = 4


@dataclass(frozen=True)
class Unfinished:
    """Where a study stands whose command has not ended.

    Attributes:
        finished: the number of this command's trials that have finished.
        failed: the number of those that have failed.
        running: the names of the trials that a process works on.
        left: the names of the trials that no process has begun.
        written: when this was so, in seconds since 1970.
        later: the training that runs once all trials have ended; empty if there is none.
    """

    finished: int
    failed: int
    running: tuple[str, ...]
    left: tuple[str, ...]
    written: float
    later: str = ""

    @property
    def ended(self) -> int:
        """The number of this command's trials that have ended, well or not."""
        return self.finished + self.failed

    @property
    def total(self) -> int:
        """The number of this command's trials."""
        return self.ended + len(self.running) + len(self.left)

    def sentences(self) -> list[str]:
        """Returns how many trials have ended, which ones run and which are left."""
        failed = f"; {self.failed} failed" if self.failed else ""
        verb = "is" if self.total == 1 else "are"
        said = [f"{self.finished} of {counted(self.total, 'trial')} {verb} finished{failed}."]
        if self.running:
            said.append(f"Running: {_named(self.running)}.")
        if self.left:
            said.append(f"Still to run: {_named(self.left)}.")
        if self.later:
            said.append(f"All trials have ended. Running: {self.later}.")
        elif not (self.running or self.left):
            said.append("All trials have ended; the study's last files are being written.")
        return said

    def moment(self) -> str:
        """Returns when this was so, as `2026-11-24 18:02:09 UTC`."""
        written = datetime.datetime.fromtimestamp(self.written, datetime.UTC)
        return f"{written:%Y-%m-%d %H:%M:%S} UTC"


def patience(study: StudyResults, standing: Unfinished | None) -> float:
    """Returns after how many seconds without a newer page a study has probably stopped.

    It is an hour, or four times what the longest trial took, whichever is longer. While a
    training runs after the trials, it is at least twelve hours.
    """
    longest = max((row.seconds for row in (*study.rows, *study.controls)), default=0.0)
    least = _PATIENCE_LATER if standing and standing.later else _LEAST_PATIENCE
    return max(least, _TRIALS_OF_PATIENCE * longest)


def _named(trials: Sequence[str]) -> str:
    """Returns the names of trials; of many the first few, and the number of the others."""
    named = ", ".join(trials[:_MOST_NAMED])
    others = len(trials) - _MOST_NAMED
    return f"{named} and {others} more" if others > 0 else named
