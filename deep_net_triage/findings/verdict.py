"""What a study comes to: which blocks can be compressed, at what cost, and what to take."""

from dataclasses import dataclass

import numpy as np

from deep_net_triage.findings.statistics import Estimate, accuracy_difference
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import StudyResults, mean


@dataclass(frozen=True)
class MethodSummary:
    """What one method makes of one compressed block.

    Attributes:
        method: its name in `METHODS`.
        difference: accuracy of the student minus the parent's, 0..1, the mean over seeds.
        estimate: the same with its interval; None where no interval was kept.
        seeds: how many trials finished.
    """

    method: str
    difference: float
    estimate: Estimate | None
    seeds: int


@dataclass(frozen=True)
class BlockSummary:
    """What compressing one block costs and saves.

    Attributes:
        block: its name.
        best: the method that loses least.
        others: the other methods, those that lose less first.
        parameters_saved: as a fraction of the parent's.
        macs_saved: likewise, of the multiply-accumulates.
        tied_with: blocks whose best method no interval tells apart from this one's.
    """

    block: str
    best: MethodSummary
    others: tuple[MethodSummary, ...]
    parameters_saved: float
    macs_saved: float
    tied_with: tuple[str, ...]


@dataclass(frozen=True)
class NotCompressible:
    """A segment of the network, from its first to its last layer, that can't be triaged."""

    first: str
    last: str
    reason: str


@dataclass(frozen=True)
class Recommendation:
    """The trained student to take in the parent's place.

    Attributes:
        block: which block is compressed.
        method: by which method it was retrained.
        seed: of the trial.
        difference: accuracy of this student minus the parent's, 0..1.
        estimate: the same with this one model's interval; None where no interval was kept.
        parameters_saved: as a fraction of the parent's.
        macs_saved: likewise.
        sure: whether the whole interval is within what may be lost, not only the difference.
    """

    block: str
    method: str
    seed: int
    difference: float
    estimate: Estimate | None
    parameters_saved: float
    macs_saved: float
    sure: bool


@dataclass(frozen=True)
class Verdict:
    """What a study comes to.

    Attributes:
        dataset: its name.
        max_drop: the accuracy that may be lost, 0..1.
        ranking: blocks with finished trials, the most compressible first.
        not_compressible: what can't be triaged; never ranked.
        not_run: blocks without a finished trial; never ranked.
        recommendation: the student to take; None where none is within `max_drop`.
    """

    dataset: str
    max_drop: float
    ranking: tuple[BlockSummary, ...]
    not_compressible: tuple[NotCompressible, ...]
    not_run: tuple[str, ...]
    recommendation: Recommendation | None


def reach(study: StudyResults, max_drop: float) -> Verdict:
    """Ranks a study's blocks by what compressing them costs, and recommends one student.

    A block's cost is that of its best method (criticality, section 4). Each interval holds 95 %
    by itself: not corrected for are the choice of the best method and of the student by the
    same numbers, and how many pairs of blocks are looked at for ties.

    Args:
        study: its results.
        max_drop: the accuracy that may be lost, 0..1.
    """
    methods = _methods(study)
    blocks = [_summarize(study, block, methods) for block in methods]
    return Verdict(
        dataset=study.dataset,
        max_drop=max_drop,
        ranking=tuple(sorted(blocks, key=lambda block: -block.best.difference)),
        not_compressible=tuple(
            NotCompressible(segment["first"], segment["last"], segment["reason"])
            for segment in study.refused
        ),
        not_run=tuple(b["name"] for b in study.blocks if b["name"] not in methods),
        recommendation=_recommend(study, max_drop),
    )


def describe(verdict: Verdict) -> str:
    """Returns the verdict as lines for the terminal: accuracy in points against the parent."""
    lines = [f"{verdict.dataset}: blocks from the most compressible to the most critical"]
    for place, block in enumerate(verdict.ranking, start=1):
        lines.append(f"  {place}. {block.block}: {_cost(block.best)}; {_savings(block)}")
        if block.tied_with and block.best.estimate:
            lines.append(f"     no interval tells it apart from {', '.join(block.tied_with)}")
    for segment in verdict.not_compressible:
        lines.append(f"  not compressible: {segment.first} to {segment.last}: {segment.reason}")
    if verdict.not_run:
        lines.append(f"  not run: {', '.join(verdict.not_run)}")
    return "\n".join([*lines, *_advice(verdict)])


def kept_correct(study: StudyResults, method: str, block: str) -> dict[int, np.ndarray]:
    """Returns by seed which images the trials of a method and block get right, where kept."""
    return {
        seed: correct
        for (its_method, its_block, seed), correct in sorted(study.correct.items())
        if (its_method, its_block) == (method, block)
    }


def against_parent(study: StudyResults, method: str, block: str) -> Estimate | None:
    """Returns the accuracy of students minus the parent's; None where no interval was kept."""
    correct = kept_correct(study, method, block)
    if not correct or study.parent_correct is None:
        return None
    return accuracy_difference(np.stack(list(correct.values())), study.parent_correct)


def between(first: dict[int, np.ndarray], second: dict[int, np.ndarray]) -> Estimate | None:
    """Returns the accuracy of some students minus that of others, over the seeds of both.

    Args:
        first: by seed, which images a student gets right, as `kept_correct` returns it.
        second: the same for the others.

    Returns:
        None where they share no seed.
    """
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return None
    return accuracy_difference(
        np.stack([first[seed] for seed in seeds]), np.stack([second[seed] for seed in seeds])
    )


def _rows(study: StudyResults) -> list[dict[str, object]]:
    # A control is no way to compress a block.
    return [row for row in study.rows if row["method"] in METHODS]


def _methods(study: StudyResults) -> dict[str, list[MethodSummary]]:
    """Summarises by block the methods tried on it, the one that loses least first."""
    trials: dict[tuple[str, str], list[dict[str, object]]] = {}
    for row in _rows(study):
        trials.setdefault((row["block"], row["method"]), []).append(row)
    summaries: dict[str, list[MethodSummary]] = {}
    for (block, method), rows in trials.items():
        estimate = against_parent(study, method, block)
        difference = _difference(study, rows, estimate)
        summary = MethodSummary(method, difference, estimate, len(rows))
        summaries.setdefault(block, []).append(summary)
    return {
        block: sorted(tried, key=lambda summary: -summary.difference)
        for block, tried in summaries.items()
    }


def _difference(
    study: StudyResults, rows: list[dict[str, object]], estimate: Estimate | None
) -> float:
    """Returns the accuracy of a method's trials minus the parent's, as its interval has it."""
    if estimate is not None:
        return estimate.mean
    chosen = [row.get("chosen_accuracy") for row in rows]
    # Older files hold the maximum only.
    accuracies = [
        row["max_accuracy"] if accuracy is None else accuracy
        for row, accuracy in zip(rows, chosen, strict=True)
    ]
    return mean(accuracies) - study.baseline_accuracy


def _summarize(
    study: StudyResults, block: str, methods: dict[str, list[MethodSummary]]
) -> BlockSummary:
    correct = {name: kept_correct(study, methods[name][0].method, name) for name in methods}
    parameters_saved, macs_saved = _saved(
        next(row for row in _rows(study) if row["block"] == block)
    )
    return BlockSummary(
        block=block,
        best=methods[block][0],
        others=tuple(methods[block][1:]),
        parameters_saved=parameters_saved,
        macs_saved=macs_saved,
        tied_with=tuple(
            other
            for other in methods
            if other != block and not _told_apart(between(correct[block], correct[other]))
        ),
    )


def _told_apart(estimate: Estimate | None) -> bool:
    return estimate is not None and not estimate.low <= 0 <= estimate.high


def _saved(row: dict[str, object]) -> tuple[float, float]:
    """Returns the parameters and the multiply-accumulates saved, as fractions."""
    return (
        1 - row["parameters"] / row["parent_parameters"],
        1 - row["macs"] / row["parent_macs"],
    )


def _recommend(study: StudyResults, max_drop: float) -> Recommendation | None:
    """Prefers who is surely within `max_drop`, then who saves most, then who loses least."""
    candidates = [_candidate(study, row, max_drop) for row in _rows(study)]
    within = [
        candidate
        for candidate in candidates
        # A drop of just as much as allowed must count, whatever the last bit of the difference;
        # what saves nothing is no compression, however little it loses.
        if candidate.difference >= -max_drop - 1e-12
        and (candidate.macs_saved, candidate.parameters_saved) > (0, 0)
    ]
    return max(
        within,
        key=lambda c: (c.sure, c.macs_saved, c.parameters_saved, c.difference),
        default=None,
    )


def _candidate(study: StudyResults, row: dict[str, object], max_drop: float) -> Recommendation:
    name = row["method"], row["block"], row["seed"]
    estimate = None
    if name in study.correct and study.parent_correct is not None:
        estimate = accuracy_difference(study.correct[name][np.newaxis], study.parent_correct)
    parameters_saved, macs_saved = _saved(row)
    return Recommendation(
        block=row["block"],
        method=row["method"],
        seed=row["seed"],
        difference=_difference(study, [row], estimate),
        estimate=estimate,
        parameters_saved=parameters_saved,
        macs_saved=macs_saved,
        sure=estimate is not None and estimate.low >= -max_drop,
    )


def _advice(verdict: Verdict) -> list[str]:
    advised = verdict.recommendation
    allowed = f"{100 * verdict.max_drop:.1f} points"
    if advised is None:
        return [f"No compression that was run stays within {allowed} of the parent."]
    title = f"{advised.block} by {METHODS[advised.method].title}, seed {advised.seed}"
    numbers = f"  {_points(advised.difference, advised.estimate)}; {_savings(advised)}"
    if advised.sure:
        return [f"Recommended, within {allowed} of the parent: {title}", numbers]
    why = "no interval was kept" if advised.estimate is None else "its interval reaches below"
    return [
        f"Not sure, but on average within {allowed} of the parent: {title}",
        numbers,
        f"  not sure, because {why}",
    ]


def _cost(summary: MethodSummary) -> str:
    seeds = "1 seed" if summary.seeds == 1 else f"{summary.seeds} seeds"
    points = _points(summary.difference, summary.estimate)
    return f"{METHODS[summary.method].title} {points}, {seeds}"


def _points(difference: float, estimate: Estimate | None) -> str:
    if estimate is None:
        # Adding zero turns a rounded -0.0 into 0.0.
        return f"{round(100 * difference, 1) + 0.0:+.1f} points (no interval kept)"
    return estimate.text("points", 100)


def _savings(saving: BlockSummary | Recommendation) -> str:
    return (
        f"saves {100 * saving.macs_saved:.1f} % of the multiply-accumulates, "
        f"{100 * saving.parameters_saved:.1f} % of the parameters"
    )
