"""Shows what stands beside the plan: the part of the image size, and that of the recipe.

These runs have two folds each and decide no claim. Their intervals are over test images, paired
by image: they don't cover other parents or other seeds.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import contrasts
import numpy as np
from contrasts import Cell
from fold_results import studies_in

from deep_net_triage.findings.statistics import Estimate, accuracy_difference
from deep_net_triage.methods import CONTROL, NO_BLOCK
from deep_net_triage.records.study_results import StudyResults, mean

PARENT_TRAINED_ON = ((CONTROL, NO_BLOCK),)
SIZED_METHODS = ("cl_rw", "cm_rw", "stn", "stn_cm")
SIZED_BLOCKS = ("block1", "block3", "block5")


@dataclass(frozen=True)
class Column:
    """Some methods in the folds of one setting.

    Attributes:
        heading: of the column.
        studies: one a fold.
        methods: over which accuracy is averaged.
    """

    heading: str
    studies: Sequence[StudyResults]
    methods: Sequence[str]


def sections(folder: Path) -> Iterator[str]:
    """Yields a table for each part that has been run, beside the plan's folds of its numbers.

    Args:
        folder: holds the plan's `cifar10/fold<i>`, and `geometry` and `recipe` with the same.
    """
    geometry, at_32 = _with_the_plan(folder, "geometry")
    if geometry:
        yield "## The part of the image size: CIFAR-10 at 64 pixels"
        yield ""
        yield "The mean of CL-RW, CM-RW, STN and STN-CM at each block, less the control or the"
        yield f"parent, in points, on the same {len(geometry)} folds. Intervals are over test"
        yield "images alone."
        yield ""
        columns = (
            Column("32 pixels", at_32, SIZED_METHODS),
            Column("64 pixels", geometry, SIZED_METHODS),
        )
        yield from block_costs(columns, SIZED_BLOCKS)
        yield ""
    recipe, settled = _with_the_plan(folder, "recipe")
    if recipe:
        yield "## The part of the recipe: CIFAR-10 trained as the paper says"
        yield ""
        yield "Means of the methods that train the whole model, and of those that train the"
        yield "layer alone, in points. `settled` reports the last epoch, the paper's recipe the"
        yield "epoch that is best on the test images."
        yield "Intervals are over test images alone."
        yield ""
        columns = tuple(
            Column(f"{name}, {trained}", studies, methods)
            for (name, studies), (trained, methods) in itertools.product(
                (("settled", settled), ("the paper's", recipe)),
                (("whole model", contrasts.WHOLE), ("layer", contrasts.LAYER)),
            )
        )
        yield from block_costs(columns, contrasts.BLOCKS)
        yield ""


def block_costs(columns: Sequence[Column], blocks: Sequence[str]) -> Iterator[str]:
    """Yields a table of what each block costs against the control and against the parent."""
    yield f"| | {' | '.join(column.heading for column in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    parents = (mean(study.baseline_accuracy for study in c.studies) for c in columns)
    yield f"| parents | {' | '.join(f'{100 * parent:.1f} %' for parent in parents)} |"
    for reference, cells in (("control", PARENT_TRAINED_ON), ("parent", None)):
        for block in blocks:
            costs = (
                difference(c.studies, [(name, block) for name in c.methods], cells)
                for c in columns
            )
            texts = (cost.text("", 100) for cost in costs)
            yield f"| {block} less {reference} | {' | '.join(texts)} |"


def difference(
    studies: Sequence[StudyResults], cells: Sequence[Cell], others: Sequence[Cell] | None
) -> Estimate:
    """Returns one mean accuracy less another, paired by image, over all folds' images.

    Args:
        studies: one a fold.
        cells: whose accuracy is averaged.
        others: likewise; None for the parent.
    """
    first = np.concatenate([_share_correct(study, cells) for study in studies])
    second = np.concatenate(
        [_share_correct(study, others) if others else study.parent_correct for study in studies]
    )
    return accuracy_difference(first[None], second)


def _share_correct(study: StudyResults, cells: Sequence[Cell]) -> np.ndarray:
    """Returns, for each test image, the share of the trials that classify it correctly."""
    trials = [
        correct for (*cell, _), correct in study.correct.items() if tuple(cell) in set(cells)
    ]
    return np.mean(trials, axis=0)


def _with_the_plan(
    folder: Path, part: str
) -> tuple[Sequence[StudyResults], Sequence[StudyResults]]:
    """Returns a part's studies, and the plan's of the same folds; none if one is missing."""
    studies = by_fold(folder / part / "cifar10")
    planned = by_fold(folder / "cifar10")
    shared = sorted(studies.keys() & planned)
    return [studies[fold] for fold in shared], [planned[fold] for fold in shared]


def by_fold(folder: Path) -> Mapping[str, StudyResults]:
    """Returns the studies in the subfolders of a folder by their `--fold`."""
    return {study.settings["fold"]: study for study in studies_in(folder)}
