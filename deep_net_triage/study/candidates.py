"""Finds what a compression may replace: blocks, and halves of those that cost too much.

A block's method and cost are those of the study's trials; a half gets a trial of its own.
Accuracies are measured on the deciding images: those for validation or, without these, the
test images.
"""

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import InputError
from deep_net_triage.findings.recommendation import within
from deep_net_triage.methods import METHODS
from deep_net_triage.network import costs, latency_timing, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.network.halves import halves
from deep_net_triage.records import files, results
from deep_net_triage.records.results import Epoch
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.steps import Report, Step
from deep_net_triage.study.identity import Trial
from deep_net_triage.study.selection import Candidate
from deep_net_triage.wording import listed


@dataclass(frozen=True)
class Judged:
    """The best method for a block or a half of one, and the students that it trained.

    Attributes:
        method: by which they were retrained.
        accuracy: on the deciding images, 0..1; the mean over seeds.
        folders: of the trials, which hold the students.
    """

    method: str
    accuracy: float
    folders: tuple[Path, ...] = ()


def best_students(study: StudyResults, blocks: Iterable[str]) -> dict[str, Judged]:
    """Returns the students of each block by its best method, by the block's name.

    Args:
        study: whose finished trials are compared.
        blocks: the names of blocks; those without such trials are left out.
    """
    best: dict[str, Judged] = {}
    for block in blocks:
        for method in METHODS:
            rows = [row for row in study.trials(method, block) if row.trial in study.epochs]
            if not rows:  # not run with this block, or its curves are damaged
                continue
            reached = [accuracy_of(study.epochs[row.trial], row.chosen_epoch) for row in rows]
            mean = math.fsum(reached) / len(reached)
            if block not in best or mean > best[block].accuracy:
                folders = [results.trial_folder(study.folder, *row.trial) for row in rows]
                best[block] = Judged(method, mean, tuple(folders))
    return best


def check_saved(students: Iterable[Judged]) -> None:
    """Checks that the models of some students are there.

    Raises:
        InputError: if some were not saved, or were removed.
    """
    needed = [folder / "model.keras" for student in students for folder in student.folders]
    if missing := [str(file) for file in needed if not file.is_file()]:
        raise InputError(
            f"--compress needs {listed(missing)}, not saved (--nosave_models) or removed since."
            " To train them again, remove the folders of these files"
        )


def accuracy_of(epochs: Sequence[Epoch], chosen: int) -> float:
    """Returns the accuracy of a trial's chosen epoch on the deciding images, 0..1.

    Args:
        epochs: all of the trial.
        chosen: the number of the epoch in the phase `train`, from 1.
    """
    return [epoch for epoch in epochs if epoch.phase == "train"][chosen - 1].judged_by


def find(
    blocks: Sequence[Block],
    savings: "Savings",
    baseline: float,
    best: Mapping[str, Judged],
    tried: Callable[[Trial], Judged | None],
    interval: Callable[[Sequence[Path]], tuple[float, float]],
) -> Iterator[Candidate]:
    """Yields the candidates of a study, also those that cost too much.

    Args:
        blocks: of the parent.
        savings: of its blocks.
        baseline: the parent's accuracy on the deciding images, 0..1.
        best: as `best_students` returns it.
        tried: runs the trial of a half, and returns its student; None if it failed.
        interval: returns the 95 % interval of what the students in some folders have lost.
    """

    def candidate(block: Block, student: Judged) -> Candidate:
        cost, saved = baseline - student.accuracy, savings.of(block)
        return Candidate(block, student.method, cost, saved, interval(student.folders))

    settings = savings.settings
    for block in blocks:
        if block.name not in best:
            continue
        student = best[block.name]
        yield candidate(block, student)
        if within(student.accuracy - baseline, settings.max_drop):
            continue
        for half in halves(savings.network, block):
            if of_half := tried(Trial(student.method, half, settings.seeds[0])):
                yield candidate(half, of_half)


class Savings:
    """What compressing a block alone saves, as a share of what the parent takes.

    Measured latencies are remembered in a file, so that a compression that was interrupted goes
    on as it began. On another machine they are measured anew.

    Args:
        network: the parent.
        settings: they say what is to be saved.
        images: latency is measured with some of them.
        file: remembers the latencies.
        report: receives which block is being timed.
    """

    def __init__(
        self,
        network: keras.Model,
        settings: Settings,
        images: tf.Tensor,
        file: Path,
        report: Report,
    ) -> None:
        self.network = network
        self.settings = settings
        self._report = report
        self._images = images
        self._file = file

    def of(self, block: Block) -> float:
        """Returns what compressing a block saves: arithmetic, parameters, or latency."""
        if self.settings.save == "latency":
            return self._remembered(block)
        count = {"macs": costs.macs, "parameters": costs.parameters}[self.settings.save]
        return 1 - count(self._student(block)) / count(self.network)

    def _student(self, block: Block) -> keras.Model:
        return surgery.compress(self.network, block, initializer="glorot_uniform", seed=0)

    def _remembered(self, block: Block) -> float:
        measured = {
            "batches": list(self.settings.latency_batches),
            "replacement": self.settings.replacement,
            "precision": self.settings.precision,
            "machine": devices.describe() | {"name": platform.node()},
        }
        known = files.unless_damaged(files.read_json, self._file) or {}
        if known.get("measured") != measured:
            known = {"measured": measured, "saved": {}}
        if block.name not in known["saved"]:
            self._report(Step(f"timing the parent without {block.name}"))
            known["saved"][block.name] = self._latency(self._student(block))
            files.write_json(self._file, known)
        return known["saved"][block.name]

    def _latency(self, student: keras.Model) -> float:
        """Returns the mean share of time saved over the numbers of images, with all threads.

        Times that differ by no more than runs vary count as equal.
        """
        batches, saved = self.settings.latency_batches, []
        for parent, smaller in latency_timing.compare(
            self.network, student, self._images, batches
        ):
            difference = parent.median - smaller.median
            is_clear = abs(difference) > max(parent.spread, smaller.spread)
            saved.append(difference / parent.median if is_clear else 0.0)
        return math.fsum(saved) / len(saved)
