"""Intervals against hand-worked numbers, SciPy, and simulations whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deep_net_triage.findings.statistics import (
    accuracy_difference,
    accuracy_interval,
    against_parent,
    number_difference,
    paired_difference,
    unpaired_difference,
)


def test_one_seed_by_hand():
    # 7 images: 3 won, 1 lost, 3 alike. With one more of each: 9 differences, 4 of +1, 2 of -1.
    correct = np.array([[1, 1, 1, 0, 1, 1, 0]], bool)
    parent = np.array([0, 0, 0, 1, 1, 1, 0], bool)
    estimate = accuracy_difference(correct, parent)
    assert estimate.mean == pytest.approx(2 / 7)
    assert (estimate.count, estimate.freedom) == (1, 8)
    variance = (6 - 9 * (2 / 9) ** 2) / 8
    half = 2.306004 * math.sqrt(variance / 9)  # Student's t for 8 degrees, from a table
    assert (estimate.low, estimate.high) == pytest.approx((2 / 9 - half, 2 / 9 + half))


def test_one_seed_is_bonett_and_prices_interval_on_many_images():
    counts = {(1, 1): 700, (1, 0): 31, (0, 1): 58, (0, 0): 211}
    pairs = np.array([pair for pair, count in counts.items() for _ in range(count)], bool)
    estimate = accuracy_difference(pairs[None, :, 0], pairs[:, 1])
    won, lost = 32 / 1002, 59 / 1002
    half = 1.959964 * math.sqrt((won + lost - (won - lost) ** 2) / 1002)
    assert estimate.low == pytest.approx(won - lost - half, abs=5e-5)
    assert estimate.high == pytest.approx(won - lost + half, abs=5e-5)


def test_several_seeds_by_hand():
    # Two seeds, two images and the two added ones; image effects cancel in the first two:
    #   seed 0:  1  0 | 1 -1   mean  1/4
    #   seed 1:  0 -1 | 1 -1   mean -1/4
    # images:  1/2 -1/2 1 -1, mean 0. A = 4 x 1/8, B = 2 x (1/4 + 1/4 + 1 + 1) / 3 = 5/3.
    # Rest of seed 0: 1/4 1/4 -1/4 -1/4, of seed 1 its negative: E = 8 x 1/16 / 3 = 1/6.
    estimate = accuracy_difference(np.array([[1, 0], [0, 0]]), np.array([[0, 0], [0, 1]]))
    square = 1 / 2 + 5 / 3 - 1 / 6
    freedom = square**2 / ((1 / 2) ** 2 / 1 + (5 / 3) ** 2 / 3 + (1 / 6) ** 2 / 3)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(square / 8)
    assert estimate.mean == 0
    assert estimate.freedom == pytest.approx(freedom)
    assert (estimate.low, estimate.high) == pytest.approx((-half, half))


def test_seeds_that_differ_decide_where_images_are_many():
    # Whole seeds win or lose 20 %, 10 %, 0 % of 40,000 images: Student's interval over seeds.
    correct = np.zeros((3, 40_000), bool)
    correct[0, :8000] = correct[1, 8000:12_000] = True
    estimate = accuracy_difference(correct, np.zeros(40_000, bool))
    expected = stats.t.interval(0.95, 2, loc=0.1, scale=0.1 / math.sqrt(3))
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=0.003)


def test_equal_seeds_are_no_more_certain_than_one():
    generator = np.random.default_rng(0)
    correct, parent = generator.random((2, 400)) < 0.9
    one = accuracy_difference(correct[None], parent)
    three = accuracy_difference(np.stack([correct] * 3), parent)
    assert (three.low, three.high) == pytest.approx((one.low, one.high))
    assert three.mean == pytest.approx(one.mean)


def test_the_same_models_twice_are_not_certainly_equal():
    right = np.ones(1000, bool)
    for seeds in (1, 4):
        estimate = accuracy_difference(np.stack([right] * seeds), right)
        assert estimate.mean == 0
        # Sampling may hide a difference of 3 in 1000 images in 1 test set of 20.
        assert estimate.high == pytest.approx(2.8 / 1000, rel=0.02)
        assert estimate.low == -estimate.high


def test_two_methods_are_paired_seed_by_seed():
    # Both methods' seeds vary together, so that their difference does not.
    generator = np.random.default_rng(1)
    easy = generator.random(2000)
    first = np.stack([easy < level for level in (0.5, 0.7, 0.9)])
    second = np.stack([easy < level - 0.1 for level in (0.5, 0.7, 0.9)])
    paired = accuracy_difference(first, second)
    crossed = accuracy_difference(first, second[[1, 2, 0]])
    assert paired.mean == pytest.approx(crossed.mean) == pytest.approx(0.1, abs=0.02)
    assert paired.low > 0 > crossed.low


@pytest.mark.parametrize(
    ("correct", "reference"),
    [((5,), (5,)), ((2, 5), (4,)), ((2, 5), (3, 5)), ((0, 5), (5,)), ((2, 0), (0,))],
)
def test_shapes_that_do_not_fit(correct, reference):
    with pytest.raises(ValueError, match="shapes"):
        accuracy_difference(np.zeros(correct), np.zeros(reference))


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 30), st.booleans())
def test_any_instance(seed, seeds, images, two_methods):
    generator = np.random.default_rng(seed)
    correct = generator.random((seeds, images)) < generator.random()
    reference = generator.random((seeds, images)) < generator.random()
    reference = reference if two_methods else reference[0]
    estimate = accuracy_difference(correct, reference)
    assert estimate.low < estimate.high
    assert estimate.freedom > 0
    assert estimate.mean == pytest.approx(correct.mean() - reference.mean())
    swapped = accuracy_difference(~correct, ~reference)
    assert (swapped.low, swapped.high) == pytest.approx((-estimate.high, -estimate.low))
    assert estimate.p_value(estimate.low) == pytest.approx(0.05)


def simulate(generator, seeds, images, spread):
    """A method's seeds and a parent on new images: hard images are hard for all of them.

    Returns `correct`, `parent`, and the difference of their true accuracies: one seed's own, or
    that of the method over all its seeds.
    """
    easiness = generator.standard_normal(images)
    of_seeds = spread * generator.standard_normal((seeds, 1))
    correct = easiness + of_seeds + generator.standard_normal((seeds, images)) > -1.0
    parent = easiness + generator.standard_normal(images) > -1.2
    if seeds == 1:
        student = stats.norm.cdf((1.0 + of_seeds.item()) / math.sqrt(2))
    else:
        student = stats.norm.cdf(1.0 / math.sqrt(2 + spread**2))
    return correct, parent, student - stats.norm.cdf(1.2 / math.sqrt(2))


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("seeds", [1, 3])
def test_95_percent_of_intervals_hold_the_truth(seeds, spread):
    generator = np.random.default_rng(0)
    repetitions, held = 1000, 0
    for _ in range(repetitions):
        correct, parent, truth = simulate(generator, seeds, 500, spread)
        estimate = accuracy_difference(correct, parent)
        held += estimate.low <= truth <= estimate.high
    assert 0.92 <= held / repetitions <= 0.98


def test_intervals_hold_the_truth_where_models_hardly_differ():
    # The students lose one image in 100 that the parent has; on most test sets of 50 none.
    generator = np.random.default_rng(0)
    estimates = [
        accuracy_difference(generator.random((1, 50)) >= 0.01, np.ones(50)) for _ in range(1000)
    ]
    assert np.mean([e.low <= -0.01 <= e.high for e in estimates]) > 0.94


def test_paired_differences_have_students_t_interval():
    first, second = [5, 9, 4, 7], [6, 12, 4, 12]
    estimate = number_difference(np.subtract(first, second), step=1)
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))
    assert estimate.p_value(0) == pytest.approx(expected.pvalue)
    assert (estimate.mean, estimate.count, estimate.freedom) == (-2.25, 4, 3)


def test_equal_numbers_are_as_certain_as_their_steps():
    # Rounding two numbers to whole epochs varies their difference by 1/6.
    estimate = number_difference([-1, -1, -1, -1, -1], step=1)
    half = 2.776445 * math.sqrt(1 / 6 / 5)
    assert (estimate.low, estimate.high) == pytest.approx((-1 - half, -1 + half))
    finer = number_difference([-1, -1, -1, -1, -1], step=0.1)
    assert finer.high - finer.mean == pytest.approx(half / 10)


def test_one_number_has_no_interval():
    estimate = number_difference([3.0], step=1)
    assert (estimate.mean, estimate.low, estimate.high) == (3.0, -math.inf, math.inf)
    assert estimate.p_value(100) == 1
    with pytest.raises(ValueError, match="no differences"):
        number_difference([], step=1)


def test_text_in_points():
    estimate = number_difference([0.0101, 0.0099, 0.0120, 0.0080], step=0)
    assert estimate.text("points", 100) == "+1.0 points [+0.7, +1.3]"
    assert number_difference([-0.01, 0.01], step=0.01).text("epochs") == (
        "+0.0 epochs [-0.1, +0.1]"
    )


def test_the_interval_of_an_accuracy_is_wilsons():
    # Wilson (1927): (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    for accuracy, images in ((0.1, 1000), (0.75, 12), (1.0, 30)):
        z = 1.959964
        centre = accuracy + z**2 / 2 / images
        half = z * math.sqrt(accuracy * (1 - accuracy) / images + z**2 / 4 / images**2)
        low, high = ((centre + side * half) / (1 + z**2 / images) for side in (-1, 1))
        assert accuracy_interval(accuracy, images) == pytest.approx((low, high), abs=1e-6)


def test_students_are_compared_by_the_seeds_of_both():
    first = {0: np.array([1, 1, 0, 1]), 1: np.array([1, 0, 0, 0])}
    second = {1: np.array([1, 1, 0, 0]), 2: np.array([0, 0, 0, 0])}
    estimate = paired_difference(first, second)
    assert (estimate.mean, estimate.count) == (-0.25, 1)
    assert paired_difference(first, {2: second[2]}) is None
    estimate = against_parent(first, np.array([1, 1, 1, 1]))
    assert (estimate.mean, estimate.count) == (-0.5, 2)
    assert against_parent(first, None) is against_parent({}, first[0]) is None


def test_networks_of_different_trainings_by_hand():
    # Two seeds less one, two images and the two added ones:
    #   first, seed 0:  1  1 | 1 -1   mean 1/2;  second:  0  1 | 0  0
    #   first, seed 1:  0  0 | 1 -1   mean 0
    # Images, of the means' difference:  1/2 -1/2 1 -1, mean 0, variance 5/6, of 4: 5/24.
    # Seeds of the first: variance 1/8, of 2: 1/16. Its rest is 1/4 1/4 -1/4 -1/4 and the
    # negative, mean square 1/6, of 8: 1/48, so that seeds add 1/16 - 1/48.
    first = {0: np.array([1, 1]), 5: np.array([0, 0])}
    estimate = unpaired_difference(first, {1: np.array([0, 1])})
    square = 5 / 24 + 1 / 16 - 1 / 48
    freedom = square**2 / ((5 / 24) ** 2 / 3 + (1 / 16) ** 2 / 1 + (1 / 48) ** 2 / 3)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(square)
    assert (estimate.mean, estimate.freedom) == (0, pytest.approx(freedom))
    assert (estimate.low, estimate.high) == pytest.approx((-half, half))
    assert unpaired_difference(first, {}) is unpaired_difference({}, first) is None


def test_a_single_network_apart_is_as_a_parent():
    generator = np.random.default_rng(0)
    students = dict(enumerate(generator.random((3, 200)) < 0.8))
    parent = generator.random(200) < 0.9
    expected, estimate = (
        against_parent(students, parent),
        unpaired_difference(students, {7: parent}),
    )
    for name in ("mean", "low", "high", "freedom"):
        assert getattr(estimate, name) == pytest.approx(getattr(expected, name))
