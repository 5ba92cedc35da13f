"""What a study leaves on disk, and how it is read back."""

import contextlib
import csv
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.methods import CONTROL
from deep_net_triage.records import files

COLUMNS = (
    "dataset",
    "method",
    "block",
    "seed",
    "baseline_accuracy",
    "initial_accuracy",
    "distilled_accuracy",
    "max_accuracy",
    "max_epoch",
    "epochs_to_99",
    "distill_epochs",
    "final_accuracy",
    "accuracy_drop",
    "parent_parameters",
    "parameters",
    "parent_macs",
    "macs",
    "seconds",
    "chosen_epoch",
    "chosen_accuracy",
    "reinitialized_accuracy",
    "bypassed_accuracy",
    "similarity",
    "parent_bytes",
    "bytes",
    "parent_latency",
    "parent_latency_spread",
    "latency",
    "latency_spread",
    "parent_batch_latency",
    "parent_batch_latency_spread",
    "batch_latency",
    "batch_latency_spread",
)
_TEXT_COLUMNS = ("dataset", "method", "block")


@dataclass(frozen=True)
class StudyResults:
    """What the figures and tables of one data set are made from.

    Attributes:
        dataset: its name.
        baseline_accuracy: the parent's, on the test split.
        rows: one dictionary per finished trial, keyed by `COLUMNS`; None for an empty cell.
        correct: by (method, block, seed), which test images the trial's model gets right, in
            the data set's order; bool, (images,).
        parent_correct: the same for the parent; None where it was not kept.
        blocks: the network's blocks in its order, as `study.json` has them.
        refused: segments that can't be triaged, likewise, each with its `reason`.
        folder: where it was read from.
        controls: a row per finished trial of the parent trained on, no block compressed.
    """

    dataset: str
    baseline_accuracy: float
    rows: list[dict[str, object]]
    correct: dict[tuple[str, str, int], np.ndarray] = field(default_factory=dict)
    parent_correct: np.ndarray | None = None
    blocks: tuple[dict[str, object], ...] = ()
    refused: tuple[dict[str, object], ...] = ()
    folder: Path | None = None
    controls: list[dict[str, object]] = field(default_factory=list)


def check_writable(folder: Path) -> None:
    """Makes sure that an output folder can be made and written to, without making it.

    Raises:
        InputError: if it can't.
    """
    existing = folder.absolute()
    try:
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
    except OSError as error:
        raise InputError(f"--output_dir={folder} can't be written: {error.strerror}") from error
    if not existing.is_dir():
        raise InputError(f"--output_dir={folder} can't be written: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"--output_dir={folder} can't be written: no permission in {existing}")


def summarize(epochs: list[dict[str, object]]) -> dict[str, float | int]:
    """Returns the numbers of a learning curve: its maximum, and how soon it came near.

    Args:
        epochs: the records of `epochs.jsonl`; only those of the phase `train` count.

    Returns:
        `max_accuracy`; `max_epoch`, the first that reaches it; `epochs_to_99`, the first
        whose accuracy is at least 0.99 of it (Figure 3); `final_accuracy`; `chosen_epoch`, the
        first that is best on the images held out, and `chosen_accuracy`, on the test images at
        that epoch: without images held out, those of the maximum, which is optimistic.
    """
    judged = [record for record in epochs if record["phase"] == "train"]
    accuracies = [record["val_accuracy"] for record in judged]
    best = max(accuracies)
    choosing = [record.get("held_out_accuracy", record["val_accuracy"]) for record in judged]
    chosen = choosing.index(max(choosing))
    # An exact 99 % must count as one, whatever the last bit of the product.
    near = 0.99 * best - 1e-12
    return {
        "max_accuracy": best,
        "max_epoch": accuracies.index(best) + 1,
        "epochs_to_99": next(n for n, a in enumerate(accuracies, 1) if a >= near),
        "final_accuracy": accuracies[-1],
        "chosen_epoch": chosen + 1,
        "chosen_accuracy": accuracies[chosen],
    }


def differences(recorded: dict[str, object], asked: dict[str, object]) -> list[str]:
    """Names every setting that differs, as `name: recorded, now asked`."""
    names = [*recorded, *(name for name in asked if name not in recorded)]
    return [
        f"{name}: {recorded.get(name, 'not set')}, now {asked.get(name, 'not set')}"
        for name in names
        if recorded.get(name) != asked.get(name)
    ]


def trial_folder(study: Path, method: str, block: str, seed: int) -> Path:
    """Returns a trial's folder."""
    return study / "trials" / f"{method}-{block}-seed{seed}"


def parent_folder(trial: Path) -> Path:
    """Returns the folder of the parent of a trial, by the trial's."""
    return trial.parent.parent / "parent"


def read_result(folder: Path) -> dict[str, object] | None:
    """Returns a trial's or parent's `result.json`, or None if there is none yet.

    Raises:
        DamagedFile: if it does not hold what was written.
    """
    return files.read_json(folder / "result.json")


def digests(folder: Path) -> dict[str, str]:
    """Returns the digests of the files of a trial or a parent, for its result."""
    kept = [folder / name for name in ("epochs.jsonl", "model.keras", "correct.npy")]
    return {file.name: files.digest(file) for file in kept if file.is_file()}


def check_files(folder: Path, result: dict[str, object]) -> None:
    """Makes sure that the files of a finished trial or parent are those its result tells of.

    A file that was removed is no longer there to mislead anyone.

    Raises:
        DamagedFile: if one holds something else.
    """
    for name, found in digests(folder).items():
        if found != result["files"].get(name):
            raise DamagedFile(f"{folder / name} is damaged: it does not hold what was written")


def lock_file(folder: Path) -> Path:
    """Returns where the lock of a trial or a parent is: beside its folder."""
    return folder.with_name(f"{folder.name}.lock")


def read_trials(study: Path) -> dict[Path, dict[str, object]]:
    """Returns every finished or failed trial's result by its folder; damaged ones are none."""
    found = {}
    for folder in sorted((study / "trials").glob("*/")):
        with contextlib.suppress(DamagedFile):
            result = read_result(folder)
            if result is not None:
                found[folder] = result
    return found


def read_epochs(folder: Path) -> list[dict[str, object]]:
    """Returns the records of a trial's or parent's `epochs.jsonl`, in order."""
    with (folder / "epochs.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_correct(folder: Path, correct: np.ndarray) -> None:
    """Keeps which test images a model gets right, eight in a byte.

    Args:
        folder: of the trial or the parent.
        correct: bool, (images,), in the data set's order.
    """
    with files.replacing(folder / "correct.npy") as unfinished, unfinished.open("wb") as file:
        np.save(file, np.packbits(correct))


def read_correct(folder: Path, images: int) -> np.ndarray | None:
    """Returns which of the test images a model gets right, bool, (images,), or None.

    Raises:
        DamagedFile: if there is something else.
    """
    file = folder / "correct.npy"
    if not file.is_file():
        return None
    try:
        packed = np.load(file, allow_pickle=False)
        return np.unpackbits(packed, count=images).astype(bool)
    except (ValueError, TypeError, EOFError) as error:
        raise DamagedFile(f"{file} is damaged: it does not hold what was written") from error


def write_table(study: Path) -> None:
    """Makes `results.csv` anew from every finished trial's `result.json`."""
    rows = [r["row"] for r in read_trials(study).values() if r["status"] == "finished"]
    with (
        files.replacing(study / "results.csv") as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(sorted(rows, key=_in_order))


def read_study(study: Path) -> StudyResults:
    """Reads one data set's results.

    Raises:
        InputError: if the folder holds no finished parent or no table.
    """
    parent = read_result(study / "parent")
    table = study / "results.csv"
    if parent is None or parent["status"] != "finished" or not table.is_file():
        raise InputError(f"{study} holds no finished parent, or no results.csv")
    with table.open(newline="", encoding="utf-8") as file:
        rows = [
            {name: _cell(name, text) for name, text in row.items()}
            for row in csv.DictReader(file)
        ]
    images = parent["settings"].get("test_images", 0)
    correct = {}
    for row in rows:
        trial = row["method"], row["block"], row["seed"]
        right = read_correct(trial_folder(study, *trial), images)
        if right is not None:
            correct[trial] = right
    described = files.read_json(study / "study.json") or {}
    return StudyResults(
        dataset=parent["settings"]["dataset"],
        baseline_accuracy=parent["baseline_accuracy"],
        rows=[row for row in rows if row["method"] != CONTROL],
        controls=[row for row in rows if row["method"] == CONTROL],
        correct=correct,
        parent_correct=read_correct(study / "parent", images),
        blocks=tuple(described.get("blocks", ())),
        refused=tuple(described.get("refused", ())),
        folder=study,
    )


def studies_in(results: Path) -> list[Path]:
    """Returns the folders of all studies under an output folder, or the folder if it is one.

    Raises:
        InputError: if there is none.
    """
    found = [results, *sorted(results.glob("*/"))]
    found = [folder for folder in found if (folder / "results.csv").is_file()]
    if not found:
        raise InputError(
            f"no results in {results}; run run_triage.py first, or name its folder"
        )
    return found


def mean(values: Iterable[object]) -> float | None:
    """Returns the mean of the numbers there are; None if there are none."""
    numbers = [value for value in values if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def block_order(name: str) -> tuple[int, str]:
    """Sorts names of blocks: block2 before block10."""
    return len(name), name


def _in_order(row: dict[str, object]) -> tuple:
    return *block_order(row["block"]), row["method"], row["seed"]


def _cell(name: str, text: str) -> object:
    if name in _TEXT_COLUMNS or not text:
        return text or None
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number
