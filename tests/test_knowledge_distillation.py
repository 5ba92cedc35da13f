import keras
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from deep_net_triage.learning import knowledge_distillation
from deep_net_triage.learning.knowledge_distillation import KnowledgeDistillation
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_model
from deep_net_triage.network import flattening, surgery
from deep_net_triage.network.blocks import find_blocks
from tests.conftest import new_journal
from tests.toys import toy_parent

pytestmark = pytest.mark.usefixtures("float64")


def pair(settings, end=None):
    """A toy parent and its student; `end` is the activation of both."""
    parent = toy_parent()
    if end:
        parent.layers[-1].activation = end
    block = find_blocks(parent)[1]
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=1)
    surgery.set_trainable(student, block, "model")
    return parent, student, block, KnowledgeDistillation(student, parent, (block,), settings)


@keras.saving.register_keras_serializable()
class Turned(keras.layers.Layer):
    """A user's layer that holds an augmentation."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.flip = keras.layers.RandomFlip()

    def call(self, images, training=False):
        return self.flip(images, training=training)


def test_divergences_against_scipy():
    wanted, logits = np.random.default_rng(0).normal(size=(2, 5, 3)) * 4
    found = knowledge_distillation.divergences(wanted, logits, 2.0)
    softened = softmax(wanted / 2, axis=1), softmax(logits / 2, axis=1)
    np.testing.assert_allclose(found, 4 * rel_entr(*softened).sum(axis=1), rtol=1e-10)
    np.testing.assert_allclose(
        knowledge_distillation.divergences(logits, logits, 2.0), 0, atol=1e-12
    )


@pytest.mark.parametrize("distill", ["logits", "features", "both"])
def test_the_loss_is_labels_plus_what_the_parent_returns(distill, toy_dataset, small_settings):
    settings = small_settings(distill=distill, temperature=3)
    parent, student, block, learner = pair(settings)
    images, labels = toy_dataset.train.images, toy_dataset.train.labels
    found = learner.per_image_losses(images, labels, None)
    logits = student(images, training=True).numpy()
    expected = -log_softmax(logits, axis=1)[range(27), labels.numpy()]
    if distill != "features":
        softened = (
            softmax(returned / 3, axis=1) for returned in (parent(images).numpy(), logits)
        )
        expected = expected + 9 * rel_entr(*softened).sum(axis=1)
    if distill != "logits":
        by_parent, by_student = (
            keras.Model(model.inputs, block.returned_by(model))(images, training=which)
            for model, which in ((parent, False), (student, True))
        )
        distance = np.square(by_student - by_parent).sum(axis=(1, 2, 3))
        expected = expected + distance / np.square(by_parent).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize(
    "augmentation",
    [
        lambda: keras.layers.RandomFlip(),
        lambda: keras.layers.Pipeline([keras.layers.RandomFlip()]),
        Turned,
        lambda: keras.layers.Solarization(0.3, 0.3, (0, 1)),
    ],
)
def test_both_see_the_images_that_the_model_itself_changes_at_random(
    augmentation, toy_dataset, small_settings, monkeypatch
):
    """A student with its parent's weights returns the same for the same images."""
    inner = toy_parent()
    images = keras.Input((8, 8, 2))
    x = augmentation()(keras.layers.Rescaling(1 / 255)(images))
    parent = flattening.flat(keras.Model(images, inner(x)))
    block = find_blocks(parent)[0]
    student = surgery.copy(parent)
    student.set_weights(parent.get_weights())
    # Batch norms would take the statistics of the batch in the student alone.
    student.trainable = False
    compared = []

    def compare(wanted, returned, *_):
        compared.append((wanted.numpy(), returned.numpy()))
        return 0.0

    monkeypatch.setattr(knowledge_distillation, "divergences", compare)
    monkeypatch.setattr(knowledge_distillation, "_relative_distances", compare)
    learner = KnowledgeDistillation(student, parent, (block,), small_settings(distill="both"))
    received, labels = toy_dataset.train.images, toy_dataset.train.labels
    learner.per_image_losses(received, labels, None)
    (logits, _), (maps, _) = compared
    for wanted, returned in compared:
        np.testing.assert_allclose(returned, wanted, rtol=1e-12)
    assert not np.allclose(logits, parent(received))
    assert maps.shape == (27, 4, 4, 3)


def test_probabilities_teach_as_their_logits_do(toy_dataset, small_settings):
    losses = [
        pair(small_settings(temperature=3), end)[-1].per_image_losses(
            toy_dataset.train.images // 64, toy_dataset.train.labels, None
        )
        for end in (None, keras.activations.softmax)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-8)


def test_a_trial_follows_its_parent_and_leaves_it_as_it_was(toy_dataset, small_settings):
    """The parent is untrained, so the labels pull away from it."""
    settings = small_settings(epochs=6, learning_rate=0.003)
    parent = toy_parent()
    before = parent.get_weights()
    block = find_blocks(parent)[1]
    source = for_model(toy_dataset, settings)
    retraining = Retraining(parent, block, toy_dataset, source, settings)
    distances = {}
    for method in ("stn_cm", "stn_kd"):
        model = retraining.run(method, 0, new_journal()).model
        images = toy_dataset.train.images
        softened = (softmax(each(images).numpy() / 4, axis=1) for each in (parent, model))
        distances[method] = rel_entr(*softened).sum(axis=1).mean()
    assert distances["stn_kd"] < 0.8 * distances["stn_cm"]
    for was, now in zip(before, parent.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
