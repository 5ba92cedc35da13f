"""The results of `--compress`: `compressed/result.json`.

The deciding images are the validation images or, if there are none, the test images.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deep_net_triage.network.latencies import Latency
from deep_net_triage.records import files

FOLDER = "compressed"


@dataclass(frozen=True)
class Considered:
    """A block, or a half of one, that could be compressed.

    Attributes:
        block: its name.
        method: by which its student lost least.
        cost: the accuracy that this student lost on the deciding images, 0..1.
        saved: the share of the parent's arithmetic, parameters or latency that it saves.
        low, high: the 95 % interval of the cost, paired on those images.
    """

    block: str
    method: str
    cost: float
    saved: float
    low: float
    high: float


@dataclass(frozen=True)
class Step:
    """An attempt to compress one more block.

    Attributes:
        block: its name.
        method: by which the network was retrained.
        kept: whether the network was still accurate enough.
        judged_accuracy: of the network on the deciding images, 0..1; None, like the others,
            if the training failed.
        accuracy: on the test images, 0..1.
        parameters, macs: of the network.
    """

    block: str
    method: str
    kept: bool = False
    judged_accuracy: float | None = None
    accuracy: float | None = None
    parameters: int | None = None
    macs: int | None = None


@dataclass(frozen=True)
class Final:
    """The retraining of the whole compressed network, after all steps.

    Attributes:
        seed: of the order of images.
        folder: of its files, in the folder of the compression.
        judged_accuracy: on the deciding images, 0..1.
        accuracy: on the test images, 0..1.
    """

    seed: int
    folder: str
    judged_accuracy: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Compression:
    """The result of a compression.

    Attributes:
        save: what was to be saved: macs, parameters or latency.
        max_drop: the accuracy that might be lost on the deciding images, 0..1.
        held_out: the number of validation images; 0 if the test images decide.
        baseline_judged: the parent's accuracy on the deciding images, 0..1.
        baseline_accuracy: on the test images.
        candidates: what could be compressed.
        steps: what was tried, in order.
        finals: the final retrainings, one for each seed, the saved one first.
        accuracy: of the saved model on the test images, 0..1; None if there is none.
        epochs: that the saved model was trained for after the parent, undone steps not counted.
        parent_parameters, parent_macs: of the parent.
        parameters, macs: of the saved model.
    """

    save: str
    max_drop: float
    held_out: int
    baseline_judged: float
    baseline_accuracy: float
    candidates: tuple[Considered, ...]
    steps: tuple[Step, ...]
    finals: tuple[Final, ...]
    accuracy: float | None
    epochs: int
    parent_parameters: int
    parent_macs: int
    parameters: int
    macs: int

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the compressed blocks, in the order in which they were compressed."""
        return tuple(step.block for step in self.steps if step.kept)

    @property
    def final(self) -> Final | None:
        """The final retraining whose model is saved; None if the last kept step's is."""
        return final_to_save(self.steps, self.finals)


def final_to_save(steps: Sequence[Step], finals: Sequence[Final]) -> Final | None:
    """Returns the first final retraining; None if the last kept step was more accurate."""
    kept = [step for step in steps if step.kept]
    if kept and finals and finals[0].judged_accuracy >= kept[-1].judged_accuracy:
        return finals[0]
    return None


def step_folder(study: Path, number: int, method: str, block: str) -> Path:
    """Returns the folder of a step's files.

    Args:
        study: its folder.
        number: of the step, from 1.
        method: by which the network was retrained.
        block: the name of the block that was compressed.
    """
    return study / FOLDER / f"{number}-{method}-{block}"


def final_folder(steps: Sequence[Step], seed: int | str) -> str:
    """Returns the name of the folder of the final retraining that follows the kept steps."""
    kept = "-".join(str(number) for number, step in enumerate(steps, start=1) if step.kept)
    return f"final-of-{kept}-seed{seed}"


def write(study: Path, compression: Compression) -> None:
    """Writes the result of a compression into a study's folder."""
    files.write_json(study / FOLDER / "result.json", dataclasses.asdict(compression))


def read(study: Path) -> Compression | None:
    """Returns the result of a study's compression.

    Returns None if there is none, or if an earlier version of this program wrote it.

    Raises:
        DamagedFile: if the file has changed since it was written.
    """
    content = files.read_json(study / FOLDER / "result.json")
    fields = {field.name for field in dataclasses.fields(Compression)}
    if content is None or content.keys() != fields:
        return None
    parts = {"candidates": Considered, "steps": Step, "finals": Final}
    for name, kind in parts.items():
        content[name] = tuple(kind(**part) for part in content[name])
    return Compression(**content)


def remove_latencies(study: Path) -> None:
    """Removes what was measured of an earlier network."""
    (study / FOLDER / "latency.json").unlink(missing_ok=True)


def write_latencies(study: Path, latencies: Sequence[Latency]) -> None:
    """Writes what the parent and the compressed network take."""
    written = [dataclasses.asdict(one) for one in latencies]
    files.write_json(study / FOLDER / "latency.json", {"latencies": written})


def read_latencies(study: Path) -> tuple[Latency, ...]:
    """Returns what the parent and the compressed network take; nothing if it was not measured.

    Raises:
        DamagedFile: if the file has changed since it was written.
    """
    content = files.read_json(study / FOLDER / "latency.json") or {"latencies": []}
    return tuple(Latency(**one) for one in content["latencies"])
