"""The paper's claims (section 4), and how studies judge them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deep_net_triage.findings import claim_evidence, parent_doubts, reported_accuracy, stuck
from deep_net_triage.findings.judgements import Evidence, Judgement, ruled
from deep_net_triage.records.study_results import StudyResults


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        number: from 1.
        sentence: the claim itself.
        judged: the rule for this claim, in words.
        evidence: collects the comparisons that the rule needs.
    """

    number: int
    sentence: str
    judged: str
    evidence: Callable[[Sequence[StudyResults]], Evidence]


def judge(studies: Sequence[StudyResults]) -> list[Judgement]:
    """Judges the paper's claims by 95 % paired intervals, all by one rule (section 4).

    A claim is supported if the whole interval of every comparison agrees with it and no
    comparison is missing. It is not supported if more comparisons contradict it than chance
    explains among so many. Otherwise it is undecided. A data set whose parent has not learned
    is left aside (`parent_doubts.not_learned`). Accuracies are those that the studies report:
    of the best epoch or, where the learning rate falls to zero, of the last.

    A claim that needs all comparisons to agree needs no correction for their number. Those that
    contradict it are corrected for their number within the claim, over all data sets (Benjamini
    and Hochberg, which is valid for positively correlated comparisons, as with a common
    parent), and for being chosen as the least favourable of several. Not corrected are the
    choice of the best whole-model method in claim 1, and the number of claims. Epochs are
    paired by block, as if the blocks were drawn independently.

    Args:
        studies: one for each data set.
    """
    judged, aside, doubtful = [], [], []
    for study in studies:
        if reason := parent_doubts.not_learned_in(study):
            aside.append(f"{study.dataset} is left aside. {reason}")
        else:
            judged.append(study)
            if said := stuck.sentence(study):
                doubtful.append(f"{study.dataset}: {said}")
    settled = [study.dataset for study in judged if study.reports_last_epoch]
    judgements = []
    for claim in CLAIMS:
        evidence = claim.evidence(judged)
        if settled and any(one.unit == "points" for one in evidence.comparisons):
            evidence.remarks.append(
                f"Accuracies of {', '.join(settled)} are {reported_accuracy.LAST_EPOCH}."
            )
        if settled and any(one.unit == "epochs" for one in evidence.comparisons):
            evidence.remarks.append(
                f"The learning rate of {', '.join(settled)} {reported_accuracy.FALLS}."
            )
        evidence.remarks += [*doubtful, *aside]
        judgements.append(ruled(claim.number, claim.sentence, claim.judged, evidence))
    return judgements


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
        "Methods that update the whole model match or exceed the parent, and no layer-only "
        "method exceeds it.",
        "At each block the whole interval of each method that updates the whole model is at or "
        "above both the parent and the control, which is the parent trained for as many more "
        "epochs; that of every other method is at or below the parent.",
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
        "All blocks are equally critical: no block costs more accuracy than another.",
        "By each method, every two blocks are within 2 points of each other. A significant "
        "difference counts against it, unless all intervals lie within 2 points.",
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
        "Epochs to 99 % of the maximum, paired by block, are more than on the next easier data "
        "set, judged by the accuracy of its parent.",
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
