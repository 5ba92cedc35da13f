"""One rule by which a claim holds, does not hold, or can't be told (95 % paired intervals)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from scipy import stats

from deep_net_triage.findings.statistics import CONFIDENCE, Estimate
from deep_net_triage.findings.verdict import kept_correct
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import StudyResults

# What a difference is multiplied by to be in its unit: accuracies are 0..1.
SCALES = {"points": 100.0, "epochs": 1.0}


@dataclass(frozen=True)
class Judgement:
    """What studies say of one claim.

    Attributes:
        number: the claim's.
        sentence: the claim.
        judged: by which rule.
        verdict: what is said of it.
        numbers: the paired differences that it rests on, each with its 95 % interval.
        why: how they lead to the verdict, and what is missing.
    """

    number: int
    sentence: str
    judged: str
    verdict: Literal["holds", "does not hold", "can't be told"]
    numbers: list[str]
    why: str


@dataclass(frozen=True)
class Comparison:
    """A paired difference that a claim says something of.

    `against` is how likely it is where the claim is true, 1 where it is nothing against it:
    below 0.05 exactly where the whole interval is against the claim, unless it was chosen.
    """

    text: str
    estimate: Estimate
    agrees: bool
    against: float
    unit: str = "points"


@dataclass
class Evidence:
    """What a claim rests on: what was measured, what was not, and what to know besides."""

    comparisons: list[Comparison] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(
        self,
        what: str,
        estimate: Estimate | None,
        allowed: tuple[float, float],
        unit: str = "points",
        choices: int = 1,
    ) -> None:
        """Adds a difference that was chosen among `choices` as the least in favour."""
        if estimate is None:
            self.missing.append(f"{what}: no seed in common")
            return
        low, high = allowed
        edge = min(max(estimate.mean, low), high)
        against = min(1.0, choices * estimate.p_value(edge)) if edge != estimate.mean else 1.0
        agrees = low <= estimate.low and estimate.high <= high
        text = f"{what} = {estimate.text(unit, SCALES[unit])}"
        self.comparisons.append(Comparison(text, estimate, agrees, against, unit))

    def has(self, study: StudyResults, block: str, methods: Sequence[str]) -> bool:
        """Says whether images are kept for all the methods; those that are not, are missing."""
        lacking = [name for name in methods if not kept_correct(study, name, block)]
        for name in lacking:
            why = "no interval kept" if _was_run(study, name, block) else "not run"
            self.missing.append(f"{study.dataset} {block}: {METHODS[name].title} {why}")
        return not lacking


def ruled(number: int, sentence: str, judged: str, evidence: Evidence) -> Judgement:
    """Returns what the evidence says of a claim.

    Args:
        number: the claim's.
        sentence: the claim.
        judged: how, in words.
        evidence: all that bears on it.
    """
    comparisons = evidence.comparisons
    against = [comparison.against for comparison in comparisons]
    significant = 1 - CONFIDENCE
    if comparisons and min(stats.false_discovery_control(against)) <= significant:
        verdict = "does not hold"
    elif comparisons and not evidence.missing and all(c.agrees for c in comparisons):
        verdict = "holds"
    else:
        verdict = "can't be told"
    agreeing = sum(comparison.agrees for comparison in comparisons)
    opposed = sum(p <= significant for p in against)
    why = [f"Of {len(comparisons)} comparisons {agreeing} are for it, {opposed} against."]
    if opposed and verdict == "can't be told":
        why.append("Chance may do as much among so many.")
    why += _reach(comparisons)
    if evidence.missing:
        more = len(evidence.missing) - 3
        first = "; ".join(evidence.missing[:3]) + (f"; and {more} more" if more > 0 else "")
        why.append(f"Missing: {first}.")
    if any(c.estimate.count == 1 for c in comparisons):
        why.append("An interval from one seed holds for that seed's model, not for others.")
    return Judgement(
        number=number,
        sentence=sentence,
        judged=judged,
        verdict=verdict,
        numbers=[comparison.text for comparison in comparisons],
        why=" ".join([*why, *evidence.remarks]),
    )


def _reach(comparisons: Sequence[Comparison]) -> list[str]:
    """Returns a sentence on how far differences reach, in each unit that several have."""
    ranges = []
    for unit in dict.fromkeys(comparison.unit for comparison in comparisons):
        of_unit = [c.estimate.mean for c in comparisons if c.unit == unit]
        # Adding zero turns a rounded -0.0 into 0.0.
        low, high = (round(SCALES[unit] * end(of_unit), 1) + 0.0 for end in (min, max))
        if len(of_unit) > 1:
            ranges.append(f"from {low:+.1f} to {high:+.1f} {unit}")
    return [f"They reach {' and '.join(ranges)}."] if ranges else []


def _was_run(study: StudyResults, method: str, block: str) -> bool:
    return any((row["method"], row["block"]) == (method, block) for row in study.rows)
