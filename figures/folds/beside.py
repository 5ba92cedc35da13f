"""Shows what was run beside the plan: what image size changes, and what the recipe changes.

These runs have two folds each and decide no claim. Their intervals are over test images, paired
by image: they don't cover other parents or other seeds.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import contrasts
import numpy as np
from contrasts import Cell
from fold_results import OWN_SETTINGS, IncompleteFoldError, studies_below

from deep_net_triage.commands import recipes
from deep_net_triage.errors import InputError
from deep_net_triage.findings.statistics import Estimate, accuracy_difference
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import differences
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.wording import counted, listed

SIZED_METHODS = ("cl_rw", "cm_rw", "stn", "stn_cm")
SIZED_BLOCKS = ("block1", "block3", "block5")
# The settings in which a part's studies may differ from the plan's folds of the same number.
FREE_SETTINGS = {
    "geometry": (*OWN_SETTINGS, "image_size"),
    "recipe": (
        *OWN_SETTINGS,
        *(
            flag.removeprefix("--").partition("=")[0]
            for recipe in recipes.RECIPES
            for flag in recipes.flags_of(recipe, given_parent=False, own_images=False)
        ),
    ),
}


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
    geometry, at_32 = with_the_plan(folder, "geometry")
    if geometry:
        size = geometry[0].settings["image_size"]
        yield f"## What image size changes: CIFAR-10 at {size} pixels"
        yield ""
        titles = listed([METHODS[name].title for name in SIZED_METHODS])
        yield f"The mean of {titles} at each block, in points, on the same"
        yield f"{counted(len(geometry), 'fold')}. Intervals are over test images alone."
        yield ""
        columns = (
            Column("32 pixels", at_32, SIZED_METHODS),
            Column(f"{size} pixels", geometry, SIZED_METHODS),
        )
        yield from _or_left_aside(block_costs(columns, SIZED_BLOCKS))
        yield ""
    recipe, settled = with_the_plan(folder, "recipe")
    if recipe:
        yield "## What the recipe changes: CIFAR-10 trained as the paper says"
        yield ""
        yield "Means of the methods that train the whole model, and of those that train the"
        yield f"layer alone, in points, on the same {counted(len(recipe), 'fold')}. Students"
        yield "and controls are compared after their last epoch. The parent is taken after its"
        yield "last epoch with the settled recipe, and after its best epoch on the test images"
        yield "with the paper's. Intervals are over test images alone."
        yield ""
        columns = tuple(
            Column(f"{name}, {trained}", studies, methods)
            for (name, studies), (trained, methods) in itertools.product(
                (("settled", settled), ("the paper's", recipe)),
                (("whole model", contrasts.WHOLE), ("layer", contrasts.LAYER)),
            )
        )
        yield from _or_left_aside(block_costs(columns, contrasts.BLOCKS))
        yield ""


def _or_left_aside(table: Iterator[str]) -> list[str]:
    """Returns the lines of a table, or the one that says which trial is missing."""
    try:
        return list(table)
    except IncompleteFoldError as reason:
        return [f"Left aside: {reason}."]


def block_costs(columns: Sequence[Column], blocks: Sequence[str]) -> Iterator[str]:
    """Yields a table of what each block costs against the control and against the parent."""
    yield f"| | {' | '.join(column.heading for column in columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    parents = (mean(study.baseline_accuracy for study in c.studies) for c in columns)
    yield f"| parents | {' | '.join(f'{100 * parent:.1f} %' for parent in parents)} |"
    for reference, cells in (("control", contrasts.PARENT_TRAINED_ON), ("parent", None)):
        for block in blocks:
            costs = (
                difference(c.studies, [(name, block) for name in c.methods], cells)
                for c in columns
            )
            texts = (cost.text("", 100) for cost in costs)
            yield f"| {block} minus {reference} | {' | '.join(texts)} |"
    for one, other in itertools.combinations(blocks, 2):
        between = (
            difference(c.studies, *([(name, b) for name in c.methods] for b in (one, other)))
            for c in columns
        )
        texts = (found.text("", 100) for found in between)
        yield f"| {one} minus {other} | {' | '.join(texts)} |"


def difference(
    studies: Sequence[StudyResults], cells: Collection[Cell], others: Collection[Cell] | None
) -> Estimate:
    """Returns one mean accuracy less another, paired by image, over all folds' images.

    Args:
        studies: one a fold.
        cells: whose accuracy after the last epoch is averaged.
        others: likewise; None for the parent.
    """
    first, second = (
        np.concatenate([_share_correct(study, of) for study in studies])
        for of in (cells, others)
    )
    return accuracy_difference(first[None], second)


def _share_correct(study: StudyResults, cells: Collection[Cell] | None) -> np.ndarray:
    """Returns, for each test image, the share of the cells that classify it correctly.

    The last epoch's file is left out of a copied study where it equals the chosen epoch's.
    """
    last = {**study.correct, **study.final_correct}
    found = {cell: [last[name] for name in last if name[:2] == cell] for cell in cells or ()}
    if cells is None:
        found["the parent"] = [c for c in (study.parent_correct,) if c is not None]
    for cell, trials in found.items():
        if not trials:
            raise IncompleteFoldError(f"{study.folder.name} lacks correct.npy of {cell}")
    return np.mean([np.mean(trials, axis=0) for trials in found.values()], axis=0)


def with_the_plan(
    folder: Path, part: str
) -> tuple[Sequence[StudyResults], Sequence[StudyResults]]:
    """Returns a part's studies and the plan's, of the folds that both have.

    Raises:
        InputError: if they differ by more than the part's own settings.
    """
    studies = by_fold(folder / part / "cifar10")
    planned = by_fold(folder / "cifar10")
    shared = sorted(studies.keys() & planned)
    for fold in shared:
        both = (
            {n: v for n, v in study.settings.items() if n not in FREE_SETTINGS[part]}
            for study in (planned[fold], studies[fold])
        )
        if differing := differences(*both):
            where = studies[fold].folder
            raise InputError(f"{where} differs from the plan's fold ({differing[0]})")
    return [studies[fold] for fold in shared], [planned[fold] for fold in shared]


def by_fold(folder: Path) -> Mapping[str, StudyResults]:
    """Returns the studies in the subfolders of a folder by their `--fold`.

    Raises:
        InputError: if one is no study of a fold, or stands there twice.
    """
    studies = studies_below(folder)
    found = {study.settings.get("fold"): study for study in studies}
    if None in found or len(found) < len(studies):
        raise InputError(f"{folder} holds folds {[s.settings.get('fold') for s in studies]}")
    return found
