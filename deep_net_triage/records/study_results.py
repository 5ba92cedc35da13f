"""A whole study as it lies on disk, read once; tables, figures, claims and page start here."""

import contextlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.methods import CONTROL, METHODS
from deep_net_triage.network.descriptions import BlockDescription, Refused
from deep_net_triage.records import files, provenance, results
from deep_net_triage.records.provenance import Command
from deep_net_triage.records.results import Epoch, Failure, Row, TrialResult

# A trial: method, block, seed.
Name = tuple[str, str, int]


@dataclass(frozen=True)
class StudyResults:
    """The results of one data set.

    Attributes:
        dataset: its name.
        baseline_accuracy: the parent's, on the test images, 0..1.
        rows: of finished trials that compress a block, in the network's order.
        controls: of finished trials of the control.
        correct: by trial, which test images its model classifies correctly, in the data set's
            order; bool, (images,).
        parent_correct: the same for the parent; None where the file is missing.
        epochs: by trial, its learning curve; damaged files are left out.
        failures: by the name of its folder, why a trial failed.
        blocks: the network's blocks in its order.
        refused: segments that can't be replaced by one convolution.
        uncounted: layers whose multiply-accumulates are not counted.
        settings: what all trials share, as in `study.json`.
        classes: how many the data set has; None where it is not known.
        commands: that added to the study.
        folder: where it was read from; None where it was not.
    """

    dataset: str
    baseline_accuracy: float
    rows: tuple[Row, ...] = ()
    controls: tuple[Row, ...] = ()
    correct: Mapping[Name, np.ndarray] = field(default_factory=dict)
    parent_correct: np.ndarray | None = None
    epochs: Mapping[Name, tuple[Epoch, ...]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    blocks: tuple[BlockDescription, ...] = ()
    refused: tuple[Refused, ...] = ()
    uncounted: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    classes: int | None = None
    commands: tuple[Command, ...] = ()
    folder: Path | None = None

    @property
    def test_images(self) -> int | None:
        """How many test images there are; None where it is not known."""
        if self.parent_correct is not None:
            return len(self.parent_correct)
        return self.settings.get("test_images")

    @property
    def holds_out(self) -> bool:
        """Whether held-out training images chose the epochs, not the test images."""
        return bool(self.settings.get("validation_fraction"))

    def methods(self) -> list[str]:
        """Returns the methods that have a finished trial, in the table's order."""
        ran = {row.method for row in self.rows}
        return [name for name in METHODS if name in ran]

    def blocks_run(self) -> list[str]:
        """Returns the blocks that have a finished trial, in the network's order."""
        ran = {row.block for row in self.rows}
        return [name for name in self.all_blocks() if name in ran]

    def all_blocks(self) -> list[str]:
        """Returns all blocks, those without a finished trial included, in network order."""
        known = [block.name for block in self.blocks]
        others = {row.block for row in self.rows}.difference(known)
        return known + sorted(others, key=lambda name: (len(name), name))

    def trials(self, method: str, block: str | None = None) -> list[Row]:
        """Returns the rows of a method, at one block or at all of them."""
        rows = [row for row in self.rows if row.method == method]
        return [row for row in rows if block in (None, row.block)]

    def correct_by_seed(self, method: str, block: str) -> dict[int, np.ndarray]:
        """Returns by seed which test images the trials of a method and block get right."""
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
    description = provenance.read(folder / "study.json")
    images = parent.settings.get("test_images", 0)
    rows = results.read_table(folder)
    trials = read_trials(folder)
    correct = {
        row.trial: results.read_correct(results.trial_folder(folder, *row.trial), images)
        for row in rows
    }
    return StudyResults(
        dataset=parent.settings["dataset"],
        baseline_accuracy=parent.baseline_accuracy,
        rows=tuple(row for row in rows if row.method != CONTROL),
        controls=tuple(row for row in rows if row.method == CONTROL),
        correct={trial: right for trial, right in correct.items() if right is not None},
        parent_correct=results.read_correct(folder / "parent", images),
        epochs=_curves(trials),
        failures={f.name: r.reason for f, r in trials.items() if isinstance(r, Failure)},
        blocks=description.blocks,
        refused=description.refused,
        uncounted=description.uncounted,
        settings=description.settings,
        classes=description.classes,
        commands=description.commands,
        folder=folder,
    )


def read_trials(study: Path) -> dict[Path, TrialResult | Failure]:
    """Returns the result of every trial that has ended by its folder, damaged ones left out."""
    ended = {}
    for folder in sorted((study / "trials").glob("*/")):
        with contextlib.suppress(DamagedFile):
            result = results.read_trial(folder)
            if result is not None:
                ended[folder] = result
    return ended


def _curves(trials: Mapping[Path, TrialResult | Failure]) -> dict[Name, tuple[Epoch, ...]]:
    """Reads the learning curves of finished trials that are as they were written."""
    curves = {}
    for folder, result in trials.items():
        file = folder / "epochs.jsonl"
        if isinstance(result, Failure) or not file.is_file():
            continue
        if files.digest(file) == result.files.get(file.name):
            curves[result.row.trial] = tuple(results.read_epochs(folder))
    return curves


def studies_in(folder: Path) -> list[Path]:
    """Returns the folders of all studies under an output folder, or the folder if it is one.

    Raises:
        InputError: if there is none.
    """
    candidates = [folder, *sorted(folder.glob("*/"))]
    studies = [candidate for candidate in candidates if (candidate / "results.csv").is_file()]
    if not studies:
        raise InputError(f"no results in {folder}; run run_triage.py first, or name its folder")
    return studies


def mean(values: Iterable[float | None]) -> float | None:
    """Returns the mean of the numbers that are not None; None if there are none."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None
