"""Which candidates a compression takes, and in which order."""

import itertools
import random

import pytest

from deep_net_triage.network.block import Block
from deep_net_triage.network.descriptions import Shape
from deep_net_triage.study import selection
from deep_net_triage.study.selection import Candidate


def candidate(layers, cost, saved, interval=None, pool=None):
    """A candidate whose block has one layer for each letter."""
    shape = Shape(1, (1, 1), "same")
    block = Block(layers, None, tuple(layers), (), (), pool, shape, None, ("", "", ""))
    return Candidate(block, "cm_rw", cost, saved, interval or (cost, cost))


def names(candidates):
    return [candidate.block.name for candidate in candidates]


def test_the_set_that_saves_most_comes_first():
    large, small, smaller = (
        candidate("a", 0.02, 0.30),
        candidate("b", 0.012, 0.25),
        candidate("c", 0.008, 0.20),
    )
    # b and c together cost 0.02 and save 0.45, more than a; the largest alone would save 0.30.
    assert names(selection.in_order([large, small, smaller], 0.02)) == ["b", "c", "a"]


def test_a_block_and_one_that_begins_with_its_pooling_exclude_each_other():
    """With both replaced, the first would return maps that are not pooled."""
    first, second = candidate("ab", 0.0, 0.2, pool="c"), candidate("cd", 0.0, 0.3)
    assert first.overlaps(second)
    assert second.overlaps(first)
    assert names(selection.best_set([first, second], 0.02)) == ["cd"]


def test_many_blocks_that_overlap_are_few_choices():
    """They have 2 to the power of 60 subsets, but a choice holds one of them at most."""
    nested = [candidate("a" + chr(200 + number), 0.0, number / 100) for number in range(60)]
    assert names(selection.best_set(nested, 0.02)) == [nested[-1].block.name]


def test_a_gain_does_not_pay_for_a_loss():
    gaining, losing = candidate("a", -0.05, 0.1), candidate("b", 0.03, 0.5)
    best = selection.best_set([gaining, losing, candidate("c", 0.02, 0.2)], 0.03)
    # With the gain of 0.05, all three would cost nothing.
    assert names(best) == ["a", "b"]


def test_what_saves_nothing_or_costs_too_much_is_not_tried():
    wrong = [candidate("a", 0.0, 0.0), candidate("b", 0.0, -0.1), candidate("c", 0.021, 0.9)]
    assert selection.in_order(wrong, 0.02) == []
    # Rounding: 0.9 - 0.88 is more than 0.02 by 2e-17.
    assert len(selection.in_order([candidate("a", 0.9 - 0.88, 0.1)], 0.02)) == 1


def test_what_may_cost_little_enough_is_tried():
    cheap = candidate("a", 0.01, 0.1, (-0.01, 0.03))
    doubtful, large = (
        candidate("b", 0.03, 0.4, (0.019, 0.041)),
        candidate("c", 0.03, 0.5, (0.021, 0.039)),
    )
    assert names(selection.in_order([cheap, large, doubtful], 0.02)) == ["b", "a"]
    # By their lower ends, a and b fit together; by their costs, they would not.
    assert names(selection.best_set([cheap, doubtful], 0.02)) == ["a", "b"]


def test_a_block_and_its_half_are_never_in_one_set():
    whole, first, last = (
        candidate("abcd", 0.03, 0.5),
        candidate("ab", 0.005, 0.2),
        candidate("cd", 0.005, 0.15),
    )
    assert names(selection.best_set([whole, first, last], 0.02)) == ["ab", "cd"]
    assert names(selection.best_set([whole, first, last], 0.05)) == ["abcd"]
    # The halves come behind, in case that the whole fails.
    assert names(selection.in_order([whole, first, last], 0.05)) == ["abcd", "ab", "cd"]


@pytest.mark.parametrize("seed", range(20))
def test_no_other_set_saves_more(seed):
    """All subsets are compared, on numbers drawn at random."""
    draw = random.Random(seed)
    layers = ["ab", "a", "b", "cd", "c", "d", "e", "f"]
    candidates = [candidate(name, draw.uniform(-0.01, 0.03), draw.random()) for name in layers]

    def worth(chosen):
        letters = "".join(names(chosen))
        cost = sum(max(0, c.cost) for c in chosen)
        is_allowed = len(set(letters)) == len(letters) and cost <= 0.04
        return sum(c.saved for c in chosen) if is_allowed else -1

    subsets = itertools.chain(
        *(itertools.combinations(candidates, n) for n in range(len(candidates) + 1))
    )
    best = selection.best_set(candidates, 0.04)
    assert worth(best) == pytest.approx(max(map(worth, subsets)))
