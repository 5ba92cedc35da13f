"""Which examples a smaller set holds: the same ones each time, its classes in balance."""

import numpy as np

from deep_net_triage.errors import InputError

SUBSET_SEED = 0  # the same images for every study that asks for as many


def chosen_examples(labels: np.ndarray, count: int | None, flag: str) -> np.ndarray:
    """Returns which examples a study uses, int64 and ascending: all, or a balanced subset.

    Raises:
        InputError: if there are fewer than `count`, which `flag` asks for.
    """
    if count is not None and count > len(labels):
        raise InputError(f"{flag}={count} asks for more than there are: {len(labels)}")
    return balanced_subset(labels, len(labels) if count is None else count)


def balanced_subset(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns which examples a subset holds: the first `count` after one seeded shuffle.

    Classes take turns, so that their numbers differ by at most one while each has examples
    left, and a smaller subset is part of every larger one.

    Args:
        labels: (examples,) integers.
        count: how many to choose.

    Returns:
        int64 (count,), ascending.
    """
    shuffled = np.random.default_rng(SUBSET_SEED).permutation(len(labels))
    turn = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[shuffled] == label)
        turn[members] = np.arange(len(members))
    return np.sort(shuffled[np.argsort(turn, kind="stable")[:count]])
