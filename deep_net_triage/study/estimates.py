"""What each training of a study will take on this machine, by timings and arithmetic.

A training step of the parent is timed, and so are forward passes through the parent, its blocks
and their replacements. How often each method computes what is known.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deep_net_triage.commands.settings import Settings
from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.learning.timings import Timings
from deep_net_triage.methods import TABLE
from deep_net_triage.network.block import Block
from deep_net_triage.records import alternatives, compressions, files, results
from deep_net_triage.records.alternatives import KINDS
from deep_net_triage.records.compressions import Compression
from deep_net_triage.study.identity import Trial
from deep_net_triage.study.outcomes import rates_of_alternatives
from deep_net_triage.wording import duration, listed

# The time to trace a step, relative to that of the first step that a process traces.
_TRACING = {"model": 0.6, "block": 0.2, "distill": 0.1}
# Around its epochs a trial saves its model, loads it and digests its weights, and before the
# first trial of a block its student is built. Most of it is Python, as tracing is.
_AROUND_TRIAL, _AROUND_BLOCK = 0.2, 0.3
_HALVES = 2  # of a block


@dataclass(frozen=True)
class Workload:
    """What the timings are multiplied by.

    Attributes:
        settings: of the command.
        train: the number of images to train on.
        test: the number evaluated after each epoch, validation images included.
        stores_activations: whether what a block receives is computed once, not in each epoch.
    """

    settings: Settings
    train: int
    test: int
    stores_activations: bool


@dataclass(frozen=True)
class Afterwards:
    """What is trained after the trials, if each block or half of it is compressed.

    Networks count as large as the parent: which blocks are compressed is not known yet.

    Attributes:
        compress: seconds of the trials of all halves, of a step for each block, and of the
            final retraining; None if not asked for.
        alternatives: seconds of the trainings of all alternatives; None if not asked for.
        models: how many models they leave on the disk.
    """

    compress: float | None = None
    alternatives: float | None = None
    models: int = 0

    @property
    def seconds(self) -> float:
        """What all of it takes."""
        return (self.compress or 0.0) + (self.alternatives or 0.0)

    def __str__(self) -> str:
        """What they take, for the terminal; empty if nothing was asked for."""
        asked = {"--compress": self.compress, "--alternatives": self.alternatives}
        parts = [
            f"about {duration(seconds)} for {flag}"
            for flag, seconds in asked.items()
            if seconds is not None
        ]
        if not parts:
            return ""
        return f"after the trials, if every block is compressed: {listed(parts)}"


class Estimator:
    """Estimates the trainings of a study.

    Args:
        workload: of the study.
        timings: of its parent.
        slowdown: how much longer an epoch of a trial takes, because others run beside it.
            Tracing and checks are Python's work on one core in any case.
    """

    def __init__(self, workload: Workload, timings: Timings, slowdown: float = 1.0) -> None:
        self.workload = workload
        self.timings = timings
        self.slowdown = slowdown
        # The cost of either gradient, of the weights or of the inputs, in forward passes.
        self._gradient = max(0.0, timings.step / timings.forward - 1) / 2

    def parent(self) -> ExpectedTraining:
        """Returns the parent's training."""
        epochs = self.workload.settings.parent_epochs
        tracing = _TRACING["model"] * self.timings.tracing
        seconds = self._epoch(self.timings.step, self.timings.forward)
        phase = ExpectedPhase("parent", "train", epochs, seconds, tracing)
        return ExpectedTraining("parent", (phase,), self._around(), alone=True)

    def network(self, epochs: int, taught: bool) -> float:
        """Returns the seconds to train a network like the parent, alone or taught by it."""
        teacher = self.timings.forward if taught else 0.0
        epoch = self._epoch(self.timings.step + teacher, self.timings.forward)
        return epochs * epoch + _TRACING["model"] * self.timings.tracing + self._around()

    def trials(
        self, trials: Iterable[tuple[str, Trial]], evidence: bool = True
    ) -> list[ExpectedTraining]:
        """Returns the trainings of trials.

        Args:
            trials: each with its name in progress lines.
            evidence: whether the accuracies without training are computed for each block.
        """
        expected, traced, begun = [], set(), set()
        for name, trial in trials:
            phases = self._phases(trial, traced)
            traced |= {phase.kind for phase in phases}
            around = self._around()
            if trial.block_name not in begun:
                around += self._beginning(trial.block, evidence)
            begun.add(trial.block_name)
            expected.append(ExpectedTraining(name, phases, around))
        return expected

    def afterwards(self, blocks: Sequence[Block]) -> Afterwards:
        """Returns what is trained after the trials of some blocks."""
        settings = self.workload.settings
        if not settings.compress:
            return Afterwards()
        methods = [method for method in settings.methods if TABLE[method].compresses]
        of_blocks = [
            max(
                training.seconds
                for training in self.trials(
                    ((method, Trial(method, block, settings.seeds[0])) for method in methods),
                    evidence=False,
                )
            )
            for block in blocks
        ]
        epochs, seeds = settings.final_epochs or settings.epochs, len(settings.final_seeds)
        # Trials of both halves, and a step for the block or one of them.
        compress = (_HALVES + 1) * sum(of_blocks) + seeds * self.network(epochs, taught=True)
        # The network that is saved is a model of its own.
        models = (_HALVES + 1) * len(blocks) + seeds + 1
        if not settings.alternatives:
            return Afterwards(compress, models=models)
        distils = any(TABLE[method].student_teacher for method in methods)
        each = settings.epochs + distils * settings.distill_epochs
        most = len(blocks) * each + epochs
        others = sum(self.network(most, kind.taught) for kind in KINDS.values())
        return Afterwards(compress, seeds * others, models + seeds * len(KINDS))

    def _phases(self, trial: Trial, traced: set[str]) -> tuple[ExpectedPhase, ...]:
        row, settings = TABLE[trial.method], self.workload.settings
        steps = {"train": self._epoch(*self._classification(trial))}
        epochs = {"train": settings.epochs}
        shares = {"train": _TRACING[row.updates]}
        if row.student_teacher:
            steps = {"distill": self._epoch(self._distillation(trial.block))} | steps
            epochs["distill"] = settings.distill_epochs
            shares["distill"] = _TRACING["distill"]
        phases = []
        for phase, seconds in steps.items():
            trains = f"taught {row.updates}" if row.taught else row.updates
            kind = f"{trial.block_name} {phase if phase == 'distill' else trains}"
            tracing = 0.0 if kind in traced else self.timings.tracing * shares[phase]
            phases.append(
                ExpectedPhase(kind, phase, epochs[phase], self.slowdown * seconds, tracing)
            )
        return tuple(phases)

    def _epoch(self, step: float, evaluation: float = 0.0) -> float:
        """Returns the seconds of an epoch, from those of a step and of a test batch."""
        size = self.workload.settings.batch_size
        train, test = (
            math.ceil(images / size) for images in (self.workload.train, self.workload.test)
        )
        return train * step + test * evaluation

    def _classification(self, trial: Trial) -> tuple[float, float]:
        """Returns the seconds of a step and of the evaluation of a batch."""
        row, timings = TABLE[trial.method], self.timings
        if trial.block is None:
            return timings.step, timings.forward
        block = timings.blocks[trial.block.name]
        through_student = timings.forward - block.original + block.replacement
        if row.updates == "model":
            teacher = timings.forward if row.taught else 0.0
            share = through_student / timings.forward
            return timings.step * share + teacher, through_student
        before, behind = self._around_block(trial.block)
        trained = (1 + self._gradient) * (block.replacement + behind)
        return before + trained, before + block.replacement + behind

    def _distillation(self, block: Block) -> float:
        """Returns the seconds of a step of the student-teacher phase."""
        before, _ = self._around_block(block)
        taken = self.timings.blocks[block.name]
        teacher = 0.0 if self.workload.stores_activations else taken.original
        return before + teacher + (1 + self._gradient) * taken.replacement

    def _around_block(self, block: Block) -> tuple[float, float]:
        """Returns the forward seconds of the layers before a block, if they run, and after it.

        Layers before a block do not run where what they return is stored.
        """
        taken = self.timings.blocks[block.name]
        behind = max(0.0, self.timings.forward - taken.before - taken.original)
        return 0.0 if self.workload.stores_activations else taken.before, behind

    def _around(self) -> float:
        """Returns the seconds around a training: its model is evaluated before and after."""
        evaluations = 2 * self._epoch(0.0, self.timings.forward)
        return _AROUND_TRIAL * self.timings.tracing + evaluations

    def _beginning(self, block: Block | None, evidence: bool) -> float:
        """Returns the seconds before a block's first trial, in which its student is built."""
        building = _AROUND_BLOCK * self.timings.tracing
        if block is None:
            return building
        before, behind = self._around_block(block)
        through_block = self.timings.blocks[block.name].original
        # Its accuracies without training: with new kernels, and without the block.
        tests = 2 * self._epoch(0.0, before + through_block + behind) if evidence else 0.0
        copies = self.workload.settings.augment_copies or 1
        walk = self._epoch(copies * through_block, through_block)
        return building + tests + (walk if self.workload.stores_activations else 0.0)


def left_afterwards(
    settings: Settings, blocks: Sequence[Block], estimator: Estimator
) -> Afterwards:
    """Returns what is trained after the trials, which have ended.

    A compression that has ended is left out, and so are alternatives if all of them have.

    Args:
        settings: of the command.
        blocks: that it triages.
        estimator: of steps that start from a network of their own.
    """
    expected = estimator.afterwards(blocks)
    made = ended_compression(settings, blocks)
    if made is None:
        return expected
    lesson = rates_of_alternatives(settings), settings.temperature
    seeds = settings.final_seeds
    if not made.blocks or alternatives.all_ended(settings.folder, seeds, *lesson):
        return Afterwards()
    models = len(seeds) * len(KINDS) if settings.alternatives else 0
    return dataclasses.replace(expected, compress=None, models=models)


def ended_compression(settings: Settings, blocks: Sequence[Block]) -> Compression | None:
    """Returns the compression that has ended, if it is the one that a command asks for."""
    recorded = files.unless_damaged(compressions.read, settings.folder)
    if recorded is None or (recorded.save, recorded.max_drop) != (
        settings.save,
        settings.max_drop,
    ):
        return None
    considered = {candidate.block for candidate in recorded.candidates}
    if considered and not considered.issuperset(block.name for block in blocks):
        return None
    if not recorded.blocks:
        return recorded
    asked = {
        "epochs": settings.final_epochs or settings.epochs,
        "learning_rate": settings.classification_rate("model"),
        "temperature": settings.temperature,
    }
    trained = []
    for final in recorded.finals:
        folder = settings.folder / compressions.FOLDER / final.folder
        made = files.unless_damaged(results.read_network, folder)
        if made and asked.items() <= made.settings.items():
            trained.append(final.seed)
    return recorded if tuple(trained) == settings.final_seeds else None
