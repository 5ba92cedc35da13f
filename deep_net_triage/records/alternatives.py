"""The results of `--alternatives`: a folder for each training in `alternatives/`."""

import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deep_net_triage.records import compressions, correctness, files, results
from deep_net_triage.records.compressions import Compression
from deep_net_triage.records.results import Failure, NetworkResult

FOLDER = "alternatives"


@dataclass(frozen=True)
class Kind:
    """One way to a smaller network, trained for as many epochs as the compressed one.

    Attributes:
        title: in tables and figures.
        meaning: what it is, as a sentence's predicate.
        taught: whether it learns the parent's logits besides the labels.
        from_scratch: whether it starts from random weights, and trains at a parent's rate.
    """

    title: str
    meaning: str
    taught: bool
    from_scratch: bool = False


# In the order of tables. The first two have the compressed network's architecture. The others
# have no more multiply-accumulates than it, except perhaps `left_out`.
KINDS = {
    "scratch": Kind(
        "from scratch",
        "trains the compressed architecture from scratch",
        taught=False,
        from_scratch=True,
    ),
    "scratch_taught": Kind(
        "from scratch, distilled",
        "trains the compressed architecture from scratch, distilled from the parent's logits",
        taught=True,
        from_scratch=True,
    ),
    "left_out": Kind(
        "blocks left out",
        "leaves out those of the blocks that keep the shape of the maps, and retrains the rest",
        taught=True,
    ),
    "narrow": Kind(
        "narrower",
        "trains the parent with narrower layers from scratch, distilled from its logits",
        taught=True,
        from_scratch=True,
    ),
    "pruned": Kind(
        "pruned",
        "prunes filters of the same blocks by their L1 norm, and retrains",
        taught=True,
    ),
}


@dataclass(frozen=True)
class Alternative:
    """A smaller network that was trained instead of the compressed one.

    Attributes:
        kind: a key of `KINDS`.
        seed: of weights and of the order of images.
        result: of its training.
        correct: which test images it classifies correctly, bool, (images,).
        train_accuracy: on the training images in its last epoch, 0..1; None if unknown.
    """

    kind: str
    seed: int
    result: NetworkResult
    correct: np.ndarray
    train_accuracy: float | None = None


def folder_of(study: Path, kind: str, seed: int) -> Path:
    """Returns the folder of an alternative's files."""
    return study / FOLDER / f"{kind}-seed{seed}"


def all_ended(
    study: Path, seeds: Iterable[int], rates: Mapping[str, float], temperature: float
) -> bool:
    """Returns whether each kind that is possible has been trained from each seed.

    Args:
        study: its folder.
        seeds: of the trainings.
        rates: as for `remove_those_of_another`.
        temperature: as for `remove_those_of_another`.
    """
    impossible = refusals(study)
    trained = {
        folder
        for kind, folder, result in _ended(study)
        if isinstance(result, NetworkResult) and _used(kind, result, rates, temperature)
    }
    return all(
        folder_of(study, kind, seed) in trained
        for kind, seed in itertools.product(KINDS, seeds)
        if kind not in impossible
    )


def _used(
    kind: str, result: NetworkResult | Failure, rates: Mapping[str, float], temperature: float
) -> bool:
    """Returns whether a training used this learning rate and, if taught, this temperature."""
    settings = result.settings
    same_rate = settings["learning_rate"] == rates[kind]
    return same_rate and (not KINDS[kind].taught or settings["temperature"] == temperature)


def read(study: Path, images: int) -> list[Alternative]:
    """Returns the alternatives that have ended and are not damaged, in the order of tables.

    Args:
        study: its folder.
        images: the number of test images.
    """
    trained: list[Alternative] = []
    for kind, folder, result in _ended(study):
        file = folder / results.CORRECT
        if isinstance(result, NetworkResult) and files.is_as_recorded(file, result.files):
            correct, seed = correctness.read(file, images), result.settings["seed"]
            learned = _train_accuracy(folder, result)
            trained.append(Alternative(kind, seed, result, correct, learned))
    return trained


def _train_accuracy(folder: Path, result: NetworkResult) -> float | None:
    if not files.is_as_recorded(folder / "epochs.jsonl", result.files):
        return None
    return results.read_epochs(folder)[-1].accuracy


def remove_others(study: Path, kind: str, settings: Mapping[str, object]) -> list[Path]:
    """Removes trainings of a kind that differ in more than their seed, and returns them.

    Args:
        study: its folder.
        kind: a key of `KINDS`.
        settings: what determined one training of this kind.
    """
    wanted = _without_seed(settings)
    others = [
        folder
        for other, folder, result in _ended(study)
        if other == kind and _without_seed(result.settings) != wanted
    ]
    for folder in others:
        shutil.rmtree(folder)
    return others


def failures(study: Path) -> dict[str, str]:
    """Returns why trainings of alternatives failed, by the names of their folders."""
    ended = _ended(study)
    return {f.name: result.reason for _, f, result in ended if isinstance(result, Failure)}


def write_refusals(study: Path, refusals: dict[str, str]) -> None:
    """Writes why some kinds can't be made of this network, by their names."""
    files.write_json(study / FOLDER / "refused.json", refusals)


def refusals(study: Path) -> dict[str, str]:
    """Returns why some kinds can't be made of this network, by their names."""
    return files.unless_damaged(files.read_json, study / FOLDER / "refused.json") or {}


def _without_seed(settings: Mapping[str, object]) -> dict[str, object]:
    # Weights that are drawn at random differ with the seed.
    return {k: v for k, v in settings.items() if k not in ("seed", "start_sha256")}


def _ended(study: Path) -> Iterator[tuple[str, Path, NetworkResult | Failure]]:
    """Yields kind, folder and result of each training that has ended, if it is not damaged."""
    for kind in KINDS:
        for folder in sorted((study / FOLDER).glob(f"{kind}-seed*/")):
            result = files.unless_damaged(results.read_network, folder)
            # A copy of a folder, under another name, does not count.
            if result and folder == folder_of(study, kind, result.settings["seed"]):
                yield kind, folder, result


def remove_those_of_another(
    study: Path, compression: Compression, rates: Mapping[str, float], temperature: float
) -> list[Path]:
    """Removes latencies of, and alternatives to, another compressed network.

    Alternatives that were trained at another learning rate or temperature go as well.

    Args:
        study: the study's folder, with the result of the compression before this one, if any.
        compression: of the network that stays.
        rates: the learning rate of each kind.
        temperature: of distillation.

    Returns:
        The folders of the alternatives that were removed.
    """
    before = files.unless_damaged(compressions.read, study)
    same = before and _compared(before) == _compared(compression)
    if not same:
        compressions.remove_latencies(study)
    others = [
        folder
        for kind, folder, result in _ended(study)
        if not (same and _used(kind, result, rates, temperature))
    ]
    for folder in [study / FOLDER] if not same else others:
        shutil.rmtree(folder, ignore_errors=True)
    return others


def _compared(compression: Compression) -> tuple[set[str], int, int]:
    """Returns what alternatives depend on; the order of blocks does not matter to them."""
    return set(compression.blocks), compression.macs, compression.epochs
