"""The rule by which a claim is supported, not supported or undecided: 95 % paired intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from scipy import stats

from deep_net_triage.findings.statistics import CONFIDENCE, Estimate
from deep_net_triage.wording import counted, signed

# The factor that turns a difference into its unit: accuracies are 0..1.
SCALES = {"points": 100.0, "epochs": 1.0}
_MEANINGS = {"epochs": "epochs (above 0 is slower)"}


@dataclass(frozen=True)
class Judgement:
    """What studies say of one claim.

    Attributes:
        number: of the claim, from 1.
        sentence: the claim itself.
        judged: the rule for this claim, in words.
        verdict: whether they support it.
        numbers: the paired differences behind the verdict, each with its 95 % interval.
        why: how they lead to the verdict, and what is missing.
    """

    number: int
    sentence: str
    judged: str
    verdict: Literal["supported", "not supported", "undecided"]
    numbers: list[str]
    why: str


@dataclass(frozen=True)
class Comparison:
    """A paired difference that a claim makes a statement about.

    Attributes:
        text: the difference with its interval, in words.
        estimate: the difference.
        agrees: whether the whole interval is as the claim says.
        against: the p value of the evidence against the claim, 1 if the difference agrees
            with it. It is below 0.05 exactly where the whole interval contradicts the claim,
            unless the comparison was chosen among several and its p value corrected for that.
        unit: of the difference, in `SCALES`.
    """

    text: str
    estimate: Estimate
    agrees: bool
    against: float
    unit: str = "points"


@dataclass
class Evidence:
    """All that bears on a claim: measured differences, missing ones, and remarks."""

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
        """Adds a measured difference, or records that it is missing.

        Args:
            what: what is compared, in words.
            estimate: the difference; None where the two have no seed in common.
            allowed: the lowest and the highest difference that the claim allows.
            unit: of the difference, in `SCALES`.
            choices: the number of differences among which this one was chosen as the least
                favourable to the claim.
        """
        if estimate is None:
            self.missing.append(f"{what}: no seed in common")
            return
        low, high = allowed
        edge = min(max(estimate.mean, low), high)
        against = min(1.0, choices * estimate.p_value(edge)) if edge != estimate.mean else 1.0
        agrees = low <= estimate.low and estimate.high <= high
        text = f"{what} = {estimate.text(unit, SCALES[unit])}"
        self.comparisons.append(Comparison(text, estimate, agrees, against, unit))


def ruled(number: int, sentence: str, judged: str, evidence: Evidence) -> Judgement:
    """Returns the judgement of a claim.

    Args:
        number: of the claim, from 1.
        sentence: the claim itself.
        judged: the rule for this claim, in words.
        evidence: all that bears on it.
    """
    comparisons = evidence.comparisons
    against = [comparison.against for comparison in comparisons]
    significant = 1 - CONFIDENCE
    if comparisons and min(stats.false_discovery_control(against)) <= significant:
        verdict = "not supported"
    elif comparisons and not evidence.missing and all(c.agrees for c in comparisons):
        verdict = "supported"
    else:
        verdict = "undecided"
    agreeing = sum(comparison.agrees for comparison in comparisons)
    opposed = sum(p <= significant for p in against)
    inconclusive = len(comparisons) - agreeing - opposed
    why = [
        f"{counted(len(comparisons), 'comparison')}: {agreeing} for it, {opposed} against, "
        f"{inconclusive} inconclusive."
    ]
    if opposed and verdict == "undecided":
        why.append("Among so many comparisons, those against it may be chance.")
    why += _reach(comparisons)
    if evidence.missing:
        more = len(evidence.missing) - 3
        first = "; ".join(evidence.missing[:3]) + (f"; and {more} more" if more > 0 else "")
        why.append(f"Missing: {first}.")
    if any(c.estimate.count == 1 and c.unit == "points" for c in comparisons):
        why.append("An interval from one seed holds for that seed's model, not for others.")
    if any(c.estimate.count == 1 and c.unit == "epochs" for c in comparisons):
        why.append("With a single block, a difference in epochs has no interval.")
    return Judgement(
        number=number,
        sentence=sentence,
        judged=judged,
        verdict=verdict,
        numbers=[comparison.text for comparison in comparisons],
        why=" ".join([*why, *evidence.remarks]),
    )


def _reach(comparisons: Sequence[Comparison]) -> list[str]:
    """Returns a sentence with the lowest and the highest difference in each unit."""
    ranges = []
    for unit in dict.fromkeys(comparison.unit for comparison in comparisons):
        of_unit = [c.estimate.mean for c in comparisons if c.unit == unit]
        low, high = (signed(SCALES[unit] * end(of_unit)) for end in (min, max))
        if len(of_unit) > 1:
            ranges.append(f"from {low} to {high} {_MEANINGS.get(unit, unit)}")
    return [f"The differences range {' and '.join(ranges)}."] if ranges else []
