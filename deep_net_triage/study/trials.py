"""Runs, checks and records the trials of a study, and the trainings after them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import (
    evidence,
    guards,
    memory,
    tensorboard,
    whole_network,
)
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_block, for_model
from deep_net_triage.learning.whole_network import NetworkTraining
from deep_net_triage.methods import TABLE
from deep_net_triage.network import costs, surgery
from deep_net_triage.progress import Progress
from deep_net_triage.records import checkpoints, correctness, models, results
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Failure, NetworkResult, Row, TrialResult
from deep_net_triage.study.identity import Identity, Parent, Trial
from deep_net_triage.study.outcomes import reuse_or_remove, run_and_record, save_and_check
from deep_net_triage.study.watching import ShownTraining
from deep_net_triage.wording import duration, signed


class BlockTrials:
    """What the trials of one block share: a student, and evidence that needs no training.

    Args:
        parent: what the student starts from.
        retraining: of the student.
        progress: shows messages, and how far the work has come.
        untrained_accuracies: as `evidence.accuracies` returns them; empty if not computed.
    """

    def __init__(
        self,
        parent: Parent,
        retraining: Retraining,
        progress: Progress,
        untrained_accuracies: Mapping[str, float | None],
    ) -> None:
        self.parent = parent
        self.retraining = retraining
        self.block = retraining.block
        self.settings = retraining.settings
        self.progress = progress
        self.untrained_accuracies = untrained_accuracies

    def run(
        self,
        trial: Trial,
        name: str,
        folder: Path,
        determining: dict[str, object],
        check_lock: Callable[[], None],
    ) -> TrialResult | Failure:
        """Runs one trial, from where it was interrupted if it was, and returns its result.

        Args:
            trial: one of this block's.
            name: of the trial in progress lines.
            folder: of its files.
            determining: the settings that its result records.
            check_lock: raises if another process has taken the trial over.
        """
        settings, curves = self.settings, self._curves(folder)
        epochs = {"train": settings.epochs, "distill": settings.distill_epochs}
        watch = ShownTraining(self.progress, name, epochs, curves)
        say, overwrite = self.progress.say, settings.overwrite
        journal = Journal(folder, determining, watch, say, check_lock, overwrite)
        train = functools.partial(self._retrained, trial, journal)
        try:
            return run_and_record(
                journal, name, train, lambda result: _reached(result.row), say
            )
        finally:
            if curves:
                curves.close()

    def _retrained(self, trial: Trial, journal: Journal) -> TrialResult:
        """Trains, saves and checks a student, and returns its result."""
        folder = journal.folder
        trained = self.retraining.run(trial.method, trial.seed, journal)
        reads = TABLE[trial.method].reads_activations
        curve, correct = save_and_check(
            trained.model,
            journal,
            self.retraining.dataset.test,
            self.settings.reports_last_epoch,
            saves=self.settings.save_models,
            stored=self.settings.activation_dtype if reads else "exact",
        )
        final = correct if trained.final_correct is None else trained.final_correct
        correctness.write(folder / results.FINAL_CORRECT, final)
        similarity = self.block and evidence.similarity(
            self.parent.model, trained.model, self.block, self.retraining.source
        )
        baseline = self.parent.baseline_accuracy
        guards.check_parent(self.parent.model, self.parent.weights_sha256)
        row = Row(
            dataset=self.retraining.dataset.name,
            method=trial.method,
            block=trial.block_name,
            seed=trial.seed,
            initial_accuracy=trained.initial_accuracy,
            distilled_accuracy=trained.distilled_accuracy,
            similarity=similarity,
            distill_epochs=len(journal.of_phase("distill")),
            accuracy_drop=round(baseline - curve.chosen_accuracy, 12),
            final_drop=round(baseline - curve.final_accuracy, 12),
            seconds=journal.seconds,
            bytes=models.weights_bytes(folder / "model.keras"),
            **vars(curve),
            **self._of_parent(),
            parameters=costs.parameters(trained.model),
            macs=costs.macs(trained.model),
            **self.untrained_accuracies,
        )
        return TrialResult(journal.settings, row, results.digests(folder))

    def _of_parent(self) -> dict[str, float]:
        return {
            "baseline_accuracy": self.parent.baseline_accuracy,
            "parent_parameters": costs.parameters(self.parent.model),
            "parent_macs": costs.macs(self.parent.model),
            "parent_bytes": self.parent.weights_bytes,
        }

    def _curves(self, folder: Path) -> tensorboard.Curves | None:
        if not self.settings.tensorboard:
            return None
        curves = self.settings.folder / "tensorboard" / folder.name
        return tensorboard.Curves(curves, resumes=checkpoints.epochs_done(folder) > 0)


@dataclass(frozen=True)
class LaterTrainings:
    """Runs trainings that follow the trials, unless an earlier command has finished them.

    Attributes:
        identity: what the study's results depend on.
        dataset: of the study.
        parent: of the study; its accuracy is what drops are measured from.
        progress: shows messages, and how far the work has come.
        check_lock: raises if another process has taken the trainings over.
        begins: called with the name of each training that begins.
    """

    identity: Identity
    dataset: Dataset
    parent: Parent
    progress: Progress
    check_lock: Callable[[], None]
    begins: Callable[[str], None]

    def run_trial(
        self, trial: Trial, name: str, network: keras.Model, folder: Path
    ) -> TrialResult | Failure:
        """Compresses a block of a network, and retrains it.

        Args:
            trial: its block is one of the network.
            name: of the trial in progress lines.
            network: read, never changed.
            folder: of the trial's files; its parent folder must exist.
        """
        settings, progress = self.identity.settings, self.progress
        start = self.parent
        if network is not start.model:
            digest = guards.weights_digest(network)
            start = dataclasses.replace(
                start, model=network, weights_sha256=digest, weights_bytes=None
            )
        determining = self.identity.of_trial(*trial.key, start.weights_sha256)
        ended = reuse_or_remove(folder, results.read_trial, determining, progress.say)
        if ended:
            return ended
        phases = [ExpectedPhase(f"{name} train", "train", settings.epochs)]
        if TABLE[trial.method].student_teacher:
            distil = ExpectedPhase(f"{name} distill", "distill", settings.distill_epochs)
            phases.insert(0, distil)
        self._begin(name, *phases)
        with memory.released():
            result = self._retrained(start, trial, name, folder, determining)
        progress.ended(name, 0.0)
        return result

    def _retrained(
        self,
        start: Parent,
        trial: Trial,
        name: str,
        folder: Path,
        determining: dict[str, object],
    ) -> TrialResult | Failure:
        settings = self.identity.settings
        images = for_block if TABLE[trial.method].reads_activations else for_model
        source = images(self.dataset, settings)
        retraining = Retraining(start.model, trial.block, self.dataset, source, settings)
        trials = BlockTrials(start, retraining, self.progress, {})
        return trials.run(trial, name, folder, determining, self.check_lock)

    def run_network(
        self, lesson: NetworkTraining, name: str, network: keras.Model, folder: Path
    ) -> NetworkResult | Failure:
        """Trains a whole network.

        Args:
            lesson: how it is trained.
            name: of the training in progress lines.
            network: where the training starts; its weights change, if it is trained.
            folder: of its files; its parent folder must exist.
        """
        settings, progress = self.identity.settings, self.progress
        determining = self._of_network(network, lesson)
        ended = reuse_or_remove(folder, results.read_network, determining, progress.say)
        if ended:
            return ended
        self._begin(name, ExpectedPhase(name, "train", lesson.epochs))
        journal = Journal(
            folder,
            determining,
            ShownTraining(progress, name, {"train": lesson.epochs}),
            progress.say,
            self.check_lock,
            settings.overwrite,
        )

        def train() -> NetworkResult:
            with memory.released():
                surgery.reseed(network, lesson.seed)
                whole_network.train(network, lesson, self.dataset, settings, journal)
            return self._saved(network, journal)

        result = run_and_record(journal, name, train, _network_reached, progress.say)
        progress.ended(name, journal.seconds)
        return result

    def _begin(self, name: str, *phases: ExpectedPhase) -> None:
        self.begins(name)
        self.progress.afterwards(ExpectedTraining(name, phases))

    def _saved(self, network: keras.Model, journal: Journal) -> NetworkResult:
        """Saves and checks a trained network, and returns its result."""
        reports_last = self.identity.settings.reports_last_epoch
        curve, _ = save_and_check(network, journal, self.dataset.test, reports_last)
        return NetworkResult(
            settings=journal.settings,
            accuracy=curve.chosen_accuracy,
            judged_accuracy=journal.epochs[curve.chosen_epoch - 1].judged_by,
            epochs=len(journal.epochs),
            parameters=costs.parameters(network),
            macs=costs.macs(network),
            seconds=journal.seconds,
            files=results.digests(journal.folder),
        )

    def _of_network(self, network: keras.Model, lesson: NetworkTraining) -> dict[str, object]:
        """Returns everything that determines the training of a whole network."""
        teacher = lesson.teacher and guards.weights_digest(lesson.teacher)
        return {
            **self.identity.of_network(guards.weights_digest(network)),
            "learning_rate": lesson.rate,
            "epochs": lesson.epochs,
            "seed": lesson.seed,
            "teacher_sha256": teacher,
            "blocks_learned": [block.name for block in lesson.blocks],
        }


def _reached(row: Row) -> str:
    change = signed(row.chosen_accuracy - row.baseline_accuracy, 4)
    return (
        f"accuracy {row.chosen_accuracy:.4f} ({change} from parent), 99 % of its best at epoch "
        f"{row.epochs_to_99}, {duration(row.seconds)}"
    )


def _network_reached(result: NetworkResult) -> str:
    return f"accuracy {result.accuracy:.4f}, {duration(result.seconds)}"
