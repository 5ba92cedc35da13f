"""How sure a difference between two models is, from the same images or the same trials.

The parent of a study is one fixed model; what varies is a student's seed, and which images
happen to be in the test set. Every interval here is paired: what is hard for both models
cancels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean difference and its 95 % interval.

    Attributes:
        mean: of the differences, in their own unit (accuracies: 0..1).
        deviation: their standard deviation over seeds or pairs; None where there is only one.
        low: lower end of the interval, -inf where one number allows none.
        high: its upper end.
        count: how many seeds or pairs there are.
        freedom: degrees of freedom of Student's t behind the interval; 0 where it is infinite.
    """

    mean: float
    deviation: float | None
    low: float
    high: float
    count: int
    freedom: float

    def p_value(self, value: float) -> float:
        """Returns how likely so large a distance from `value` is if that is the truth.

        Two-sided, so that it is below 0.05 exactly where the interval leaves `value` out.
        """
        if math.isinf(self.low):
            return 1.0
        centre = (self.low + self.high) / 2
        error = (self.high - self.low) / 2 / _quantile(self.freedom)
        return float(2 * stats.t.sf(abs(centre - value) / error, self.freedom))

    def text(self, unit: str, scale: float = 1.0) -> str:
        """Returns `+1.2 points [+0.3, +2.1]`.

        Args:
            unit: what it is counted in.
            scale: what every number is multiplied by: 100 from accuracies to points.
        """
        # Adding zero turns a rounded -0.0 into 0.0.
        mean, low, high = (
            round(scale * number, 1) + 0.0 for number in (self.mean, self.low, self.high)
        )
        return f"{mean:+.1f} {unit} [{low:+.1f}, {high:+.1f}]"


def accuracy_difference(correct: np.ndarray, reference: np.ndarray) -> Estimate:
    """Returns the accuracy of a method minus that of the parent or of another method.

    Seeds s and images i are two crossed random samples: a difference d_si is a mean plus an
    effect of the seed, one of the image, and a rest. The mean of all has the variance

        seeds' / S + images' / N + rest's / (S N),  estimated as  (A + B - E) / (S N)

    from the mean squares A of seeds, B of images and E of the rest (A - E no less than zero),
    with degrees of freedom by Welch and Satterthwaite, (A + B - E)^2 over the sum of each mean
    square's square by its own degrees. It needs no normal distribution of the d_si. One seed
    leaves B / N, the sampling of images: the interval is then that model's, and says nothing
    of other seeds. In simulations 93 to 98 % of the intervals hold the truth; with two
    seeds that differ much it may be 89 %.

    Models that agree on every image of a small test set need not be equal. As Bonett and Price
    (2012) do for paired proportions, two images are added for the interval, not for the mean:
    one that only the first gets right, and one that only the second does. It keeps the interval
    about 2.8 / N to either side of zero where no image tells the models apart.

    Args:
        correct: which images the method's models get right; (seeds, images).
        reference: the same for the parent, (images,), or for another method with the same seeds
            in the same order, (seeds, images).

    Raises:
        ValueError: if the shapes do not fit, or there is no seed or no image.
    """
    correct, reference = np.asarray(correct, float), np.asarray(reference, float)
    fits = correct.ndim == 2 and reference.shape in (correct.shape, correct.shape[1:])
    if not fits or not correct.size:
        raise ValueError(f"can't compare shapes {correct.shape} and {reference.shape}")
    differences = correct - reference
    seeds = len(differences)
    by_seed = differences.mean(axis=1)
    padded = np.hstack([differences, np.tile([1.0, -1.0], (seeds, 1))])
    square, freedom = _variance_components(padded)
    half = _quantile(freedom) * math.sqrt(square / padded.size)
    return Estimate(
        mean=float(by_seed.mean()),
        deviation=float(by_seed.std(ddof=1)) if seeds > 1 else None,
        low=float(padded.mean()) - half,
        high=float(padded.mean()) + half,
        count=seeds,
        freedom=freedom,
    )


def number_difference(differences: Sequence[float], step: float) -> Estimate:
    """Returns the mean of paired differences with Student's interval.

    Numbers that are counted in steps, such as epochs, may be equal by their rounding. Each
    difference of two varies by step^2 / 6 through rounding alone, and the variance is never
    taken to be less.

    Args:
        differences: one a pair: a seed, or a block.
        step: the smallest difference that two of the numbers can show; 1 for epochs.

    Raises:
        ValueError: if there is no difference.
    """
    count = len(differences)
    if not count:
        raise ValueError("no differences")
    mean = math.fsum(differences) / count
    if count == 1:
        return Estimate(mean, None, -math.inf, math.inf, 1, 0)
    deviation = float(np.std(differences, ddof=1))
    error = math.sqrt(max(deviation**2, step**2 / 6) / count)
    half = _quantile(count - 1) * error
    return Estimate(mean, deviation, mean - half, mean + half, count, count - 1)


def mcnemar(correct: np.ndarray, reference: np.ndarray) -> float:
    """Returns McNemar's exact p value that two models are equally often right.

    Args:
        correct: which images one model gets right; (images,).
        reference: the same for the other model.
    """
    correct, reference = np.asarray(correct, bool), np.asarray(reference, bool)
    wins = int(np.sum(correct & ~reference))
    losses = int(np.sum(~correct & reference))
    # Without an image that tells them apart SciPy has nothing to test.
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def _variance_components(differences: np.ndarray) -> tuple[float, float]:
    """Returns A + B - E of `accuracy_difference` and its degrees of freedom."""
    seeds, images = differences.shape
    by_seed = differences.mean(axis=1, keepdims=True)
    by_image = differences.mean(axis=0, keepdims=True)
    of_images = seeds * float(by_image.var(ddof=1))
    if seeds == 1:
        return of_images, images - 1
    of_seeds = images * float(by_seed.var(ddof=1))
    rest = differences - by_seed - by_image + differences.mean()
    freedom_of_rest = (seeds - 1) * (images - 1)
    of_rest = float(np.sum(rest**2)) / freedom_of_rest
    square = of_images + max(of_seeds - of_rest, 0.0)
    uncertainty = (
        of_images**2 / (images - 1) + of_seeds**2 / (seeds - 1) + of_rest**2 / freedom_of_rest
    )
    return square, square**2 / uncertainty


def _quantile(freedom: float) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
