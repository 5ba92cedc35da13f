"""The compressed network beside its alternatives, as numbers with 95 % intervals.

All are compared on the same test images, paired by image. Seeds are not paired: the trainings
differ.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deep_net_triage.findings.recommendation import within
from deep_net_triage.findings.statistics import Estimate, against_parent, unpaired_difference
from deep_net_triage.network.latencies import Latency
from deep_net_triage.records import alternatives, compressions, correctness, files, results
from deep_net_triage.records.alternatives import KINDS, Alternative
from deep_net_triage.records.compressions import Compression
from deep_net_triage.records.results import Failure, NetworkResult, TrialResult
from deep_net_triage.records.study_results import StudyResults, mean

# A difference of less than this share of the parent's multiply-accumulates counts as none.
_ALIKE = 0.01

# By seed, which test images a network classifies correctly, bool, (images,).
Correct = Mapping[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class Rival:
    """The compressed network, or an alternative to it.

    Attributes:
        kind: of alternative, a key of `KINDS`; None for the compressed network.
        correct: by seed, which test images it classifies correctly.
        accuracy: on the test images, 0..1; the mean over seeds.
        macs, parameters: of the network.
        runs: the number of trainings that led from the parent to one such network.
        train_accuracies: by seed, on the training images in its last epoch; seeds without are
            left out.
        from_parent: its accuracy minus the parent's; None where there is no interval.
        from_compressed: its accuracy minus the compressed network's, likewise.
    """

    kind: str | None
    correct: Correct
    accuracy: float
    macs: int
    parameters: int
    runs: int
    train_accuracies: Mapping[int, float] = field(default_factory=dict)
    from_parent: Estimate | None = None
    from_compressed: Estimate | None = None

    @property
    def name(self) -> str:
        """What sentences call it."""
        return f'"{KINDS[self.kind].title}"' if self.kind else "the compressed network"

    def loses_more_than(self, max_drop: float) -> bool:
        """Returns whether its mean is known, and further below the parent's accuracy, 0..1."""
        return self.from_parent is not None and not within(self.from_parent.mean, max_drop)


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """The compressed network among its alternatives, told apart by their 95 % intervals.

    Attributes:
        better: alternatives that are better and take no more arithmetic, best first.
        costlier: alternatives that are better but take more arithmetic, best first.
        level: alternatives that no interval tells apart from the compressed network.
        worse: alternatives whose whole interval is below it, the closest one first.
        foremost: `better`; if that is empty, the compressed network and `level`.
        unbeaten: the foremost networks that no interval shows to be worse than another of them.
        eligible: those of `unbeaten` that lose no more than is allowed; all of it if none do.
        to_take: the cheapest eligible network; None if no block was compressed.
    """

    better: Sequence[Rival] = ()
    costlier: Sequence[Rival] = ()
    level: Sequence[Rival] = ()
    worse: Sequence[Rival] = ()
    foremost: Sequence[Rival] = ()
    unbeaten: Sequence[Rival] = ()
    eligible: Sequence[Rival] = ()
    to_take: Rival | None = None


@dataclass(frozen=True, eq=False)
class Smaller:
    """What `--compress` and `--alternatives` came to.

    Attributes:
        compression: as recorded.
        compressed: the network that was saved; None if no block was compressed. It has a
            correctness and an accuracy for each seed of the final retraining.
        alternatives: that have finished, in the order of `KINDS`.
        refused: why some alternatives can't be made of this network, by their titles.
        failed: why trials of halves, final retrainings and alternatives failed, by the names of
            their folders.
        latencies: of the parent and the compressed network; empty if not measured.
        doubt: why drops from the parent are meaningless, as the verdict says; None if they are
            not, or if there is no verdict yet.
        stuck: which alternatives may have got stuck, as a sentence; None without any, with a
            doubt, or if there is no verdict yet.
    """

    compression: Compression
    compressed: Rival | None = None
    alternatives: tuple[Rival, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    latencies: tuple[Latency, ...] = ()
    doubt: str | None = None
    stuck: str | None = None

    def macs_saved(self, macs: int) -> float:
        """Returns the share of the parent's multiply-accumulates that a network saves."""
        return 1 - macs / self.compression.parent_macs

    def parameters_saved(self, parameters: int) -> float:
        """Returns the share of the parent's parameters that a network saves."""
        return 1 - parameters / self.compression.parent_parameters

    @functools.cached_property
    def standing(self) -> Standing:
        """Where the compressed network stands among its alternatives."""
        if self.compressed is None:
            return Standing()
        compared = [rival for rival in self.alternatives if rival.from_compressed is not None]
        by_gain = sorted(compared, key=lambda rival: -rival.from_compressed.mean)
        above = [rival for rival in by_gain if rival.from_compressed.low > 0]
        worse = [rival for rival in by_gain if rival.from_compressed.high < 0]
        better = [rival for rival in above if rival in self.as_cheap([self.compressed, rival])]
        level = [rival for rival in compared if rival not in (*above, *worse)]
        foremost = better or [self.compressed, *level]
        unbeaten = [one for one in foremost if not any(beats(other, one) for other in foremost)]
        most = self.compression.max_drop
        eligible = [one for one in unbeaten if not one.loses_more_than(most)] or unbeaten
        return Standing(
            better=better,
            costlier=[rival for rival in above if rival not in better],
            level=level,
            worse=worse,
            foremost=foremost,
            unbeaten=unbeaten,
            eligible=eligible,
            to_take=self.cheapest(eligible),
        )

    def cheapest(self, networks: Sequence[Rival]) -> Rival:
        """Returns a network of about the fewest multiply-accumulates.

        Ties go to the network with fewer runs, then to the more accurate one.
        """
        cheap = self.as_cheap(networks)
        return min(cheap, key=lambda rival: (rival.runs, -rival.accuracy, rival.macs))

    def as_cheap(self, networks: Sequence[Rival]) -> list[Rival]:
        """Returns the networks of about the fewest multiply-accumulates."""
        least = min(rival.macs for rival in networks)
        room = _ALIKE * self.compression.parent_macs
        return [rival for rival in networks if rival.macs - least < room]


def beats(one: Rival, other: Rival) -> bool:
    """Returns whether the whole 95 % interval of the difference is in favour of the first."""
    difference = unpaired_difference(one.correct, other.correct)
    return difference is not None and difference.low > 0


def read(study: StudyResults) -> Smaller | None:
    """Returns what a study's compression and its alternatives came to.

    Returns None without a compression, or if its result is damaged.
    """
    if not (study.folder and study.test_images):
        return None
    compression = files.unless_damaged(compressions.read, study.folder)
    if compression is None:
        return None
    failed = _failures(study.folder, compression)
    if not compression.blocks:
        return Smaller(compression, failed=failed)
    read_in = alternatives.read(study.folder, study.test_images)
    refusals = alternatives.refusals(study.folder)
    return compare(
        compression,
        _correct(study.folder, compression, study.test_images),
        read_in,
        study.parent_correct,
        refused={KINDS[kind].title: refusals[kind] for kind in KINDS if kind in refusals},
        failed=failed | alternatives.failures(study.folder),
        latencies=files.unless_damaged(compressions.read_latencies, study.folder) or (),
    )


def _failures(study: Path, compression: Compression) -> dict[str, str]:
    """Returns why trials of halves and final retrainings failed, by the names of their folders.

    Final retrainings of other networks do not count.
    """
    finals = compressions.final_folder(compression.steps, "*")
    failed = {}
    for pattern, read_in in (("half-*", results.read_trial), (finals, results.read_network)):
        for folder in sorted((study / compressions.FOLDER).glob(pattern)):
            result = files.unless_damaged(read_in, folder)
            if isinstance(result, Failure):
                failed[folder.name] = result.reason
    return failed


def compare(
    compression: Compression,
    correct: Correct,
    trained: Sequence[Alternative],
    parent: np.ndarray | None,
    **others: object,
) -> Smaller:
    """Returns a compressed network and its alternatives, compared with parent and each other.

    Args:
        compression: of at least one block.
        correct: by seed, which test images the compressed network classifies correctly.
        trained: the alternatives.
        parent: the same for the parent; None if unknown.
        **others: further attributes of `Smaller`.
    """
    final = compression.final
    reached = [one.accuracy for one in compression.finals] if final else [compression.accuracy]
    compressed = Rival(
        kind=None,
        correct=correct,
        accuracy=mean(reached),
        macs=compression.macs,
        parameters=compression.parameters,
        runs=len(compression.blocks) + (final is not None),
        from_parent=against_parent(correct, parent),
    )
    by_kind = {kind: [one for one in trained if one.kind == kind] for kind in KINDS}
    rivals = [
        _rival(kind, of_kind, compressed, parent)
        for kind, of_kind in by_kind.items()
        if of_kind
    ]
    return Smaller(compression, compressed, tuple(rivals), **others)


def _rival(
    kind: str, trained: Sequence[Alternative], compressed: Rival, parent: np.ndarray | None
) -> Rival:
    in_order = sorted(trained, key=lambda one: one.seed)
    correct = {one.seed: one.correct for one in in_order}
    first = in_order[0].result
    return Rival(
        kind=kind,
        correct=correct,
        accuracy=mean(one.result.accuracy for one in in_order),
        macs=first.macs,
        parameters=first.parameters,
        runs=1,
        train_accuracies={
            one.seed: one.train_accuracy for one in in_order if one.train_accuracy is not None
        },
        from_parent=against_parent(correct, parent),
        from_compressed=unpaired_difference(correct, compressed.correct),
    )


def _correct(study: Path, compression: Compression, images: int) -> dict[int, np.ndarray]:
    """Returns, by seed, which test images the compressed network classifies correctly.

    A seed is left out if its files are missing or damaged, or those of another search.
    """
    trained = _finals if compression.final else _last_step
    correct = {}
    for seed, folder, recorded in trained(study, compression):
        file = folder / results.CORRECT
        if files.is_as_recorded(file, recorded):
            correct[seed] = correctness.read(file, images)
    return correct


# A seed, the folder of its files, and their digests.
_Trained = tuple[int, Path, dict[str, str]]


def _finals(study: Path, compression: Compression) -> Iterator[_Trained]:
    for final in compression.finals:
        folder = study / compressions.FOLDER / final.folder
        made = files.unless_damaged(results.read_network, folder)
        recorded = final.accuracy, compression.macs
        if isinstance(made, NetworkResult) and (made.accuracy, made.macs) == recorded:
            yield final.seed, folder, made.files


def _last_step(study: Path, compression: Compression) -> Iterator[_Trained]:
    steps = enumerate(compression.steps, start=1)
    number, step = [numbered for numbered in steps if numbered[1].kept][-1]
    folder = compressions.step_folder(study, number, step.method, step.block)
    made = files.unless_damaged(results.read_trial, folder)
    if isinstance(made, TrialResult):
        reached = made.row.chosen_accuracy, made.row.macs
        if reached == (step.accuracy, step.macs):
            yield made.row.seed, folder, made.files
