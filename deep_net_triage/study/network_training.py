"""Trains, checks and records networks as a whole, beside the trials of a study."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import guards, memory, whole
from deep_net_triage.learning.whole import Lesson
from deep_net_triage.network import costs, surgery
from deep_net_triage.progress import Progress
from deep_net_triage.records import correctness, models, results
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Failure, NetworkResult
from deep_net_triage.records.summaries import summarize
from deep_net_triage.study.identity import Identity
from deep_net_triage.study.outcomes import by_the_same_settings, recorded
from deep_net_triage.study.watching import CHECKING, ShownTraining
from deep_net_triage.wording import duration


@dataclass(frozen=True)
class NetworkTrainings:
    """Trains whole networks for one study: final retrainings, and alternatives.

    Attributes:
        identity: what the study's results depend on.
        dataset: of the study.
        progress: where a person watches.
        still_ours: raises if another process has taken them over.
        begins: is told the name of each training that begins.
    """

    identity: Identity
    dataset: Dataset
    progress: Progress
    still_ours: Callable[[], None]
    begins: Callable[[str], None]

    def run(
        self, folder: Path, name: str, network: keras.Model, lesson: Lesson
    ) -> NetworkResult | Failure:
        """Trains a network and saves it in a folder, unless an earlier command has done so.

        Args:
            folder: of its files; its parent folder must exist.
            name: of the training in progress lines.
            network: where the training starts; its weights change, if it is trained.
            lesson: how it is trained.
        """
        determining = self._determining(network, lesson)
        read, say = results.read_network, self.progress.say
        ended = by_the_same_settings(folder, read, determining, say)
        if ended:
            return ended
        self.begins(name)
        settings, progress = self.identity.settings, self.progress
        progress.expect(
            [ExpectedTraining(name, (ExpectedPhase(name, "train", lesson.epochs),))]
        )
        watch = ShownTraining(progress, name, {"train": lesson.epochs})
        overwrite = settings.overwrite
        journal = Journal(folder, determining, watch, say, self.still_ours, overwrite)

        def train() -> NetworkResult:
            with memory.released():
                surgery.reseed(network, lesson.seed)
                whole.train(network, lesson, self.dataset, settings, journal)
            return self._finished(network, journal)

        result = recorded(journal, name, train, _reached, say)
        progress.ended(name, journal.seconds)
        return result

    def _finished(self, network: keras.Model, journal: Journal) -> NetworkResult:
        """Saves and checks a trained network, and returns its result."""
        folder, settings = journal.folder, self.identity.settings
        journal.watch.step(CHECKING)
        epochs = results.read_epochs(folder)
        curve = summarize(epochs, settings.settles)
        journal.still_ours()
        file = folder / "model.keras"
        models.save(network, file)
        correct = guards.check_saved(file, network, self.dataset.test, curve.chosen_accuracy)
        correctness.write(folder / results.CORRECT, correct)
        return NetworkResult(
            settings=journal.settings,
            accuracy=curve.chosen_accuracy,
            judged_accuracy=epochs[curve.chosen_epoch - 1].judged_by,
            epochs=len(epochs),
            parameters=costs.parameters(network),
            macs=costs.macs(network),
            seconds=journal.seconds,
            files=results.digests(folder),
        )

    def _determining(self, network: keras.Model, lesson: Lesson) -> dict[str, object]:
        teacher = lesson.teacher and guards.weights_digest(lesson.teacher)
        return {
            **self.identity.of_network(guards.weights_digest(network)),
            "learning_rate": lesson.rate,
            "epochs": lesson.epochs,
            "seed": lesson.seed,
            "teacher_sha256": teacher,
            "blocks_learned": [block.name for block in lesson.blocks],
        }


def _reached(result: NetworkResult) -> str:
    return f"accuracy {result.accuracy:.4f}, {duration(result.seconds)}"
