"""Parents that have seen the validation images, and others that have not."""

import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.study import unseen

CLASSES = 4


@pytest.fixture(scope="module")
def parent():
    """A network that takes the grey of an image's only pixel for its class."""
    x = images = keras.Input((1, 1, 1))
    x = keras.layers.Flatten()(x)
    classes = keras.layers.Dense(CLASSES)
    model = keras.Model(images, classes(x))
    grey = np.arange(CLASSES, dtype=np.float32)
    # The largest of 2 k x - k^2 is that of the k nearest to x.
    classes.set_weights([2 * grey[None], -(grey**2)])
    return model


def split(images, accuracy):
    """Images of which the parent classifies a given share correctly."""
    labels = np.arange(images) % CLASSES
    shown = np.where(np.arange(images) < accuracy * images, labels, (labels + 1) % CLASSES)
    return Split(shown.reshape(-1, 1, 1, 1).astype(np.float32), labels)


def dataset(train, held_out, test):
    train, held_out, test = split(2000, train), split(500, held_out), split(500, test)
    return Dataset("toy", train, test, tuple("abcd"), validation=held_out)


def test_a_parent_that_was_trained_on_the_held_out_images_is_refused(parent):
    with pytest.raises(InputError) as refusal:
        unseen.check(parent, dataset(train=0.99, held_out=0.98, test=0.8))
    said = str(refusal.value)
    assert "98.0 % of the 500 validation images" in said
    assert "80.0 % of the test images" in said
    assert "--validation_fraction=0" in said


@pytest.mark.parametrize(
    ("train", "held_out", "test"),
    [
        (0.99, 0.81, 0.8),  # the usual: as unsure of validation as of test images
        (0.99, 0.9, 0.8),  # the test images are harder ones, but those held out are new to it
        (0.95, 0.95, 0.94),  # what it has learned holds for all images
        (0.99, 0.7, 0.8),
    ],
)
def test_other_parents_may_be_judged(parent, train, held_out, test):
    unseen.check(parent, dataset(train, held_out, test))
