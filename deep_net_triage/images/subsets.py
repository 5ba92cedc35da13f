"""Chooses reproducible, class-balanced subsets of examples."""

import numpy as np

from deep_net_triage.errors import InputError

SUBSET_SEED = 0  # one seed, so that subsets of equal size are equal in all studies


def chosen_examples(labels: np.ndarray, count: int | None, flag: str) -> np.ndarray:
    """Returns the ascending indices, int64, of a balanced subset, or of all if `count` is None.

    Raises:
        InputError: if there are fewer examples than `count`, the value of `flag`.
    """
    if count is not None and count > len(labels):
        raise InputError(f"{flag}={count} asks for more than there are: {len(labels)}")
    return balanced_subset(labels, len(labels) if count is None else count)


def balanced_subset(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the ascending indices of a subset, int64, (count,).

    Examples are shuffled once, and classes take turns. Class sizes thus differ by at most one
    while no class is exhausted, and a smaller subset is part of every larger one.

    Args:
        labels: integers, (examples,).
        count: the size of the subset.
    """
    shuffled, turns, _ = _turns(labels)
    return np.sort(shuffled[np.argsort(turns, kind="stable")[:count]])


def proportional_subset(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the ascending indices of a subset in which classes keep their shares.

    Their numbers are those of Sainte-Lague's method for dividing seats. The last example of a
    class is taken only once no others are left. If all classes have the same size, this is
    `balanced_subset`.

    Args:
        labels: integers, (examples,).
        count: the size of the subset.
    """
    shuffled, turns, sizes = _turns(labels)
    order = np.where(turns == sizes - 1, np.inf, (turns + 0.5) / sizes)
    return np.sort(shuffled[np.argsort(order, kind="stable")[:count]])


def _turns(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns shuffled indices, each one's place within its class, and the class's size."""
    shuffled = np.random.default_rng(SUBSET_SEED).permutation(len(labels))
    turns, sizes = np.empty((2, len(labels)), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[shuffled] == label)
        turns[members] = np.arange(len(members))
        sizes[members] = len(members)
    return shuffled, turns, sizes
