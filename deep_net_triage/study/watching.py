"""What a person who watches a study is shown: its trainings, and waits for other processes."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from deep_net_triage.learning.tensorboard import Curves
from deep_net_triage.progress import Progress
from deep_net_triage.records import locks, results
from deep_net_triage.records.locks import Lock
from deep_net_triage.records.results import Epoch
from deep_net_triage.steps import Step

# What follows the last epoch.
CHECKING = Step("checking")


def held(folder: Path, progress: Progress, waiting: str) -> AbstractContextManager[Lock]:
    """Returns a context that holds a folder's lock; it prints a message if it has to wait.

    Args:
        folder: to lock.
        progress: shows messages, and how far the work has come.
        waiting: the message; `{}` stands for the name of the process that holds the lock.
    """
    return locks.waiting(
        results.lock_file(folder), lambda holder: progress.say(waiting.format(holder))
    )


class ShownTraining:
    """The `Watch` of a training's journal.

    Args:
        progress: shows messages, and how far the work has come.
        name: of the training in progress lines.
        epochs: how many each phase has.
        curves: receives the epochs for TensorBoard; None without them.
    """

    def __init__(
        self,
        progress: Progress,
        name: str,
        epochs: Mapping[str, int],
        curves: Curves | None = None,
    ) -> None:
        self._progress = progress
        self._name = name
        self._epochs = epochs
        self._curves = curves

    def epoch(self, epoch: Epoch) -> None:
        """Shows an epoch that has ended."""
        self._progress.epoch(self._name, epoch, self._epochs[epoch.phase])
        if self._curves:
            self._curves.add(epoch)

    def step(self, step: Step) -> None:
        """Shows how far the training has come."""
        self._progress.step(self._name, step)
