"""Typed values for the files in a training's folder, and functions to read and write them.

A trial's folder and the parent's hold `epochs.jsonl`, `result.json`, the files of
`correctness.py` and, where models are saved, `model.keras`.
"""

import csv
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from deep_net_triage.errors import DamagedFile
from deep_net_triage.records import files

# Which test images the models of the chosen and of the last epoch classify correctly.
CORRECT = "correct.npy"
FINAL_CORRECT = "final_correct.npy"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A line of `epochs.jsonl`.

    Attributes:
        phase: `distill` or `train`.
        epoch: its number within the phase, from 1.
        loss: the mean over the training images.
        accuracy: on the training images, 0..1; None while distilling, like the next two.
        val_loss: on the test images, which are Keras's validation data here.
        val_accuracy: on the test images, 0..1.
        relative_error: squared distance from the parent's output over that output's squared
            norm; None while training on labels.
        held_out_accuracy: on the validation images; None without validation images.
        seconds: the epoch's duration.
    """

    phase: Literal["distill", "train"]
    epoch: int
    loss: float
    accuracy: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    relative_error: float | None = None
    held_out_accuracy: float | None = None
    seconds: float

    @property
    def judged_by(self) -> float | None:
        """The accuracy that chooses the best epoch: on validation images, if there are any."""
        return self.val_accuracy if self.held_out_accuracy is None else self.held_out_accuracy

    def as_json(self) -> dict[str, object]:
        """Returns the line's JSON object, without optional values that were not measured."""
        line = dataclasses.asdict(self)
        for name in ("relative_error", "held_out_accuracy"):
            if line[name] is None:
                del line[name]
        return line


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of `results.csv`: one finished trial. Accuracies are shares, 0..1.

    Attributes:
        dataset, method, block, seed: identify the trial; the control's block is `no-block`.
        baseline_accuracy: the parent's chosen accuracy.
        initial_accuracy: right after surgery, before any training.
        distilled_accuracy: after the student-teacher phase; None without one.
        max_accuracy: the highest of any classification epoch on the test images.
        max_epoch: the first epoch that reaches `max_accuracy`.
        epochs_to_99: the first epoch that reaches 99 % of `max_accuracy` (Figure 3).
        distill_epochs: epochs of the student-teacher phase.
        final_accuracy: after the last classification epoch.
        accuracy_drop: `baseline_accuracy - chosen_accuracy`; negative for a gain.
        parent_parameters, parameters: numbers that parent and student store.
        parent_macs, macs: multiply-accumulates for one image, as `costs.macs` counts them.
        seconds: the trial's duration.
        chosen_epoch: if the learning rate falls to zero, the last epoch; else the best on the
            validation images or, without these, `max_epoch`.
        chosen_accuracy: on the test images at that epoch.
        reinitialized_accuracy: the parent's with the block's kernels reinitialized; None for
            the control and in a compression.
        bypassed_accuracy: the parent's with the block bypassed; None for the control, in a
            compression, and if the shapes don't match.
        similarity: linear CKA of what block and replacement return for the same input.
        parent_bytes, bytes: size of the saved weights; None if models are not saved.
            `parent_bytes` is None for steps after the first of a compression.
        parent_latency ... batch_latency_spread: seconds for one image and for a large batch,
            as medians and interquartile ranges; None if not measured.
        final_drop: `baseline_accuracy - final_accuracy`; None in rows of earlier versions.
    """

    dataset: str
    method: str
    block: str
    seed: int
    baseline_accuracy: float
    initial_accuracy: float
    distilled_accuracy: float | None
    max_accuracy: float
    max_epoch: int
    epochs_to_99: int
    distill_epochs: int
    final_accuracy: float
    accuracy_drop: float
    parent_parameters: int
    parameters: int
    parent_macs: int
    macs: int
    seconds: float
    chosen_epoch: int
    chosen_accuracy: float
    reinitialized_accuracy: float | None = None
    bypassed_accuracy: float | None = None
    similarity: float | None = None
    parent_bytes: int | None = None
    bytes: int | None = None
    parent_latency: float | None = None
    parent_latency_spread: float | None = None
    latency: float | None = None
    latency_spread: float | None = None
    parent_batch_latency: float | None = None
    parent_batch_latency_spread: float | None = None
    batch_latency: float | None = None
    batch_latency_spread: float | None = None
    final_drop: float | None = None

    @property
    def trial(self) -> tuple[str, str, int]:
        """Method, block and seed."""
        return self.method, self.block, self.seed


COLUMNS = tuple(column.name for column in dataclasses.fields(Row))
_TEXT_COLUMNS = ("dataset", "method", "block")


@dataclass(frozen=True)
class Failure:
    """The `result.json` of a training that failed.

    Attributes:
        settings: everything that determines the training.
        reason: why the training failed.
    """

    settings: dict[str, object]
    reason: str


@dataclass(frozen=True)
class TrialResult:
    """The `result.json` of a finished trial.

    Attributes:
        settings: everything that determines the trial.
        row: the trial's line of `results.csv`.
        files: SHA-256 of the folder's other files, by name.
    """

    settings: dict[str, object]
    row: Row
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ParentResult:
    """The `result.json` of a parent.

    Attributes:
        settings: everything that determines the parent.
        baseline_accuracy: on the test images at the chosen epoch, 0..1.
        max_epoch: the chosen epoch; None, like the next two, if the user gave the parent.
        final_accuracy: after the last epoch.
        epochs: the number of epochs trained.
        weights_sha256: a digest of the weights, which identifies the parent.
        parameters: the number of values that the model stores.
        macs: multiply-accumulates for one image.
        seconds: duration of the training, or of the evaluation of a given parent.
        files: SHA-256 of the folder's other files, by name.
    """

    settings: dict[str, object]
    baseline_accuracy: float
    max_epoch: int | None
    final_accuracy: float | None
    weights_sha256: str
    parameters: int
    macs: int
    seconds: float
    epochs: int | None = None
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NetworkResult:
    """The `result.json` of a network that was trained as a whole, beside the study's trials.

    Attributes:
        settings: everything that determines the training.
        accuracy: on the test images at the chosen epoch, 0..1.
        judged_accuracy: on the validation images at that epoch; `accuracy` without these.
        epochs: the number of epochs trained.
        parameters: the number of values that the model stores.
        macs: multiply-accumulates for one image.
        seconds: duration of the training.
        files: SHA-256 of the folder's other files, by name.
    """

    settings: dict[str, object]
    accuracy: float
    judged_accuracy: float
    epochs: int
    parameters: int
    macs: int
    seconds: float
    files: dict[str, str] = field(default_factory=dict)


Result = TypeVar("Result", TrialResult, ParentResult, NetworkResult)


def differences(recorded: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """Returns one text per setting that differs, such as `epochs: 2, now 3`.

    A folder of images that has moved is no difference if their digest is the same.
    """
    differing = [
        name
        for name in (*recorded, *(name for name in wanted if name not in recorded))
        if recorded.get(name) != wanted.get(name)
    ]
    if "images_digest" in recorded and "images_digest" not in differing:
        differing = [name for name in differing if name != "image_dir"]
    return [
        f"{name}: {recorded.get(name, 'not set')}, now {wanted.get(name, 'not set')}"
        for name in differing
    ]


def trial_folder(study: Path, method: str, block: str, seed: int) -> Path:
    """Returns a trial's folder."""
    return study / "trials" / f"{method}-{block}-seed{seed}"


def lock_file(folder: Path) -> Path:
    """Returns the lock file of a trial or a parent, which lies beside its folder."""
    return folder.with_name(f"{folder.name}.lock")


def read_trial(folder: Path) -> TrialResult | Failure | None:
    """Returns a trial's result; None if there is none yet.

    Raises:
        DamagedFile: if `result.json` has changed since it was written.
    """
    return _read(folder, lambda row, **others: TrialResult(row=Row(**row), **others))


def read_parent(folder: Path) -> ParentResult | None:
    """Returns a finished parent's result; None if there is none.

    Raises:
        DamagedFile: if `result.json` has changed since it was written.
    """
    result = _read(folder, ParentResult)
    return None if isinstance(result, Failure) else result


def read_network(folder: Path) -> NetworkResult | Failure | None:
    """Returns the result of a network that was trained as a whole; None if there is none yet.

    Raises:
        DamagedFile: if `result.json` has changed since it was written.
    """
    return _read(folder, NetworkResult)


def _read(folder: Path, finished: Callable[..., Result]) -> Result | Failure | None:
    content = files.read_json(folder / "result.json")
    if content is None:
        return None
    status, reason = content.pop("status"), content.pop("reason")
    return finished(**content) if status == "finished" else Failure(content["settings"], reason)


def write_result(
    folder: Path, result: ParentResult | TrialResult | NetworkResult | Failure
) -> None:
    """Writes `result.json`."""
    status = "failed" if isinstance(result, Failure) else "finished"
    content = {"status": status, "reason": None} | dataclasses.asdict(result)
    files.write_json(folder / "result.json", content)


def digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file in a trial's or a parent's folder but `result.json`."""
    names = ("epochs.jsonl", "model.keras", CORRECT, FINAL_CORRECT)
    return {name: files.digest(folder / name) for name in names if (folder / name).is_file()}


def check_files(folder: Path, recorded: dict[str, str], all_there: bool = False) -> None:
    """Raises DamagedFile if a file differs from its recorded SHA-256.

    One may be missing, unless `all_there`.
    """
    found = digests(folder)
    for name in recorded | found:
        if name in found and found[name] != recorded.get(name):
            raise DamagedFile(f"{folder / name} is damaged: its content has changed")
        if all_there and name not in found:
            raise DamagedFile(f"{folder / name} is missing")


def read_epochs(folder: Path) -> list[Epoch]:
    """Returns the epochs in a trial's or a parent's `epochs.jsonl`, in order."""
    with (folder / "epochs.jsonl").open(encoding="utf-8") as lines:
        return [Epoch(**json.loads(line)) for line in lines]


def write_table(study: Path, rows: Iterable[Row]) -> None:
    """Writes `results.csv`, one line per row, in the given order."""
    with (
        files.replacing(study / "results.csv") as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(map(dataclasses.asdict, rows))


def read_table(study: Path) -> list[Row]:
    """Returns the rows of `results.csv`."""
    with (study / "results.csv").open(newline="", encoding="utf-8") as file:
        return [
            Row(**{name: _cell(name, text) for name, text in line.items()})
            for line in csv.DictReader(file)
        ]


def _cell(name: str, text: str) -> object:
    if name in _TEXT_COLUMNS or not text:
        return text or None
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number
