import dataclasses
import math

import keras
import numpy as np
import pytest

from deep_net_triage.learning import evidence
from deep_net_triage.learning.sources import for_model
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import find_blocks


def gram_cka(first, second):
    """Kornblith et al. 2019, with the unbiased HSIC written out sum by sum."""

    def hsic(k, m):
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        one = np.ones((n, 1))
        trace = np.trace(k @ m)
        sums = (one.T @ k @ one).item() * (one.T @ m @ one).item()
        cross = (one.T @ k @ m @ one).item()
        return (trace + sums / (n - 1) / (n - 2) - 2 * cross / (n - 2)) / (n * (n - 3))

    k, m = first @ first.T, second @ second.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def linear_cka(first, second):
    """The similarity of two sets of vectors, (images, features)."""
    return evidence._alignment(evidence._hollow_gram(first), evidence._hollow_gram(second))


def test_linear_cka(monkeypatch):
    generator = np.random.default_rng(0)
    first = generator.normal(size=(12, 5))
    second = generator.normal(size=(12, 7)) + first[:, :1]
    assert linear_cka(first, second) == pytest.approx(gram_cka(first, second))
    monkeypatch.setattr(evidence, "_FEATURES_AT_ONCE", 2)
    assert linear_cka(first, second) == pytest.approx(gram_cka(first, second))
    rotation, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    assert linear_cka(first, 3 * first @ rotation + 1) == pytest.approx(1)


def test_unrelated_tensors_are_not_alike_however_many_features_they_have():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 30, 4000))
    assert abs(linear_cka(first, second)) < 0.1
    centered = [x - x.mean(axis=0) for x in (first, second)]
    # What the plain estimate says of them.
    k, m = (x @ x.T for x in centered)
    assert np.sum(k * m) / np.sqrt(np.sum(k * k) * np.sum(m * m)) > 0.9


def test_a_block_that_is_copied_is_like_the_parents(parent, toy_dataset, small_settings):
    block = find_blocks(parent)[1]
    source = for_model(toy_dataset, small_settings())
    assert evidence.similarity(parent, parent, block, source) == pytest.approx(1)
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    assert evidence.similarity(parent, student, block, source) < 0.99


def test_block_and_replacement_receive_what_the_parent_computes(
    parent, toy_dataset, small_settings
):
    """Whatever the student's first block does after training the whole model."""
    first, block = find_blocks(parent)
    source = for_model(toy_dataset, small_settings())
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    for layer in first.convolutions_in(student):
        layer.kernel.assign(-layer.kernel)
    received = surgery.segment(parent, first).predict(source.test[:], verbose=0)
    vectors = [
        surgery.segment(model, block).predict(received, verbose=0).reshape(len(received), -1)
        for model in (parent, student)
    ]
    found = evidence.similarity(parent, student, block, source)
    assert found == pytest.approx(gram_cka(*vectors), rel=1e-4)


def test_images_sorted_by_class_are_compared_across_classes(
    parent, toy_dataset, small_settings, monkeypatch
):
    block = find_blocks(parent)[1]
    source = for_model(toy_dataset, small_settings())
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    spread = dataclasses.replace(source, test=source.test[::3])
    expected = evidence.similarity(parent, student, block, spread)
    monkeypatch.setattr(evidence, "IMAGES_COMPARED", math.ceil(len(source.test) / 3))
    assert evidence.similarity(parent, student, block, source) == expected


def identity_block():
    """Two classes told by the sign of a pixel, which a block of identities passes on."""
    x = images = keras.Input((4, 4, 1))
    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(x)
    for name in "ab":
        x = keras.layers.Conv2D(1, 3, padding="same", name=name)(x)
    x = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(images, x)
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    for name in "ab":
        model.get_layer(name).set_weights([kernel, np.zeros(1)])
    weights = np.zeros((16, 2))
    weights[0] = -1, 1
    model.get_layer("logits").set_weights([weights, np.zeros(2)])
    return model


def test_accuracy_without_the_block_and_with_it_drawn_anew(toy_dataset, small_settings):
    import dataclasses

    from deep_net_triage.images.splits import Split

    parent = identity_block()
    before = parent.get_weights()
    images = np.zeros((40, 4, 4, 1), np.uint8)
    labels = np.arange(40) % 2
    images[:, 0, 0, 0] = 255 * labels
    split = Split(images, labels)
    dataset = dataclasses.replace(toy_dataset, train=split, test=split)
    (block,) = find_blocks(parent)
    source = for_model(dataset, small_settings())
    found = evidence.accuracies(parent, block, dataset, source)
    assert found["bypassed_accuracy"] == 1
    assert found == evidence.accuracies(parent, block, dataset, source)
    # Kernels drawn anew pass on the pixel times some number: right for all, or for none.
    assert found["reinitialized_accuracy"] in (0, 0.5, 1)
    assert all(map(np.array_equal, parent.get_weights(), before))


class Tilted(keras.layers.Activation):
    """Adds numbers to the channels that it draws, and calls by a name of its own."""

    def build(self, shape):
        self.tilt = self.add_weight(shape=(shape[-1],), initializer="normal", name="tilt")

    def call(self, x):
        return super().call(x) + self.tilt


def test_whatever_a_block_draws_is_drawn_alike_at_every_call():
    x = images = keras.Input((4, 4, 2))
    for name in "ab":
        x = keras.layers.Conv2D(2, 3, padding="same", name=name)(x)
        x = Tilted("relu")(x)
    x = keras.layers.MaxPooling2D(2)(x)
    parent = keras.Model(images, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    (block,) = find_blocks(parent)
    first, second = (evidence._with_reinitialized(parent, block) for _ in range(2))
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))
    # Only the dense layer is as it was, and biases, which start at zero.
    kept = map(np.array_equal, first.get_weights(), parent.get_weights())
    assert list(kept) == [False, True, False] * 2 + [True, True]


def test_a_block_of_another_shape_can_not_be_left_out(parent, toy_dataset, small_settings):
    block = find_blocks(parent)[0]
    source = for_model(toy_dataset, small_settings())
    found = evidence.accuracies(parent, block, toy_dataset, source)
    assert found["bypassed_accuracy"] is None
    assert 0 <= found["reinitialized_accuracy"] <= 1
