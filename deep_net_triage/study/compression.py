"""Replaces blocks one after another, and undoes what clearly costs more than `--max_drop`.

1. Candidates are blocks and halves of blocks, each with the method and the cost that triage
   found (`candidates`). Those that save most within `--max_drop` come first (`selection`).
2. Each is compressed in the network as it then stands, which is retrained by that method. A
   step is undone if the network has clearly lost more than `--max_drop`: if the whole 95 %
   interval of its loss lies above that.
3. The whole network is retrained once more, taught by the parent. If it has lost more than
   `--max_drop` both before and after that, the last step is undone, candidates that overlapped
   it are tried, and the network that remains is retrained instead.

Validation images decide all of this: the test images have no part in choosing the model
that they measure. With `--validation_fraction=0` the test images judge, and the accuracy on
them is optimistic.
"""

import dataclasses
import functools
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np

from deep_net_triage.findings import parent_doubts
from deep_net_triage.findings.recommendation import within
from deep_net_triage.findings.statistics import accuracy_difference
from deep_net_triage.learning import predictions
from deep_net_triage.learning.whole_network import NetworkTraining
from deep_net_triage.methods import TABLE
from deep_net_triage.network import costs, exports, latency_timing, surgery
from deep_net_triage.progress import Progress
from deep_net_triage.records import (
    alternatives,
    compressions,
    files,
    models,
    results,
    study_results,
)
from deep_net_triage.records.compressions import FOLDER, Compression, Considered, Final, Step
from deep_net_triage.records.results import NetworkResult, TrialResult
from deep_net_triage.study.candidates import (
    Judged,
    Savings,
    accuracy_of,
    best_students,
    check_saved,
    find,
)
from deep_net_triage.study.identity import Parent, Trial
from deep_net_triage.study.network_so_far import NetworkSoFar, save
from deep_net_triage.study.outcomes import remove_alternatives, remove_failed, same_training
from deep_net_triage.study.plan import Plan
from deep_net_triage.study.selection import Candidate, in_order
from deep_net_triage.study.trials import LaterTrainings
from deep_net_triage.study.watching import held
from deep_net_triage.wording import listed


def run(
    plan: Plan, parent: Parent, progress: Progress, begins: Callable[[str], None]
) -> Path | None:
    """Compresses as much of a parent as `--max_drop` allows, and saves the model.

    Args:
        plan: of the study, whose trials have ended.
        parent: of the study.
        progress: shows messages, and how far the work has come.
        begins: called with the name of each training that begins.

    Returns:
        The saved model; None if nothing could be compressed.
    """
    folder = plan.settings.folder / FOLDER
    folder.mkdir(exist_ok=True)
    with held(folder, progress, "compressing: waiting for {}, which is compressing") as lock:
        search = _Search(plan, parent, progress, lock.check, begins)
        found = search.candidates()
        waiting = search.attempt(in_order(found, plan.settings.max_drop))
        others = plan.settings.folder / alternatives.FOLDER
        # Alternatives to another compressed network may be in training.
        with held(
            others, progress, "compressing: waiting for {}, which is training alternatives"
        ):
            return search.finish(found, waiting)


class _Search:
    """The search for what to compress.

    Args:
        plan: of the study.
        parent: what it starts from.
        progress: shows messages, and how far the work has come.
        check_lock: raises if another process has taken the compression over.
        begins: called with the name of each training that begins.
    """

    def __init__(
        self,
        plan: Plan,
        parent: Parent,
        progress: Progress,
        check_lock: Callable[[], None],
        begins: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.parent = parent
        self._deciding = "validation" if plan.dataset.validation else "test"
        self.progress = progress
        self.check_lock = check_lock
        self.folder = plan.settings.folder / FOLDER
        self.trainings = LaterTrainings(
            plan.identity, plan.dataset, parent, progress, check_lock, begins
        )
        self.so_far = NetworkSoFar(parent.model)
        judging = plan.dataset.validation or plan.dataset.test
        self._report = functools.partial(progress.step, "compressing")
        self._rows = judging.images, judging.labels, self._report
        self.correct = predictions.correct(parent.model, *self._rows)
        self.baseline = float(self.correct.mean())

    def candidates(self) -> list[Candidate]:
        """Returns the study's candidates; none if the parent has not learned."""
        remove_failed(self.folder)  # else failures of an earlier search would look like its own
        study = study_results.read_study(self.plan.settings.folder)
        if reason := parent_doubts.not_learned_in(study):
            self.progress.say(f"compressing: {reason}")
            return []
        plan, file = self.plan, self.folder / "savings.json"
        best = best_students(study, [block.name for block in plan.blocks])
        check_saved(best.values())
        images = plan.dataset.train.images
        savings = Savings(plan.network, plan.settings, images, file, self._report)
        return list(
            find(plan.blocks, savings, self.baseline, best, self._tried, self._interval)
        )

    def attempt(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Compresses blocks one after another; returns those that overlap a compressed one."""
        waiting = []
        for candidate in candidates:
            if self.so_far.overlaps(candidate.block):
                waiting.append(candidate)
            else:
                self._compress(candidate)
        return waiting

    def _compress(self, candidate: Candidate) -> None:
        """Compresses one more block, and undoes it if the network has clearly lost too much."""
        block = self.so_far.as_it_is_now(candidate.block)
        trial = Trial(candidate.method, block, self.plan.settings.seeds[0])
        study, number = self.plan.settings.folder, len(self.so_far.steps) + 1
        folder = compressions.step_folder(study, number, trial.method, block.name)
        if not self.so_far.blocks:
            self._take_over(trial, folder)
        name = f"compressing {trial}"
        result = self.trainings.run_trial(trial, name, self.so_far.network, folder)
        step = Step(block.name, trial.method)
        if isinstance(result, TrialResult):
            step = dataclasses.replace(
                step,
                kept=self._may_stay(folder),
                judged_accuracy=_judged(result, folder),
                accuracy=result.row.chosen_accuracy,
                parameters=result.row.parameters,
                macs=result.row.macs,
            )
        self.so_far.take(step, block, folder)
        self.progress.say(_said(step, self._deciding))

    def finish(self, found: list[Candidate], waiting: list[Candidate]) -> Path | None:
        """Retrains the whole network, saves it and the result, and returns the model's file."""
        finals = self._finals(waiting)
        file = self.folder / "model.keras"
        network, accuracy = None, None
        self.check_lock()
        if not self.so_far.blocks:
            file.unlink(missing_ok=True)
            exports.remove(self.folder)
        else:
            network, accuracy = self._network_to_save(finals)
            save(network, file)
        compression = self._result(found, finals, accuracy)
        remove_alternatives(self.plan.settings, compression, self.progress.say)
        compressions.write(self.plan.settings.folder, compression)
        if network is None:
            return None
        if self.plan.settings.latency:
            self._measure(network)
        blocks = listed(compression.blocks)
        self.progress.say(f"compressed {blocks}: accuracy {accuracy:.4f}; {file}")
        return file

    def _may_stay(self, folder: Path) -> bool:
        """Returns whether a step stays: whether its interval begins within --max_drop."""
        low, _ = self._interval([folder])
        return within(-low, self.plan.settings.max_drop)

    def _allows(self, judged: float) -> bool:
        return within(judged - self.baseline, self.plan.settings.max_drop)

    def _tried(self, trial: Trial) -> Judged | None:
        """Returns the student of a half; None if its trial failed."""
        folder = self._half_folder(trial)
        name = f"half of a block: {trial}"
        result = self.trainings.run_trial(trial, name, self.parent.model, folder)
        if not isinstance(result, TrialResult):
            return None
        return Judged(trial.method, _judged(result, folder), (folder,))

    def _interval(self, folders: Sequence[Path]) -> tuple[float, float]:
        """Returns the 95 % interval of the accuracy that some networks have lost.

        It is measured on the deciding images. The networks are one student, trained from
        several seeds.
        """
        networks = (models.load(folder / "model.keras") for folder in folders)
        correct = np.stack([predictions.correct(network, *self._rows) for network in networks])
        gain = accuracy_difference(correct, self.correct)
        return -gain.high, -gain.low

    def _take_over(self, trial: Trial, folder: Path) -> None:
        """Reuses the student of a block's finished trial instead of training it again."""
        study = self.plan.settings.folder
        of_block = results.trial_folder(study, *trial.key)
        for made in (of_block, self._half_folder(trial)):
            if (made / "model.keras").is_file() and not same_training(made, folder):
                shutil.rmtree(folder, ignore_errors=True)  # that of an earlier search
                files.copy_folder(made, folder)

    def _half_folder(self, trial: Trial) -> Path:
        return self.folder / f"half-{trial.method}-{trial.block_name}"

    def _finals(self, waiting: list[Candidate]) -> list[Final]:
        """Retrains the whole network once for each seed, and undoes steps that cost too much.

        Where a step is undone, candidates that overlapped it are tried.

        Returns:
            The final retrainings of the network that remains; those that failed are left out.
        """
        first, *others = self.plan.settings.final_seeds
        while self.so_far.blocks:
            finals = self._retrained([first])
            last = self.so_far.last
            judged = [last.judged_accuracy, *(one.judged_accuracy for one in finals)]
            if self._allows(max(judged)):
                return finals + self._retrained(others)
            self.so_far.undo()
            reason = "the retrained network loses more than --max_drop"
            if not finals:
                reason = "the network loses more than --max_drop, and its retraining failed"
            self.progress.say(f"compressing {last.block}: undone: {reason}")
            waiting = self.attempt(waiting)
        return []

    def _retrained(self, seeds: Sequence[int]) -> list[Final]:
        settings, finals = self.plan.settings, []
        blocks, compressed = self.so_far.blocks, self.so_far.network
        for seed in seeds:
            network = surgery.copy(compressed)
            surgery.copy_weights_and_reseed(network, compressed, seed)
            lesson = NetworkTraining(
                settings.classification_rate("model"),
                settings.final_epochs or settings.epochs,
                seed,
                teacher=self.parent.model,
                blocks=blocks,
            )
            folder = self.folder / compressions.final_folder(self.so_far.steps, seed)
            name = f"compressed network, seed {seed}"
            result = self.trainings.run_network(lesson, name, network, folder)
            if isinstance(result, NetworkResult):
                numbers = result.judged_accuracy, result.accuracy
                finals.append(Final(seed, folder.name, *numbers))
        return finals

    def _network_to_save(self, finals: list[Final]) -> tuple[keras.Model, float]:
        """Returns the network to save, a final one if it is no worse, with its accuracy."""
        if final := compressions.final_to_save(self.so_far.steps, finals):
            return models.load(self.folder / final.folder / "model.keras"), final.accuracy
        self.progress.say(
            "compressing: the final retraining failed, or lowered the accuracy on the "
            f"{self._deciding} images; the network from before it is saved"
        )
        return self.so_far.network, self.so_far.last.accuracy

    def _epochs(self, finals: list[Final]) -> int:
        """Returns for how many epochs the saved model was trained after the parent."""
        settings, epochs = self.plan.settings, 0
        for step in (step for step in self.so_far.steps if step.kept):
            epochs += settings.epochs
            epochs += TABLE[step.method].student_teacher * settings.distill_epochs
        if compressions.final_to_save(self.so_far.steps, finals):
            epochs += settings.final_epochs or settings.epochs
        return epochs

    def _measure(self, network: keras.Model) -> None:
        """Measures what the parent and the compressed network take, and writes it."""
        settings, images = self.plan.settings, self.plan.dataset.train.images
        report = functools.partial(self.progress.step, "latency")
        latencies = latency_timing.table(
            self.parent.model,
            network,
            images,
            settings.latency_batches,
            report=report,
            refused=self.progress.say,
        )
        compressions.write_latencies(settings.folder, latencies)

    def _result(
        self, found: list[Candidate], finals: list[Final], accuracy: float | None
    ) -> Compression:
        settings, parent = self.plan.settings, self.parent.model
        return Compression(
            save=settings.save,
            max_drop=settings.max_drop,
            held_out=len(self.plan.dataset.validation or ()),
            baseline_judged=self.baseline,
            baseline_accuracy=self.parent.baseline_accuracy,
            candidates=tuple(
                Considered(c.block.name, c.method, c.cost, c.saved, *c.interval) for c in found
            ),
            steps=tuple(self.so_far.steps),
            finals=tuple(finals),
            accuracy=accuracy,
            epochs=self._epochs(finals),
            parent_parameters=costs.parameters(parent),
            parent_macs=costs.macs(parent),
            parameters=costs.parameters(self.so_far.network),
            macs=costs.macs(self.so_far.network),
        )


def _judged(result: TrialResult, folder: Path) -> float:
    epochs = results.read_epochs(folder)
    return accuracy_of(epochs, result.row.chosen_epoch)


def _said(step: Step, images: str) -> str:
    if step.judged_accuracy is None:
        return f"compressing {step.block}: the training failed; undone"
    end = "kept" if step.kept else "undone"
    accuracy = f"accuracy {step.judged_accuracy:.4f} on the {images} images"
    return f"compressing {step.block}: {accuracy}; {end}"
