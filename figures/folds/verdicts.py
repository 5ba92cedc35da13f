"""How folds decide a claim: Student's t over folds, and Holm's correction over the claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05


@dataclass(frozen=True)
class Evidence:
    """Evidence on one claim from the folds of one data set.

    Attributes:
        supports: the p value of the hypothesis that some part is not above the boundary that
            supports it.
        refutes: the p value of the hypothesis that no part is below the boundary that refutes
            it.
    """

    supports: np.ndarray
    refutes: np.ndarray

    @property
    def decides(self) -> np.ndarray:
        """The p value of either decision."""
        return np.minimum(1, 2 * np.minimum(self.supports, self.refutes))


def spread(values: np.ndarray, overlap: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean over folds and its standard error.

    Args:
        values: one a fold, (..., folds).
        overlap: 0 if folds are taken to be independent; test images divided by training images
            for Nadeau and Bengio's (2003) correction for training images that folds share.
    """
    folds = values.shape[-1]
    variance = values.var(axis=-1, ddof=1)
    return values.mean(axis=-1), np.sqrt(variance * (1 / folds + overlap))


def quantile(folds: int) -> float:
    """Returns the quantile of Student's t by which an error is half of a 95 % interval."""
    return float(stats.t.ppf(1 - LEVEL / 2, folds - 1))


def interval(values: Sequence[float], overlap: float = 0.0) -> tuple[float, float, float]:
    """Returns the mean over folds and both ends of its 95 % interval."""
    mean, error = spread(np.asarray(values, float), overlap)
    half = quantile(len(values)) * error
    return float(mean), float(mean - half), float(mean + half)


def above(values: np.ndarray, boundary: float | np.ndarray, overlap: float = 0.0) -> np.ndarray:
    """Returns Student's t of how far the mean over folds is above a boundary, as `spread`."""
    mean, error = spread(values, overlap)
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0 / 0: the folds agree on the boundary itself.
        return np.nan_to_num((mean - boundary) / error, nan=0.0)


def weigh(
    parts: np.ndarray, supports: np.ndarray, refutes: np.ndarray, overlap: float = 0.0
) -> Evidence:
    """Returns the evidence on a claim.

    A claim is right if all of its parts are: their largest p value counts. It is wrong if one
    of them is: the smallest counts, times their number (Bonferroni).

    Args:
        parts: the value of each part in each fold, (..., parts, folds).
        supports: the boundary above which a part is right, (parts,).
        refutes: the boundary below which it is wrong, (parts,).
        overlap: as in `spread`.
    """
    freedom = parts.shape[-1] - 1
    right = stats.t.sf(above(parts, supports, overlap), freedom)
    wrong = stats.t.cdf(above(parts, refutes, overlap), freedom)
    return Evidence(
        supports=right.max(axis=-1),
        refutes=np.minimum(1, wrong.min(axis=-1) * parts.shape[-2]),
    )


def verdicts(claims: Mapping[str, Evidence]) -> dict[str, str]:
    """Returns the verdict on each claim (Holm 1979).

    The most certain claim must reach 0.05 divided by the number of claims, the next 0.05
    divided by one claim less, and so on to the first that fails; the others are undecided.
    Both p values of a claim must reach the same level. Where it is right by its boundary and
    wrong by the other, there is a small difference.

    The probability that one or more verdicts are wrong is then at most 0.082: Holm's 0.05 and,
    for each of the four claims with two boundaries, half of its level, by which its other test
    may be wrong although the claim was decided rightly. That adds most if they come fourth to
    seventh of eight: 0.025 (1/5 + 1/4 + 1/3 + 1/2) = 0.032.
    """
    found = dict.fromkeys(claims, "undecided")
    by_certainty = sorted(claims, key=lambda number: float(claims[number].decides))
    for place, number in enumerate(by_certainty):
        evidence, level = claims[number], LEVEL / (len(claims) - place)
        if evidence.decides > level:
            break
        right, wrong = 2 * evidence.supports <= level, 2 * evidence.refutes <= level
        names = {(True, False): "supported", (False, True): "not supported"}
        found[number] = names.get((bool(right), bool(wrong)), "small difference")
    return found


def ordered(groups: Sequence[Sequence[float]]) -> Evidence:
    """Returns the evidence that each group of folds is larger than the one before it.

    Neighbours are compared by Welch's t test; the folds of two data sets are independent.
    """
    p_values = [
        stats.ttest_ind(later, earlier, equal_var=False, alternative="greater").pvalue
        for earlier, later in zip(groups, groups[1:], strict=False)
    ]
    smallest = min(1 - p for p in p_values)
    return Evidence(np.asarray(max(p_values)), np.asarray(min(1, smallest * len(p_values))))
