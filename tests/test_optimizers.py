import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.learning import optimizers
from deep_net_triage.learning.optimizers import Adam, LearningRates
from tests.toys import dtype_policy

GRADIENTS = (
    np.random.default_rng(0).normal(size=(4, 5, 3)) * 10.0 ** np.arange(-1, 3)[:, None, None]
)


def by_numpy(start, rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Algorithm 1 of Adam's paper, in the order of its section 2's end."""
    weight, mean, square = start.copy(), 0.0, 0.0
    for step, gradient in enumerate(GRADIENTS, start=1):
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient**2
        corrected = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        weight -= corrected * mean / (np.sqrt(square) + epsilon)
    return weight


def by(optimizer_type, start, dtype, strategy=None):
    """The same steps by an optimiser, each replica with an equal share of the gradient."""
    with strategy.scope() if strategy else contextlib.nullcontext():
        weight = keras.Variable(start, dtype=dtype)
        optimizer = optimizer_type(0.01)
        optimizer.build([weight])
        strategy = tf.distribute.get_strategy()

        @tf.function
        def step(gradient):
            strategy.run(
                lambda part: optimizer.apply([part / strategy.num_replicas_in_sync], [weight]),
                (gradient,),
            )

        for gradient in GRADIENTS:
            step(tf.constant(gradient, dtype))
    return weight.numpy()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("replicas", [1, 2])
def test_it_is_adam(replicas, request):
    strategy = request.getfixturevalue("two_replicas") if replicas == 2 else None
    start = np.random.default_rng(1).normal(size=(5, 3))
    found = by(Adam, start, "float64", strategy)
    np.testing.assert_allclose(found, by_numpy(start), rtol=0, atol=1e-14)


def test_it_ends_where_keras_ends():
    # In float32: in float64 Keras takes powers of betas that were rounded to float32.
    start = np.random.default_rng(1).normal(size=(5, 3))
    expected = by(keras.optimizers.Adam, start, "float32")
    np.testing.assert_allclose(by(Adam, start, "float32"), expected, rtol=0, atol=3e-7)


def test_half_precision_skips_a_step_that_overflows_and_takes_the_next():
    with dtype_policy("mixed_float16"):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        model.compile(Adam(0.01), loss="mse", jit_compile=False)
        before = model.get_weights()[0]
        model.train_on_batch(np.full((4, 3), 1e4), np.zeros((4, 2)))  # squares beyond 65,504
        np.testing.assert_array_equal(model.get_weights()[0], before)
        model.train_on_batch(np.ones((4, 3)) / 2**6, np.ones((4, 2)) / 2**6)
        assert np.abs(model.get_weights()[0] - before).min() > 1e-4


def rates(settings, epochs, steps, rate=0.5):
    found = optimizers.rate_of(settings, rate, epochs, steps)
    return [float(found(step)) for step in range(epochs * steps + 1)]


def test_a_cosine_falls_to_zero_after_its_warm_up(small_settings):
    found = rates(small_settings(schedule="cosine", warmup_epochs=1), epochs=4, steps=10)
    rising = [0.5 * step / 10 for step in range(10)]
    falling = [0.25 * (1 + np.cos(np.pi * step / 30)) for step in range(31)]
    np.testing.assert_allclose(found, rising + falling, rtol=1e-6, atol=1e-7)


def test_a_constant_rate_may_have_a_warm_up(small_settings):
    settings = small_settings(warmup_epochs=2, epochs=4, distill_epochs=4)
    found = rates(settings, epochs=4, steps=5)
    rising = [0.5 * step / 10 for step in range(10)]
    np.testing.assert_allclose(found, rising + [0.5] * 11, rtol=1e-6)
    assert optimizers.rate_of(small_settings(), 0.5, 4, 5) == 0.5


@pytest.mark.usefixtures("float64")
def test_kernels_decay_and_nothing_else_does(parent, small_settings):
    settings = small_settings(optimizer="adamw", weight_decay=0.25)
    optimizer = optimizers.make(settings, parent, LearningRates(0.5, epochs=1, steps=1))
    weights = parent.trainable_variables
    before = [weight.numpy() for weight in weights]
    optimizer.apply([tf.zeros_like(weight) for weight in weights], weights)
    for weight, was in zip(weights, before, strict=True):
        # Without a gradient Adam itself does not move.
        kept = 1 - 0.5 * 0.25 if weight.name == "kernel" else 1
        np.testing.assert_allclose(weight, kept * was, rtol=1e-12, err_msg=weight.path)
    assert {weight.name for weight in weights} == {"kernel", "bias", "gamma", "beta"}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_some_variables_have_a_rate_of_their_own(optimizer, parent, small_settings):
    """A first step of Adam is the rate along each gradient's sign."""
    own = tuple(parent.get_layer("b2_conv1").weights)
    chosen = LearningRates(0.5, epochs=1, steps=1, own=own, own_rate=0.02)
    made = optimizers.make(small_settings(optimizer=optimizer), parent, chosen)
    weights = parent.trainable_variables
    before = [weight.numpy() for weight in weights]
    made.apply([tf.ones_like(weight) for weight in weights], weights)
    for weight, was in zip(weights, before, strict=True):
        step = 0.02 if any(weight is one for one in own) else 0.5
        np.testing.assert_allclose(was - weight, step, rtol=1e-5, err_msg=weight.path)
