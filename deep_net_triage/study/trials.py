"""Runs, checks and records trials, of a study or beside it; `learning/retraining` trains."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import evidence, guards, memory, predictions, tensorboard
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_block
from deep_net_triage.methods import TABLE
from deep_net_triage.network import costs, latency
from deep_net_triage.progress import Progress
from deep_net_triage.records import correctness, models, results
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Failure, Row, TrialResult
from deep_net_triage.records.summaries import summarize
from deep_net_triage.steps import Step
from deep_net_triage.study.identity import Identity, Parent, Trial
from deep_net_triage.study.outcomes import by_the_same_settings, recorded
from deep_net_triage.study.watching import CHECKING, ShownTraining
from deep_net_triage.wording import duration, signed


class BlockTrials:
    """What the trials of one block share: a student, and evidence that needs no training.

    Args:
        parent: what the student starts from.
        retraining: of the student.
        progress: where a person watches.
    """

    def __init__(self, parent: Parent, retraining: Retraining, progress: Progress) -> None:
        self.parent = parent
        self.retraining = retraining
        self.block = retraining.block
        self.settings = retraining.settings
        self.progress = progress
        self.untrained_accuracies = self._untrained_accuracies()

    def run(
        self,
        trial: Trial,
        name: str,
        folder: Path,
        determining: dict[str, object],
        still_ours: Callable[[], None],
    ) -> TrialResult | Failure:
        """Runs one trial, from where it was interrupted if it was, and returns its result.

        Args:
            trial: one of this block's.
            name: of the trial in progress lines.
            folder: of its files.
            determining: the settings that its result records.
            still_ours: raises if another process has taken the trial over.
        """
        settings, curves = self.settings, self._curves(folder.name)
        epochs = {"train": settings.epochs, "distill": settings.distill_epochs}
        watch = ShownTraining(self.progress, name, epochs, curves)
        say, overwrite = self.progress.say, settings.overwrite
        journal = Journal(folder, determining, watch, say, still_ours, overwrite)
        train = functools.partial(self._finished, trial, journal)
        return recorded(journal, name, train, lambda result: _reached(result.row), say)

    def _finished(self, trial: Trial, journal: Journal) -> TrialResult:
        """Trains, saves and checks a student, and returns its result."""
        folder = journal.folder
        trained = self.retraining.run(trial.method, trial.seed, journal)
        journal.watch.step(CHECKING)
        similarity = self.block and evidence.similarity(
            self.parent.model, trained.model, self.block, self.retraining.source
        )
        epochs = results.read_epochs(folder)
        curve = summarize(epochs, self.settings.settles)
        journal.still_ours()
        correct = self._saved(trained.model, folder, curve.chosen_accuracy)
        correctness.write(folder / results.CORRECT, correct)
        final = correct if trained.final_correct is None else trained.final_correct
        correctness.write(folder / results.FINAL_CORRECT, final)
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
            distill_epochs=sum(epoch.phase == "distill" for epoch in epochs),
            accuracy_drop=round(baseline - curve.chosen_accuracy, 12),
            final_drop=round(baseline - curve.final_accuracy, 12),
            seconds=journal.seconds,
            bytes=models.weights_bytes(folder / "model.keras"),
            **vars(curve),
            **self._of_parent(),
            parameters=costs.parameters(trained.model),
            macs=costs.macs(trained.model),
            **self.untrained_accuracies,
            **self._latencies,
        )
        return TrialResult(journal.settings, row, results.digests(folder))

    def _of_parent(self) -> dict[str, float]:
        return {
            "baseline_accuracy": self.parent.baseline_accuracy,
            "parent_parameters": costs.parameters(self.parent.model),
            "parent_macs": costs.macs(self.parent.model),
            "parent_bytes": self.parent.weights_bytes,
        }

    def _saved(self, model: keras.Model, folder: Path, accuracy: float) -> np.ndarray:
        """Saves a student if the settings say so, and checks what was saved.

        Returns:
            Which test images it classifies correctly, bool, (images,).
        """
        test = self.retraining.dataset.test
        if not self.settings.save_models:
            return predictions.correct(model, test.images, test.labels)
        file = folder / "model.keras"
        models.save(model, file)
        return guards.check_saved(file, model, test, accuracy)

    def _untrained_accuracies(self) -> dict[str, float | None]:
        """Returns the parent's accuracy with the block's kernels drawn anew, and without it."""
        if self.block is None:
            return {}
        self.progress.step(self.block.name, Step("testing without it"))
        accuracies = evidence.accuracies(
            self.parent.model, self.block, self.retraining.dataset, self.retraining.source
        )
        random, bypassed = (
            accuracies[f"{way}_accuracy"] for way in ("reinitialized", "bypassed")
        )
        without = "it can't be left out" if bypassed is None else f"{bypassed:.4f} without it"
        self.progress.say(
            f"{self.block.name}: accuracy {random:.4f} with random kernels; {without}"
        )
        return accuracies

    @functools.cached_property
    def _latencies(self) -> dict[str, float]:
        if not self.settings.latency or self.block is None:
            return {}
        shape = tuple(self.retraining.dataset.test.images.shape[1:])
        return latency.compare(self.parent.model, self.retraining.student, shape)

    def _curves(self, name: str) -> tensorboard.Curves | None:
        if not self.settings.tensorboard:
            return None
        return tensorboard.Curves(self.settings.folder / "tensorboard" / name)


@dataclass(frozen=True)
class TrialsBeside:
    """Runs trials beside those of the study: of halves of blocks, and of compression steps.

    Attributes:
        identity: what the study's results depend on.
        dataset: of the study.
        parent: of the study; its accuracy is what drops are measured from.
        progress: where a person watches.
        still_ours: raises if another process has taken the trials over.
        begins: is told the name of each trial that begins.
    """

    identity: Identity
    dataset: Dataset
    parent: Parent
    progress: Progress
    still_ours: Callable[[], None]
    begins: Callable[[str], None]

    def run(
        self, trial: Trial, name: str, network: keras.Model, folder: Path
    ) -> TrialResult | Failure:
        """Compresses a block of a network and retrains it, unless an earlier command has.

        Args:
            trial: its block is one of the network.
            name: of the trial in progress lines.
            network: read, never changed.
            folder: of the trial's files; its parent folder must exist.
        """
        sha256 = guards.weights_digest(network)
        determining = self.identity.of_trial(*trial.key, sha256)
        read, say = results.read_trial, self.progress.say
        ended = by_the_same_settings(folder, read, determining, say)
        if ended:
            return ended
        self.begins(name)
        self.progress.expect([self._expected(trial, name)])
        start = dataclasses.replace(self.parent, model=network, weights_sha256=sha256)
        with memory.released():
            dataset, settings = self.dataset, self.identity.settings
            source = for_block(dataset, settings)
            retraining = Retraining(network, trial.block, dataset, source, settings)
            trials = BlockTrials(start, retraining, self.progress)
            result = trials.run(trial, name, folder, determining, self.still_ours)
        self.progress.ended(name, 0.0)
        return result

    def _expected(self, trial: Trial, name: str) -> ExpectedTraining:
        settings = self.identity.settings
        phases = [ExpectedPhase(f"{name} train", "train", settings.epochs)]
        if TABLE[trial.method].distil:
            distil = ExpectedPhase(f"{name} distill", "distill", settings.distill_epochs)
            phases.insert(0, distil)
        return ExpectedTraining(name, tuple(phases))


def _reached(row: Row) -> str:
    change = signed(row.chosen_accuracy - row.baseline_accuracy, 4)
    return (
        f"accuracy {row.chosen_accuracy:.4f} ({change}), 99 % at epoch {row.epochs_to_99}, "
        f"{duration(row.seconds)}"
    )
