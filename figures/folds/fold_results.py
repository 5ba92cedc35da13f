"""Reads the folds of a data set, and judges the claims of `docs/folds.md` on them."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import contrasts
import numpy as np
import verdicts
from contrasts import CLAIMS, Cell, Claim, Part, Weights
from verdicts import Evidence

from deep_net_triage.errors import InputError
from deep_net_triage.findings import parent_doubts, stuck
from deep_net_triage.methods import CONTROL, NO_BLOCK
from deep_net_triage.records.results import Row, differences
from deep_net_triage.records.study_results import StudyResults, mean, read_study
from deep_net_triage.wording import counted

# What may differ between the folds of a data set.
OWN_SETTINGS = ("fold", "parent_seed", "images_digest", "parent")
EARLY_EPOCHS = 3
# Into how many folds each data set is divided.
FOLDS = 6
# How many of them are run of each data set, from the easiest set to the hardest, and the sets
# whose verdicts count. What is left of MNIST's error is smaller than any boundary: it is
# described, and enters claim 7.
PLANNED = {"mnist": 3, "cifar10": 6, "cifar100": 6}
DECIDING = ("cifar10", "cifar100")
# A set counts if half an interval of claim 2a is at most this share of what its parents know.
PRECISE = 0.2


class IncompleteFoldError(InputError):
    """A fold of which trials are missing: its data set decides nothing."""


@dataclass(frozen=True)
class Fold:
    """What the analysis uses of one fold.

    Attributes:
        number: of the tested fold, from 0.
        count: the number of folds.
        parent: the accuracy of its parent, 0..1.
        values: `accuracy` after the last epoch; `early`, the mean of the first three; `later`,
            the mean of three that begin as many epochs later as distillation takes; and the
            paper's `maximum` and `epochs` to 99 % of it. Each by method and block.
        classes: the number of classes.
        train_images, test_images: their numbers.
        near_duplicates: how many of them are nearly equal to a training image.
        stuck: which trials may have got stuck, as a sentence; None without any.
    """

    number: int
    count: int
    parent: float
    values: Mapping[str, Mapping[Cell, float]]
    classes: int
    train_images: int
    test_images: int
    near_duplicates: int
    stuck: str | None = None


@dataclass(frozen=True)
class Result:
    """What the folds of a data set say of one claim.

    Attributes:
        verdict: with the correction for training images that folds share.
        uncorrected: without it.
        part: the one that refutes the claim most clearly, or else supports it least.
    """

    verdict: str
    uncorrected: str
    part: Part


@dataclass(frozen=True)
class SetResult:
    """What the folds of a data set say.

    Attributes:
        left_aside: why its verdicts don't count; None if they do.
        claims: by the claim's number; all undecided where the set does not count.
    """

    left_aside: str | None
    claims: Mapping[str, Result]


def studies_below(folder: Path) -> list[StudyResults]:
    """Returns the studies in the subfolders of a folder."""
    return [read_study(found.parent) for found in sorted(folder.glob("*/results.csv"))]


def read(folder: Path, instead: Path | None = None) -> list[Fold]:
    """Returns the folds in the subfolders of a folder, in the order of their numbers.

    Args:
        folder: of the data set.
        instead: likewise; its folds take the place of those with the same number.

    Raises:
        InputError: if there are fewer than two, or they are not folds of six, trained
            by the same settings, each with all trials; or if `instead` has none, or one that
            `folder` lacks.
    """
    studies = studies_below(folder)
    if instead:
        studies = _replaced(studies, studies_below(instead), instead)
    folds = sorted((fold_of(study) for study in studies), key=lambda fold: fold.number)
    if len(folds) < 2:
        raise InputError(f"{folder} holds {len(folds)} folds; it takes two to compare")
    divisions = sorted({fold.count for fold in folds})
    if divisions != [FOLDS]:
        found = " and ".join(f"i/{count}" for count in divisions)
        raise InputError(f"{folder} holds folds {found}; the plan has i/{FOLDS}")
    numbers = [fold.number for fold in folds]
    if len(set(numbers)) < len(numbers):
        raise InputError(f"{folder}: a fold stands there twice (folds {numbers})")
    settings = [
        {name: value for name, value in study.settings.items() if name not in OWN_SETTINGS}
        for study in studies
    ]
    differing = [text for one in settings for text in differences(settings[0], one)]
    if differing:
        raise InputError(f"{folder}: the folds differ by more than images ({differing[0]})")
    return folds


def _replaced(
    studies: Sequence[StudyResults], others: Sequence[StudyResults], where: Path
) -> list[StudyResults]:
    """Returns the studies, with others in place of those of the same folds."""
    planned = [study.settings.get("fold") for study in studies]
    taken = [study.settings.get("fold") for study in others]
    if not taken or not set(taken) <= set(planned):
        raise InputError(f"{where} holds folds {taken}; allowed: one or more of {planned}")
    return [*others, *(s for s in studies if s.settings.get("fold") not in taken)]


def fold_of(study: StudyResults) -> Fold:
    """Returns what the analysis uses of a fold's study.

    Raises:
        IncompleteFoldError: if trials are missing.
        InputError: if it is no fold, or its learning rate does not fall.
    """
    fold = study.settings.get("fold")
    if not fold or not study.reports_last_epoch:
        raise InputError(f"{study.folder} is no study by --fold and --schedule=cosine")
    # One trial each: a failed one's repetition has a larger seed.
    by_seed = sorted((*study.rows, *study.controls), key=lambda row: -row.seed)
    rows: dict[Cell, Row] = {(row.method, row.block): row for row in by_seed}
    cells = [(method, block) for method in contrasts.SIX for block in contrasts.BLOCKS]
    missing = [cell for cell in (*cells, (CONTROL, NO_BLOCK)) if cell not in rows]
    if missing:
        trials = counted(len(missing), "trial")
        raise IncompleteFoldError(f"{study.folder.name} lacks {trials}, the first {missing[0]}")

    def three_epochs(row: Row, first: int) -> float:
        epochs = study.epochs.get(row.trial, ())
        curve = [epoch.val_accuracy for epoch in epochs if epoch.phase == "train"][first:]
        if not curve:
            raise InputError(f"{study.folder} lacks the epochs of {row.trial}")
        return mean(curve[:EARLY_EPOCHS])

    distilling = study.settings["distill_epochs"]
    measures = {
        "accuracy": lambda row: row.final_accuracy,
        "early": lambda row: three_epochs(row, 0),
        "later": lambda row: three_epochs(row, distilling),
        "maximum": lambda row: row.max_accuracy,
        "epochs": lambda row: row.epochs_to_99,
    }
    number, count = map(int, fold.split("/"))
    return Fold(
        number=number,
        count=count,
        parent=study.baseline_accuracy,
        values={
            name: {cell: measure(row) for cell, row in rows.items()}
            for name, measure in measures.items()
        },
        classes=study.classes,
        train_images=study.settings["train_images"],
        test_images=study.test_images,
        near_duplicates=study.near_duplicates,
        stuck=None if parent_doubts.not_learned_in(study) else stuck.sentence(study),
    )


def weighted(folds: Sequence[Fold], of: str, weights: Weights) -> list[float]:
    """Returns a contrast's value in each fold.

    Args:
        folds: of a data set.
        of: what is weighted; a key of `Fold.values`.
        weights: of the trials.
    """
    return [
        math.fsum(weight * fold.values[of][cell] for cell, weight in weights.items())
        for fold in folds
    ]


def summed(folds: Sequence[Fold], contrast: Mapping[str, Weights]) -> list[float]:
    """Returns in each fold the sum of what is weighted: weights by key of `Fold.values`."""
    parts = (weighted(folds, of, weights) for of, weights in contrast.items())
    return [math.fsum(values) for values in zip(*parts, strict=True)]


def scales(folds: Sequence[Fold]) -> dict[str, float]:
    """Returns what boundaries are relative to: the mean over the folds' parents."""
    accuracy = mean(fold.parent for fold in folds)
    known = accuracy - 1 / folds[0].classes
    return {"known": known, "least": min(known, 1 - accuracy)}


def complete(sets: Mapping[str, Sequence[Fold]]) -> list[str]:
    """Returns which data sets have all folds that the plan has."""
    return [name for name, folds in sets.items() if len(folds) >= PLANNED[name]]


def complete_deciding(sets: Mapping[str, Sequence[Fold]]) -> list[str]:
    """Returns which data sets that decide have all their folds."""
    return [name for name in complete(sets) if name in DECIDING]


def judge(name: str, folds: Sequence[Fold]) -> SetResult:
    """Returns what the folds of a data set say of each claim but the seventh.

    Args:
        name: of the data set.
        folds: of it.
    """
    corrected, plain = (
        verdicts.verdicts(_evidence(folds, overlap)) for overlap in (overlap_of(folds), 0.0)
    )
    claims = {
        claim.number: Result(
            corrected[claim.number],
            plain[claim.number],
            _least_favourable(folds, claim, corrected[claim.number]),
        )
        for claim in CLAIMS
    }
    why = _left_aside(name, folds)
    if why:
        nothing = {"verdict": "undecided", "uncorrected": "undecided"}
        claims = {n: dataclasses.replace(one, **nothing) for n, one in claims.items()}
    return SetResult(why, claims)


def slowness(folds: Sequence[Fold]) -> list[float]:
    """Returns by how much early accuracy is below the last, relative to what parents know.

    It is the mean over all trials, one value for each fold.
    """
    known = scales(folds)["known"]
    last, early = (weighted(folds, of, contrasts.ALL) for of in ("accuracy", "early"))
    return [(late - soon) / known for late, soon in zip(last, early, strict=True)]


def overlap_of(folds: Sequence[Fold]) -> float:
    """Returns test images divided by training images, for `verdicts.spread`."""
    return folds[0].test_images / folds[0].train_images


def intervals(
    folds: Sequence[Fold], part: Part
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Returns the mean of a part and its interval, corrected for overlap and uncorrected."""
    values = weighted(folds, part.of, part.weights)
    return verdicts.interval(values, overlap_of(folds)), verdicts.interval(values)


def _least_favourable(folds: Sequence[Fold], claim: Claim, verdict: str) -> Part:
    """Returns the part that refutes a claim most clearly, or else supports it least."""
    bound = 1 if verdict == "not supported" else 0

    def certainty(part: Part) -> float:
        values = np.asarray(weighted(folds, part.of, part.weights))
        return float(verdicts.above(values, boundaries(folds, part)[bound], overlap_of(folds)))

    return min(claim.parts, key=certainty)


def boundaries(folds: Sequence[Fold], part: Part) -> tuple[float, float]:
    """Returns above what a part supports its claim and below what it refutes it, 0..1."""
    scale = scales(folds)
    supports, refutes = part.supports, part.refutes
    return supports.factor * scale[supports.scale], refutes.factor * scale[refutes.scale]


def _evidence(folds: Sequence[Fold], overlap: float) -> dict[str, Evidence]:
    return {
        claim.number: verdicts.weigh(
            np.array([weighted(folds, part.of, part.weights) for part in claim.parts]),
            *np.array([boundaries(folds, part) for part in claim.parts]).T,
            overlap,
        )
        for claim in CLAIMS
    }


def why_not(folds: Sequence[Fold]) -> str | None:
    """Returns why a data set's folds don't count, however many there are; None if they do."""
    accuracy = mean(fold.parent for fold in folds)
    images = sum(fold.test_images for fold in folds)
    if reason := parent_doubts.not_learned(accuracy, folds[0].classes, images):
        return reason
    (whole_model,) = next(claim.parts for claim in CLAIMS if claim.number == "2a")
    (_, low, high), _ = intervals(folds, whole_model)
    if (high - low) / 2 > PRECISE * scales(folds)["known"]:
        return "The half-width of claim 2a's interval exceeds a fifth of what the parents know."
    return None


def _left_aside(name: str, folds: Sequence[Fold]) -> str | None:
    """Returns why a data set's verdicts don't count; None if they do."""
    if name not in DECIDING:
        return "This data set enters claim 7 only."
    if len(folds) < PLANNED[name]:
        return f"Only {len(folds)} of {PLANNED[name]} folds have been run."
    return why_not(folds)
