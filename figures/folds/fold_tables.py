"""What the page shows of one data set's folds: a line about them, and two tables."""

import math
from collections.abc import Iterator, Sequence

import contrasts
import fold_results
import verdicts
from contrasts import CLAIMS
from fold_results import PLANNED, Fold, SetResult

from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import mean
from deep_net_triage.wording import signed


def described(name: str, folds: Sequence[Fold], result: SetResult) -> str:
    """Returns the folds, parents and near-duplicates of a data set as a line."""
    parents = [fold.parent for fold in folds]
    images = sum(fold.test_images for fold in folds)
    near = sum(fold.near_duplicates for fold in folds)
    line = (
        f"{len(folds)} of {PLANNED[name]} planned folds; parents {100 * mean(parents):.1f} % "
        f"({100 * min(parents):.1f} to {100 * max(parents):.1f}); {near} of {images:,} test "
        "images are nearly equal to a training image."
    )
    if result.left_aside:
        line = f"{line} No verdicts. {result.left_aside}"
    stuck = [
        f"In fold {fold.number}, {fold.stuck} It counts like any other trial."
        for fold in folds
        if fold.stuck
    ]
    return " ".join([line, *stuck])


def contrast_table(folds: Sequence[Fold]) -> Iterator[str]:
    """Yields every contrast with both intervals and its boundaries, in points."""
    headings = ("claim", "difference", "mean", "corrected", "uncorrected", "supported above")
    yield f"| {' | '.join(headings)} | not supported below |"
    yield f"|---|{'---|' * len(headings)}"
    for claim in CLAIMS:
        for part in claim.parts:
            (value, *corrected), (_, *plain) = fold_results.intervals(folds, part)
            columns = (
                claim.number,
                part.name,
                signed(100 * value, 2),
                between(corrected),
                between(plain),
                *(signed(100 * bound, 2) for bound in fold_results.boundaries(folds, part)),
            )
            yield f"| {' | '.join(columns)} |"


def distillation_counted(folds: Sequence[Fold]) -> str:
    """Returns how STN compares with CL-RW that has trained for as long, as a sentence."""
    differences = fold_results.summed(folds, contrasts.DISTILLATION_COUNTED)
    overlap = fold_results.overlap_of(folds)
    value, *ends = verdicts.interval(differences, overlap)
    return (
        "With the epochs of distillation counted, STN's mean accuracy over its first three "
        f"epochs, less CL-RW's over epochs 5 to 7, is {signed(100 * value, 2)} points "
        f"{between(ends)}, corrected."
    )


def between(ends: Sequence[float]) -> str:
    """Returns an interval in points."""
    return f"[{', '.join(signed(100 * end, 2) for end in ends)}]"


def cell_table(folds: Sequence[Fold]) -> Iterator[str]:
    """Yields each method's accuracy at each block less the control's."""
    yield f"| | {' | '.join(METHODS[name].title for name in contrasts.SIX)} |"
    yield f"|---|{'---|' * len(contrasts.SIX)}"
    for block in contrasts.BLOCKS:
        cells = []
        for method in contrasts.SIX:
            own = {(method, block): 1.0}
            less = contrasts.less(own, contrasts.PARENT_TRAINED_ON)
            last, maximum, epochs = (
                fold_results.weighted(folds, of, weights)
                for of, weights in (("accuracy", less), ("maximum", less), ("epochs", own))
            )
            value, *ends = verdicts.interval(last)
            measured = f"{signed(100 * mean(maximum), 2)}, {mean(epochs):.1f} epochs"
            # Differences that are equal by chance, to the image, say nothing about their noise.
            interval = "[–]" if math.isclose(*ends, abs_tol=1e-9) else between(ends)
            cells.append(f"{signed(100 * value, 2)} {interval}<br>{measured}")
        yield f"| {block} | {' | '.join(cells)} |"
