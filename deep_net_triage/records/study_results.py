"""Reads a study from disk once, for tables, figures, claims and the page."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.methods import CONTROL, METHODS
from deep_net_triage.records import correctness, files, provenance, results
from deep_net_triage.records.provenance import Description
from deep_net_triage.records.results import Epoch, Failure, ParentResult, Row, TrialResult

# A trial: method, block, seed.
TrialKey = tuple[str, str, int]


@dataclass(frozen=True)
class StudyResults(Description):
    """The results of one data set, with what `study.json` says of it.

    Attributes:
        dataset: the data set's name.
        baseline_accuracy: the parent's, on the test images, 0..1.
        rows: finished trials that compress a block, in network order.
        controls: finished trials of the control.
        correct: which test images each trial's model classifies correctly, by trial; bool,
            (images,), in the data set's order. The model is that of the chosen epoch.
        final_correct: the same for the models of the last epoch; trials of earlier versions
            have no such file and are missing.
        parent_correct: as `correct`, for the parent; None if the file is missing or damaged.
        epochs: learning curves by trial, without those in damaged files.
        failures: the reason of each failed trial, by the name of its folder.
        folder: the study's folder; None if the study was not read from disk.
    """

    dataset: str = field()  # unlike a description, a study always has one
    baseline_accuracy: float
    rows: tuple[Row, ...] = ()
    controls: tuple[Row, ...] = ()
    correct: Mapping[TrialKey, np.ndarray] = field(default_factory=dict)
    final_correct: Mapping[TrialKey, np.ndarray] = field(default_factory=dict)
    parent_correct: np.ndarray | None = None
    epochs: Mapping[TrialKey, tuple[Epoch, ...]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def test_images(self) -> int | None:
        """The number of test images; None if unknown."""
        if self.parent_correct is not None:
            return len(self.parent_correct)
        return self.settings.get("test_images")

    @property
    def given_parent(self) -> bool:
        """Whether the parent was given, and not trained by the study."""
        return self.settings.get("parent") is not None

    @property
    def holds_out(self) -> bool:
        """Whether validation images choose the epoch, unless it is the last."""
        return bool(self.settings.get("validation_fraction"))

    @property
    def reports_last_epoch(self) -> bool:
        """Whether the learning rate falls to zero, so that the chosen epoch is the last."""
        return self.settings.get("schedule") == "cosine"

    def methods(self) -> list[str]:
        """Returns the methods that have a finished trial, in the order of `METHODS`."""
        ran = {row.method for row in self.rows}
        return [name for name in METHODS if name in ran]

    def blocks_run(self) -> list[str]:
        """Returns the blocks that have a finished trial, in network order."""
        ran = {row.block for row in self.rows}
        return [name for name in self.all_blocks() if name in ran]

    def all_blocks(self) -> list[str]:
        """Returns all blocks in network order, with or without a finished trial."""
        known = [block.name for block in self.blocks]
        others = {row.block for row in self.rows}.difference(known)
        return known + sorted(others, key=lambda name: (len(name), name))

    def trials(self, method: str, block: str | None = None) -> list[Row]:
        """Returns the rows of a method, for one block or for all of them."""
        rows = [row for row in self.rows if row.method == method]
        return [row for row in rows if block in (None, row.block)]

    def correct_by_seed(self, method: str, block: str) -> dict[int, np.ndarray]:
        """Returns, by seed, which test images a method's trials of a block classify right."""
        return {
            seed: correct
            for (its_method, its_block, seed), correct in sorted(self.correct.items())
            if (its_method, its_block) == (method, block)
        }


def read_study(folder: Path) -> StudyResults:
    """Reads one data set's results.

    Raises:
        InputError: if the folder holds no finished parent or no table.
    """
    parent = results.read_parent(folder / "parent")
    if parent is None or not (folder / "results.csv").is_file():
        raise InputError(f"{folder} holds no finished parent, or no results.csv")
    described = vars(provenance.read(folder / "study.json"))
    images = parent.settings.get("test_images", 0)
    rows = results.read_table(folder)
    trials = read_trials(folder)
    return StudyResults(
        **described | {"dataset": parent.settings["dataset"]},
        baseline_accuracy=parent.baseline_accuracy,
        rows=tuple(row for row in rows if row.method != CONTROL),
        controls=tuple(row for row in rows if row.method == CONTROL),
        correct=_read_correct(trials, results.CORRECT, images),
        final_correct=_read_correct(trials, results.FINAL_CORRECT, images),
        parent_correct=_of_parent(folder / "parent", parent, images),
        epochs=_curves(trials),
        failures={f.name: r.reason for f, r in trials.items() if isinstance(r, Failure)},
        folder=folder,
    )


def read_trials(study: Path) -> dict[Path, TrialResult | Failure]:
    """Returns the undamaged results of ended trials by folder."""
    ended = {}
    for folder in sorted((study / "trials").glob("*/")):
        result = files.unless_damaged(results.read_trial, folder)
        if result is not None and not is_copy(folder, result):
            ended[folder] = result
    return ended


def is_copy(folder: Path, result: TrialResult | Failure) -> bool:
    """Returns whether a trial's folder was copied to another name, as a backup."""
    if isinstance(result, TrialResult):
        trial = result.row.trial
    else:
        trial = (result.settings[name] for name in ("method", "block", "seed"))
    return folder.name != results.trial_folder(folder, *trial).name


def _of_parent(folder: Path, parent: ParentResult, images: int) -> np.ndarray | None:
    """Returns which test images the parent classifies correctly; None if it is not known."""
    file = folder / results.CORRECT
    return correctness.read(file, images) if files.is_as_recorded(file, parent.files) else None


def _read_correct(
    trials: Mapping[Path, TrialResult | Failure], name: str, images: int
) -> dict[TrialKey, np.ndarray]:
    """Returns which test images each trial's model classifies correctly, where it is known."""
    return {trial: correctness.read(file, images) for trial, file in _undamaged(trials, name)}


def _curves(trials: Mapping[Path, TrialResult | Failure]) -> dict[TrialKey, tuple[Epoch, ...]]:
    """Returns the undamaged learning curves of finished trials."""
    found = _undamaged(trials, "epochs.jsonl")
    return {trial: tuple(results.read_epochs(file.parent)) for trial, file in found}


def _undamaged(
    trials: Mapping[Path, TrialResult | Failure], name: str
) -> Iterator[tuple[TrialKey, Path]]:
    """Yields the finished trials that have a file as it was written, and the file."""
    for folder, result in trials.items():
        file = folder / name
        if isinstance(result, TrialResult) and files.is_as_recorded(file, result.files):
            yield result.row.trial, file


def mean(values: Iterable[float | None]) -> float | None:
    """Returns the mean of the numbers that are not None; None if there are none."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None
