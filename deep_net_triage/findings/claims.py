"""What the paper claims (section 4), and what anybody's studies say of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deep_net_triage.findings import claim_evidence
from deep_net_triage.findings.judgements import Evidence, Judgement, ruled
from deep_net_triage.records.results import StudyResults

_TIMES_CHANCE = 5  # a parent below it has learned too little for its blocks to matter


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its number, and how it is judged, in words and done."""

    number: int
    sentence: str
    judged: str
    evidence: Callable[[Sequence[StudyResults]], Evidence]


def judge(studies: Sequence[StudyResults], classes: Mapping[str, int]) -> list[Judgement]:
    """Judges the paper's claims by 95 % paired intervals, all claims by one rule (section 4).

    A claim holds if every comparison's whole interval is as it says and none is missing. It
    does not hold if comparisons are against it beyond what chance does among so many. Else it
    can't be told. A set whose parent is below five times chance is left aside.

    Of several comparisons: that all must agree needs no correction. Those against a claim are
    corrected for their number within the claim, over all data sets (Benjamini and Hochberg;
    valid for comparisons that err together, as those with one parent do), and for the choice
    where one was chosen as the least favourable of several. Not corrected are the choice of the
    best method updating the whole model in claim 1, and that eight claims are judged. Epochs
    are paired by block, as if the blocks were drawn independently.

    Args:
        studies: one a data set.
        classes: how many each data set has, by its name.

    Raises:
        KeyError: if a data set is not in `classes`.
    """
    judged, aside = [], []
    for study in studies:
        threshold = _TIMES_CHANCE / classes[study.dataset]
        if study.baseline_accuracy < threshold:
            aside.append(
                f"{study.dataset} is left aside: its parent reaches "
                f"{100 * study.baseline_accuracy:.1f} %, five times chance is "
                f"{100 * threshold:.1f} %."
            )
        else:
            judged.append(study)
    found = []
    for claim in CLAIMS:
        evidence = claim.evidence(judged)
        evidence.remarks += aside
        found.append(ruled(claim.number, claim.sentence, claim.judged, evidence))
    return found


CLAIMS = (
    Claim(
        1,
        "Methods that update the whole model reach the highest accuracy at every block.",
        "At each block the best method that updates the whole model is above the best one that "
        "does not.",
        claim_evidence.best_updates_the_model,
    ),
    Claim(
        2,
        "They match or exceed the parent, and no layer-only method exceeds it.",
        "At each block each method that updates the whole model is not below the parent, nor "
        "below the control, a parent trained on for as long; no other method is above it.",
        claim_evidence.only_the_model_exceeds_the_parent,
    ),
    Claim(
        3,
        "Layer-only methods stay within about 5 points of the parent.",
        "At each block each layer-only method's interval is at or above -5 points.",
        claim_evidence.layer_only_is_near,
    ),
    Claim(
        4,
        "Criticality does not depend on the block.",
        "By each method, every two blocks are within 2 points of each other; against it is a "
        "spread that is neither that nor inside the noise.",
        claim_evidence.blocks_are_equal,
    ),
    Claim(
        5,
        "Mean initialisation speeds convergence very slightly over random.",
        "Epochs to 99 % of the maximum, paired by block, are fewer than from random weights.",
        claim_evidence.mean_is_faster,
    ),
    Claim(
        6,
        "Student-teacher training clearly speeds convergence.",
        "Epochs to 99 % of the maximum, paired by block, are fewer than without distillation; "
        "those of distillation are not counted.",
        claim_evidence.distilling_is_faster,
    ),
    Claim(
        7,
        "Harder data sets converge more slowly.",
        "Epochs to 99 % of the maximum, paired by block, are more than on the data set whose "
        "parent is the next more accurate.",
        claim_evidence.harder_is_slower,
    ),
    Claim(
        8,
        "Student-teacher training of the whole model converges fastest and reaches the highest "
        "accuracy (the paper's hypothesis).",
        "At each block it is above the best other method; its epochs to 99 % of the maximum, "
        "paired by block, are fewer than the fastest other method's.",
        claim_evidence.both_together_are_best,
    ),
)
