import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.learning.optimizers import Adam

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
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        model.compile(Adam(0.01), loss="mse", jit_compile=False)
        before = model.get_weights()[0]
        model.train_on_batch(np.full((4, 3), 1e4), np.zeros((4, 2)))  # squares beyond 65,504
        np.testing.assert_array_equal(model.get_weights()[0], before)
        model.train_on_batch(np.ones((4, 3)) / 2**6, np.ones((4, 2)) / 2**6)
        assert np.abs(model.get_weights()[0] - before).min() > 1e-4
    finally:
        keras.config.set_dtype_policy("float32")
