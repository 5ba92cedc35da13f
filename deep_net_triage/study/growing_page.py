"""Keeps the page of a running study up to date."""

import time
from collections.abc import Callable, Sequence

from deep_net_triage.findings.unfinished import Unfinished
from deep_net_triage.records import locks, results, study_results
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.study.identity import Trial
from deep_net_triage.study.ledger import Ledger

# Writes a page from results, from where the study stands, and from the accuracy that may be
# lost, 0..1.
Present = Callable[[StudyResults, Unfinished, float], None]


def grow(
    trials: Sequence[Trial],
    ledger: Ledger,
    say: Callable[[str], None],
    present: Present,
    later: str = "",
) -> None:
    """Writes the page of a study that runs; does nothing before its first trial has ended.

    A failure is reported and does not stop the training.

    Args:
        trials: of the whole study, those of other processes and other jobs included.
        ledger: of the study's folder.
        say: is told of a failure.
        present: writes the page.
        later: the training that runs once all trials have ended.
    """
    folder = ledger.folder
    if not (folder / "results.csv").is_file():
        return
    try:
        # The lock of results.csv, so that no process writes an older page over a newer one.
        with locks.waiting(folder / "study.lock"):
            study = study_results.read_study(folder)
            max_drop = ledger.identity.settings.max_drop
            present(study, _standing(trials, ledger, later), max_drop)
    except Exception as error:  # whatever drawing may raise
        say(f"report.html was not written: {type(error).__name__}: {error}")


def _standing(trials: Sequence[Trial], ledger: Ledger, later: str) -> Unfinished:
    """Returns which of some trials have ended, and which ones a process works on."""
    unfinished, pending = ledger.unfinished(trials), ledger.pending(trials)
    locked = {
        trial: locks.holder(results.lock_file(ledger.folder_of(trial))) for trial in pending
    }
    return Unfinished(
        finished=len(trials) - len(unfinished),
        failed=len(unfinished) - len(pending),
        running=tuple(str(trial) for trial in pending if locked[trial]),
        left=tuple(str(trial) for trial in pending if not locked[trial]),
        written=time.time(),
        later=later,
    )
