"""Simulates the folds of `docs/folds.md`: do intervals cover the truth, is the power enough?

The variances are those of the committed CIFAR-10 studies: of the test images, with the
covariance of trials that share them, and of the seeds. Of the parents it is assumed that they
add nothing, or as much again as the test images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import verdicts
from contrasts import CLAIMS, Claim, Part

from deep_net_triage.records.study_results import StudyResults

FOLDS, IMAGES, REPEATS, SEED = 6, 2000, 20_000, 20261128
OVERLAP = 1 / (FOLDS - 1)
# A quarter of the trials of a random first block start slowly, and lose as many points.
SLOW_SHARE, SLOW_COST = 0.25, 0.08
SLOW_METHODS = ("cl_rw", "stn")
# The correlation of folds that have training images in common, if they have any.
COMMON = 0.1
# What a parent of the study must reach on CIFAR-10.
EXPECTED, CHANCE = 0.75, 0.1
SCALES = {"known": EXPECTED - CHANCE, "least": min(EXPECTED - CHANCE, 1 - EXPECTED)}


# What is true, the claim, the right verdict, and the value of all its parts; None for those of
# the first study.
TRUTHS = (
    ("blocks differ as in the first study", "1", "not supported", None),
    ("nothing differs", "1", "not supported", 0.0),
    ("whole models gain 2 points at each block", "1", "supported", 0.02),
    ("nothing differs", "2a", "supported", 0.0),
    ("2 points are lost", "2a", "not supported", -0.02),
    ("layers gain as in the first study", "2b", "not supported", None),
    ("nothing differs", "2b", "supported", 0.0),
    ("blocks differ as in the first study", "4", "not supported", None),
    ("nothing differs", "4", "supported", 0.0),
)


@dataclass(frozen=True)
class Model:
    """The distribution of some parts' values in one fold, in accuracies, 0..1.

    Attributes:
        means: (parts,).
        images: covariance by the sampling of test images, (parts, parts).
        seeds: covariance by the seeds of the trials, (parts, parts).
        slow: each part's weight on every trial that may start slowly, (parts, trials).
    """

    means: np.ndarray
    images: np.ndarray
    seeds: np.ndarray
    slow: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        """The variance of each part in one fold."""
        return np.diag(self.images + self.seeds)

    def scaled(self, noise: float) -> "Model":
        """Returns the distribution with deviations multiplied by a factor."""
        return replace(self, images=noise**2 * self.images, seeds=noise**2 * self.seeds)

    def draw(self, parents: float = 0.0, slow: bool = False, common: float = 0.0) -> np.ndarray:
        """Returns simulated values less their true means, (repeats, parts, folds).

        Args:
            parents: the variance that parents add, relative to that of test images.
            slow: whether some trials start slowly; seeds have no other effect then.
            common: the correlation between folds.
        """
        random = np.random.default_rng(SEED)
        covariance = (1 + parents) * self.images + (0 if slow else self.seeds)
        root = np.linalg.cholesky(covariance + 1e-15 * np.eye(len(covariance)))
        own = random.standard_normal((REPEATS, len(root), FOLDS))
        shared = random.standard_normal((REPEATS, len(root), 1))
        values = root @ (np.sqrt(1 - common) * own + np.sqrt(common) * shared)
        if slow:
            starts = random.random((REPEATS, self.slow.shape[1], FOLDS)) < SLOW_SHARE
            values -= SLOW_COST * (self.slow @ (starts - SLOW_SHARE))
        return values


def fitted(study: StudyResults, parts: Sequence[Part]) -> Model:
    """Returns the distribution of parts on accuracy, as in a study with several seeds."""
    correct = {
        (method, block, seed): value.astype(float)
        for (method, block, seed), value in study.correct.items()
    }
    seeds = sorted({seed for _, _, seed in correct})
    cells = sorted({(method, block) for method, block, _ in correct})
    weights = np.array([[part.weights.get(cell, 0.0) for cell in cells] for part in parts])
    by_seed = [weights @ np.stack([correct[*cell, seed] for cell in cells]) for seed in seeds]
    accuracies = np.array([[correct[*cell, seed].mean() for cell in cells] for seed in seeds])
    # Seeds share their images, so that what they differ by is theirs, and the images' rest.
    sampled = np.array(
        [
            np.var([correct[*cell, seed] for seed in seeds], axis=0, ddof=1).mean()
            for cell in cells
        ]
    )
    of_seeds = np.maximum(accuracies.var(axis=0, ddof=1) - sampled / IMAGES, 0)
    slow = [place for place, cell in enumerate(cells) if cell[0] in SLOW_METHODS]
    first = [place for place in slow if cells[place][1] == "block1"]
    return Model(
        means=np.mean([values.mean(axis=1) for values in by_seed], axis=0),
        images=np.mean([np.cov(values) / IMAGES for values in by_seed], axis=0),
        seeds=weights * of_seeds @ weights.T,
        slow=weights[:, first],
    )


def coverage(model: Model, parts: Sequence[Part]) -> Iterator[str]:
    """Yields a table of the share of 95 % intervals that hold the true value."""
    situations = {
        "independent folds": ({}, 0.0),
        "a random first block may start slowly": ({"slow": True}, 0.0),
        f"folds correlate by {COMMON:g}": ({"common": COMMON}, 0.0),
        "the same, corrected for overlap": ({"common": COMMON}, OVERLAP),
        "independent, corrected for overlap": ({}, OVERLAP),
    }
    yield f"| difference | {' | '.join(situations)} |"
    yield f"|---|{'---|' * len(situations)}"
    columns = []
    for drawn, overlap in situations.values():
        mean, error = verdicts.spread(model.draw(**drawn), overlap)
        half = verdicts.quantile(FOLDS) * error
        columns.append(np.mean(np.abs(mean) <= half, axis=0))
    for place, part in enumerate(parts):
        shares = (f"{100 * column[place]:.1f} %" for column in columns)
        yield f"| {part.name} | {' | '.join(shares)} |"


def power(
    paper: StudyResults, settled: StudyResults, claims: Mapping[str, Claim]
) -> Iterator[str]:
    """Yields a table of how often a claim would be decided, at the strictest of Holm's levels.

    Args:
        paper: the study by the paper's recipe, with all methods.
        settled: the one by the settled recipe, with those that update the whole model.
        claims: by number.
    """
    both = [fitted(study, claims["2a"].parts) for study in (paper, settled)]
    quieter = np.sqrt(both[1].variance / both[0].variance).item()
    yield "| truth | verdict | paper's noise | settled | parents vary | uncorrected |"
    yield "|---|---|---|---|---|---|"
    for text, number, verdict, changed in TRUTHS:
        parts = claims[number].parts
        model = fitted(paper, parts)
        means = model.means if changed is None else np.full(len(parts), changed)
        shares = (
            decided(model.scaled(noise), parts, means, parents, overlap)[verdict]
            for noise, parents, overlap in (
                (1.0, 0.0, OVERLAP),
                (quieter, 0.0, OVERLAP),
                (quieter, 1.0, OVERLAP),
                (quieter, 0.0, 0.0),
            )
        )
        columns = (text, f"claim {number} {verdict}", *(f"{share:.2f}" for share in shares))
        yield f"| {' | '.join(columns)} |"


def decided(
    model: Model, parts: Sequence[Part], means: np.ndarray, parents: float, overlap: float
) -> dict[str, float]:
    """Returns the shares of simulated studies with each verdict on a claim.

    Args:
        model: the distribution of the claim's parts.
        parts: of the claim.
        means: the true values, (parts,).
        parents: the variance that parents add, relative to that of test images.
        overlap: as in `verdicts.spread`.
    """
    values = model.draw(parents) + means[:, np.newaxis]
    supports, refutes = (
        np.array([SCALES[boundary.scale] * boundary.factor for boundary in side])
        for side in zip(*((part.supports, part.refutes) for part in parts), strict=True)
    )
    evidence = verdicts.weigh(values, supports, refutes, overlap)
    level = verdicts.LEVEL / len(CLAIMS)
    right, wrong = 2 * evidence.supports <= level, 2 * evidence.refutes <= level
    shares = {
        "supported": right & ~wrong,
        "not supported": wrong & ~right,
        "small difference": right & wrong,
    }
    return {name: float(share.mean()) for name, share in shares.items()}
