"""What a study comes to: which blocks can be compressed, at what cost, and what to take."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deep_net_triage.findings import (
    comparisons,
    parent_doubts,
    recommendation,
    reported_accuracy,
    stuck,
)
from deep_net_triage.findings.accuracy_cost import Cost
from deep_net_triage.findings.recommendation import (
    Recommendation,
    savings_text,
    uncounted_text,
)
from deep_net_triage.findings.statistics import (
    Estimate,
    paired_difference,
    unpaired_difference,
)
from deep_net_triage.methods import METHODS
from deep_net_triage.network.descriptions import Refused
from deep_net_triage.records.results import Row
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.wording import allowed, counted


@dataclass(frozen=True)
class MethodSummary:
    """What one method makes of one compressed block.

    Attributes:
        method: its name in `METHODS`.
        cost: in accuracy, at the chosen epoch.
        last: the same at the last epoch; None where the schedule makes that the chosen one.
        seeds: the number of finished trials.
    """

    method: str
    cost: Cost
    last: Cost | None
    seeds: int


@dataclass(frozen=True)
class BlockSummary:
    """What compressing one block costs and saves.

    Attributes:
        block: its name.
        best: the method that loses least.
        parameters_saved: as a fraction of the parent's; negative where the student needs more.
        macs_saved: likewise, of the multiply-accumulates.
        tied_with: the blocks whose best method no interval tells apart from this one's.
    """

    block: str
    best: MethodSummary
    parameters_saved: float
    macs_saved: float
    tied_with: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What a study comes to.

    Attributes:
        dataset: its name.
        max_drop: the accuracy that may be lost, 0..1.
        ranking: the blocks with finished trials, the most compressible first.
        not_compressible: the segments that one convolution can't replace; never ranked.
        unfinished: the blocks without a finished trial; never ranked.
        doubt: why drops from the parent are meaningless, as one sentence; None if they are not.
        recommendation: the student to take; None where nothing is recommended.
        no_recommendation: why nothing is recommended, as one sentence; None where something is.
        uncounted: the layers whose multiply-accumulates are not counted.
        control: the control's difference from the parent; None without a finished control.
        reported: which epoch the accuracies are of, as one sentence.
        stuck: which trials may have got stuck, as text; None without any, or with a doubt.
    """

    dataset: str
    max_drop: float
    ranking: tuple[BlockSummary, ...]
    not_compressible: tuple[Refused, ...]
    unfinished: tuple[str, ...]
    doubt: str | None
    recommendation: Recommendation | None
    no_recommendation: str | None
    uncounted: tuple[str, ...]
    control: Cost | None
    reported: str
    stuck: str | None = None


def reach(study: StudyResults, max_drop: float) -> Verdict:
    """Ranks a study's blocks by what compressing them costs, and recommends one student.

    A block's cost is that of its best method (criticality, section 4). Each interval alone has
    95 % confidence: it is not corrected for the choice of the best method and of the student by
    the same numbers, nor for the number of pairs of blocks that are compared for ties.

    Args:
        study: its results.
        max_drop: the accuracy that may be lost, 0..1.
    """
    best = {block: _best(study, block) for block in study.blocks_run()}
    blocks = [_summarize(study, block, best) for block in best]
    reason, student = parent_doubts.of_study(study), None
    no_recommendation = reason
    if reason is None:
        student = recommendation.choose(
            (_student(study, row, max_drop) for row in study.rows), max_drop
        )
        if not study.rows:
            no_recommendation = "No student's training has finished."
        elif student is None:
            no_recommendation = (
                "None of the trained students both saves multiply-accumulates and stays "
                f"within {allowed(max_drop)} of the parent."
            )
    return Verdict(
        dataset=study.dataset,
        max_drop=max_drop,
        ranking=tuple(sorted(blocks, key=lambda block: -block.best.cost.difference)),
        not_compressible=study.refused,
        unfinished=tuple(name for name in study.all_blocks() if name not in best),
        doubt=reason,
        recommendation=student,
        no_recommendation=no_recommendation,
        uncounted=study.uncounted,
        control=comparisons.of_control(study),
        reported=reported_accuracy.sentence(study),
        stuck=None if reason else stuck.sentence(study),
    )


def sentences(verdict: Verdict, compressed: str | None = None) -> list[str]:
    """Returns what to do, as sentences for the terminal and the page, the answer first.

    Args:
        verdict: what the study comes to.
        compressed: the sentence that recommends a network of which several blocks are
            compressed; None where no such network is recommended. It does not count where
            drops from the parent are meaningless.
    """
    student = verdict.recommendation
    compressed = compressed if verdict.doubt is None else None
    if student is not None:
        advice = recommendation.sentences(student, verdict.max_drop, best=compressed is None)
    elif compressed is None:
        advice = ["Nothing is recommended.", verdict.no_recommendation]
    else:
        advice = [verdict.no_recommendation]
    if compressed is not None:
        advice.insert(0, compressed)
    if verdict.uncounted:
        advice.append(
            f"The multiply-accumulates are incomplete ({uncounted_text(verdict.uncounted)})."
        )
    return [*advice, *filter(None, [verdict.stuck]), verdict.reported]


def describe(verdict: Verdict, compressed: str | None = None) -> str:
    """Returns the verdict as lines for the terminal; `compressed` is as for `sentences`."""
    lines = [f"{verdict.dataset}: blocks, the most compressible first, with 95 % intervals"]
    for place, block in enumerate(verdict.ranking, start=1):
        saved = savings_text(block.macs_saved, block.parameters_saved)
        lines.append(f"  {place}. {block.block}: {_cost(block.best)}; {saved}")
        if block.best.last:
            lines.append(f"     at the last epoch {block.best.last.text()}")
        if block.tied_with:
            lines.append(f"     not distinguishable from {', '.join(block.tied_with)}")
    if verdict.control:
        lines.append(f"  the control, not compressed: {verdict.control.text()}")
    for segment in verdict.not_compressible:
        lines.append(f"  not compressible: {segment.first} to {segment.last}: {segment.reason}")
    if verdict.unfinished:
        lines.append(f"  not run, or not finished: {', '.join(verdict.unfinished)}")
    return "\n".join([*lines, *sentences(verdict, compressed)])


def _best(study: StudyResults, block: str) -> MethodSummary:
    """Returns the method that loses least at a block; of equal ones, the first by name."""
    rows = {method: study.trials(method, block) for method in sorted(study.methods())}
    costs = {
        method: comparisons.at_chosen_epoch(study, of_method)
        for method, of_method in rows.items()
        if of_method
    }
    best = max(costs, key=lambda method: costs[method].difference)
    last = comparisons.at_last_epoch(study, rows[best])
    return MethodSummary(best, costs[best], last, len(rows[best]))


def _summarize(study: StudyResults, block: str, best: dict[str, MethodSummary]) -> BlockSummary:
    correct = {name: study.correct_by_seed(of.method, name) for name, of in best.items()}
    differences = {other: _difference(correct[block], correct[other]) for other in best}
    row = study.trials(best[block].method, block)[0]
    return BlockSummary(
        block=block,
        best=best[block],
        parameters_saved=1 - row.parameters / row.parent_parameters,
        macs_saved=1 - row.macs / row.parent_macs,
        tied_with=tuple(
            other
            for other, difference in differences.items()
            if other != block and difference and difference.low <= 0 <= difference.high
        ),
    )


def _difference(
    one: Mapping[int, np.ndarray], other: Mapping[int, np.ndarray]
) -> Estimate | None:
    """Returns the difference of two blocks' best methods, paired by seed if all are shared."""
    paired = paired_difference(one, other) if one.keys() == other.keys() else None
    return paired or unpaired_difference(one, other)


def _student(study: StudyResults, row: Row, max_drop: float) -> Recommendation:
    """Returns a trial's student as it would be recommended."""
    cost = comparisons.at_chosen_epoch(study, [row])
    return Recommendation(
        block=row.block,
        method=row.method,
        seed=row.seed,
        cost=cost,
        parameters_saved=1 - row.parameters / row.parent_parameters,
        macs_saved=1 - row.macs / row.parent_macs,
        sure=cost.estimate is not None and recommendation.within(cost.estimate.low, max_drop),
    )


def _cost(summary: MethodSummary) -> str:
    seeds = counted(summary.seeds, "seed")
    return f"{METHODS[summary.method].title} {summary.cost.text()}, {seeds}"
