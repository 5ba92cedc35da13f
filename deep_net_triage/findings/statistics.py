"""95 % intervals: of an accuracy, and of the difference between two models.

The parent of a study is one fixed model. What varies is a student's seed, and which images
happen to be in the test set. Differences are paired by image, so that an image that is hard for
both models cancels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from deep_net_triage.wording import signed

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean difference and its 95 % interval.

    Attributes:
        mean: of the differences, in their own unit (accuracies: 0..1).
        low: the lower end of the interval; -inf where there is only one number.
        high: its upper end.
        count: the number of seeds or pairs; of the first side where the two are apart.
        freedom: degrees of freedom of Student's t behind the interval; 0 where it is infinite.
    """

    mean: float
    low: float
    high: float
    count: int
    freedom: float

    def p_value(self, value: float) -> float:
        """Returns the two-sided p value of the hypothesis that the true difference is `value`.

        It is below 0.05 exactly where the interval does not hold `value`.
        """
        if math.isinf(self.low):
            return 1.0
        centre = (self.low + self.high) / 2
        error = (self.high - self.low) / 2 / _quantile(self.freedom)
        return float(2 * stats.t.sf(abs(centre - value) / error, self.freedom))

    def text(self, unit: str = "", scale: float = 1.0) -> str:
        """Returns `+1.2 points [+0.3, +2.1]`.

        Args:
            unit: the unit of the numbers, once scaled; empty to leave it out.
            scale: the factor of all three numbers: 100 turns accuracies into points.
        """
        mean, low, high = (signed(scale * n) for n in (self.mean, self.low, self.high))
        return " ".join(filter(None, (mean, unit, f"[{low}, {high}]")))


def accuracy_interval(accuracy: float, images: int) -> tuple[float, float]:
    """Returns the 95 % interval of a single model's accuracy, by Wilson's score.

    Args:
        accuracy: the share of the images that the model classifies correctly, 0..1.
        images: the number of images.
    """
    test = stats.binomtest(round(accuracy * images), images)
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def accuracy_difference(correct: np.ndarray, reference: np.ndarray) -> Estimate:
    """Returns the accuracy of a method minus the accuracy of the parent or another method.

    Seeds s and images i are two crossed random samples: a difference d_si is a mean plus an
    effect of the seed, one of the image, and a rest. The mean of all has the variance

        seeds' / S + images' / N + rest's / (S N),  estimated as  (A + B - E) / (S N)

    from the mean squares A of seeds, B of images and E of the rest (A - E no less than zero),
    with degrees of freedom by Welch and Satterthwaite, (A + B - E)^2 over the sum of each mean
    square's square by its own degrees. The d_si need no normal distribution. With one seed the
    variance is B / N, from the sampling of images alone: the interval then holds for that one
    model, not for other seeds. In simulations 93 to 98 % of the intervals hold the truth; with
    two seeds that differ much, 89 %.

    Models that agree on every image of a small test set need not be equal. As Bonett and Price
    (2012) do for paired proportions, two artificial images are added for the interval, not for
    the mean: one that only the first gets right, and one that only the second does. Where the
    models agree on every image, the interval then reaches about 2.8 / N to either side of zero.

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
    return _estimate(correct - reference)


def against_parent(
    students: Mapping[int, np.ndarray], parent: np.ndarray | None
) -> Estimate | None:
    """Returns the accuracy of a method's students minus their parent's.

    Args:
        students: by seed, which test images a student gets right, bool, (images,).
        parent: the same for the parent.

    Returns:
        None where `correct.npy` is missing for the parent or for all students.
    """
    if not students or parent is None:
        return None
    return accuracy_difference(np.stack(list(students.values())), parent)


def paired_difference(
    first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray]
) -> Estimate | None:
    """Returns the accuracy of some students minus that of others, over the seeds of both.

    Args:
        first: by seed, which test images a student gets right, bool, (images,).
        second: the same for the others.

    Returns:
        None where they share no seed.
    """
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return None
    return accuracy_difference(
        np.stack([first[seed] for seed in seeds]), np.stack([second[seed] for seed in seeds])
    )


def unpaired_difference(
    first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray]
) -> Estimate | None:
    """Returns the accuracy of some networks minus that of others, whatever their seeds are.

    Unlike `paired_difference`, it takes every network of both, because equal seeds have nothing
    in common where the trainings differ. Test images are paired. Each side with several seeds
    adds the variance between its own, which is estimated as in `accuracy_difference`.

    Args:
        first: by seed, which test images a network gets right, bool, (images,).
        second: the same for the others.

    Returns:
        None where one of them is empty.
    """
    if not first or not second:
        return None
    sides = (np.stack(list(side.values())).astype(float) for side in (first, second))
    return _estimate(next(sides), -next(sides))


def number_difference(differences: Sequence[float], step: float) -> Estimate:
    """Returns the mean of paired differences with Student's interval.

    Numbers that are counted in steps, such as epochs, may be equal through rounding. Rounding
    alone gives the difference of two of them a variance of step^2 / 6, so the variance is taken
    to be at least that.

    Args:
        differences: one for each pair: a seed, or a block.
        step: the step that the numbers are counted in; 1 for epochs.

    Raises:
        ValueError: if there is no difference.
    """
    count = len(differences)
    if not count:
        raise ValueError("no differences")
    mean = math.fsum(differences) / count
    if count == 1:
        return Estimate(mean, -math.inf, math.inf, 1, 0)
    deviation = float(np.std(differences, ddof=1))
    error = math.sqrt(max(deviation**2, step**2 / 6) / count)
    half = _quantile(count - 1) * error
    return Estimate(mean, mean - half, mean + half, count, count - 1)


def _estimate(*parts: np.ndarray) -> Estimate:
    """Returns the sum of the parts' means, each over (seeds, images) of the same images."""
    artificial = ((1.0, -1.0), (0.0, 0.0))
    padded = [
        np.hstack([part, np.tile(ends, (len(part), 1))])
        for part, ends in zip(parts, artificial, strict=False)
    ]
    by_image = sum(part.mean(axis=0) for part in padded)
    images = len(by_image)
    of_images = float(by_image.var(ddof=1)) / images
    square, uncertainty = of_images, of_images**2 / (images - 1)
    for part in padded:
        if len(part) > 1:
            of_seeds, more = _of_seeds(part)
            square, uncertainty = square + of_seeds, uncertainty + more
    freedom = square**2 / uncertainty
    half = _quantile(freedom) * math.sqrt(square)
    centre = float(by_image.mean())
    return Estimate(
        mean=float(sum(part.mean(axis=1).mean() for part in parts)),
        low=centre - half,
        high=centre + half,
        count=len(parts[0]),
        freedom=freedom,
    )


def _of_seeds(part: np.ndarray) -> tuple[float, float]:
    """Returns (A - E) / (S N) of `accuracy_difference`, no less than 0.

    The second number is what the two mean squares add to the sum of Welch and Satterthwaite.
    """
    seeds, images = part.shape
    by_seed = part.mean(axis=1, keepdims=True)
    rest = part - by_seed - part.mean(axis=0, keepdims=True) + part.mean()
    freedom_of_rest = (seeds - 1) * (images - 1)
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    of_rest = float(np.sum(rest**2)) / freedom_of_rest / part.size
    uncertainty = of_seeds**2 / (seeds - 1) + of_rest**2 / freedom_of_rest
    return max(of_seeds - of_rest, 0.0), uncertainty


def _quantile(freedom: float) -> float:
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
