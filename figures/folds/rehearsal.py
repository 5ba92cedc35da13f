"""Reads the plan's contrasts in the studies that were there before it: exploratory findings.

Each of these studies has one parent, so that intervals cover test images and seeds, and not the
parent. Accuracies are of the best epoch, as the paper's recipe reports them.
"""

from collections.abc import Iterator, Mapping

import contrasts
import numpy as np
from contrasts import PARENT_TRAINED_ON, Weights

from deep_net_triage.findings.statistics import Estimate, accuracy_difference, number_difference
from deep_net_triage.records.study_results import StudyResults, mean

PARENT = "parent"
EARLY, LATE = contrasts.BLOCKS[:3], contrasts.BLOCKS[3:]
LAST_LAYER_ONLY = contrasts.mean_over(contrasts.LAYER, ("block5",))
ACCURACIES: Mapping[str, tuple[Weights, Weights | str]] = {
    "whole model minus layer only, blocks 1 to 3": (
        contrasts.mean_over(contrasts.WHOLE, EARLY),
        contrasts.mean_over(contrasts.LAYER, EARLY),
    ),
    "whole model minus layer only, blocks 4 and 5": (
        contrasts.mean_over(contrasts.WHOLE, LATE),
        contrasts.mean_over(contrasts.LAYER, LATE),
    ),
    "layer only minus parent, block5": (LAST_LAYER_ONLY, PARENT),
    "layer only minus control, block5": (LAST_LAYER_ONLY, PARENT_TRAINED_ON),
}
EPOCHS = {
    "epochs to 99 %, CL-RW minus STN": ("cl_rw", "stn"),
    "epochs to 99 %, CM-RW minus STN-CM": ("cm_rw", "stn_cm"),
    "epochs to 99 %, CL-RW minus CL-MW": ("cl_rw", "cl_mw"),
    "epochs to 99 %, CM-RW minus CM-MW": ("cm_rw", "cm_mw"),
}


def findings(studies: Mapping[str, StudyResults]) -> Iterator[str]:
    """Yields a table of contrasts, in points and epochs, with 95 % intervals.

    Args:
        studies: by the heading of their column.
    """
    yield f"| difference | {' | '.join(studies)} |"
    yield f"|---|{'---|' * len(studies)}"
    for name, sides in ACCURACIES.items():
        cells = (accuracy(study, *sides).text("", 100) for study in studies.values())
        yield f"| {name} | {' | '.join(cells)} |"
    for name, methods in EPOCHS.items():
        cells = (epochs(study, *methods).text() for study in studies.values())
        yield f"| {name} | {' | '.join(cells)} |"


def at_a_tenth(study: StudyResults) -> Iterator[str]:
    """Yields what a tenth of the rate changes at the first block, in points.

    Args:
        study: CIFAR-10 at that rate, from the parent of the committed study.
    """
    both, alone = {("stn_cm", "block1"): 1.0}, {("stn", "block1"): 1.0}
    gain, to_parent, to_control = (
        accuracy(study, both, other).text("", 100)
        for other in (alone, PARENT, PARENT_TRAINED_ON)
    )
    yield "- With a tenth of the learning rate (not in the table), STN-CM is above STN at block"
    yield f"  1 of CIFAR-10, {gain}. It is then not clearly below the parent,"
    yield f"  {to_parent}, but clearly below the control, {to_control}."


def accuracy(study: StudyResults, first: Weights, second: Weights | str) -> Estimate:
    """Returns one mean accuracy minus another, paired by image and seed, 0..1."""
    seeds = sorted({seed for _, _, seed in study.correct})

    def by_seed(weights: Weights) -> np.ndarray:
        return np.stack(
            [
                sum(weight * study.correct[*cell, seed] for cell, weight in weights.items())
                for seed in seeds
            ]
        )

    second = study.parent_correct if second == PARENT else by_seed(second)
    return accuracy_difference(by_seed(first), second)


def epochs(study: StudyResults, first: str, second: str) -> Estimate:
    """Returns one method's epochs to 99 % minus another's, paired by block."""
    blocks = study.blocks_run()
    return number_difference(
        [
            mean(row.epochs_to_99 for row in study.trials(first, block))
            - mean(row.epochs_to_99 for row in study.trials(second, block))
            for block in blocks
        ],
        1,
    )
