import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image

from deep_net_triage.errors import InputError
from deep_net_triage.images import fitting, splits


def dataset_of(images, test=None, varying_size=False):
    """A data set of the given images; its test split is them in reverse order."""
    test = images[::-1] if test is None else test
    parts = [splits.Split(part, np.arange(len(part)) % 2) for part in (images, test)]
    return splits.Dataset("toy", *parts, ("a", "b"), varying_size)


def random_images(*shape):
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(6, 4, 3), (None, None, 3), (6, None, 3), (None, 4, 3)])
@pytest.mark.parametrize("varying_size", [False, True])
def test_images_that_fit_stay_untouched(shape, varying_size):
    dataset = dataset_of(random_images(5, 6, 4, 3), varying_size=varying_size)
    assert fitting.fitted(dataset, shape) is dataset


def test_images_of_two_channels_stay_those_of_a_model_of_two():
    dataset = dataset_of(random_images(5, 6, 4, 2))
    assert fitting.fitted(dataset, (6, 4, 2)) is dataset


def test_held_out_images_are_made_to_fit_as_well():
    dataset = dataset_of(random_images(5, 6, 4, 3))
    held_out = splits.Split(random_images(2, 6, 4, 3), [0, 1])
    found = fitting.fitted(dataclasses.replace(dataset, validation=held_out), (3, 2, 3))
    assert {name: split.images.shape[1:] for name, split in found.splits.items()} == (
        dict.fromkeys(("train", "test", "validation"), (3, 2, 3))
    )


def test_resizing_by_hand():
    ramp = np.array([[[[0], [99]]]], np.uint8)
    found = fitting.fitted(dataset_of(ramp, test=99 - ramp, varying_size=True), (2, 4, 1))
    # 0, 24.75, 74.25, 99 by half-pixel centres.
    assert found.train.images.numpy().tolist() == [[[[0], [25], [74], [99]]] * 2]
    assert found.test.images.numpy().tolist() == [[[[99], [74], [25], [0]]] * 2]
    assert found.input_shape == (2, 4, 1)
    assert not found.varying_size


def test_half_the_size_is_no_mean_of_all_pixels():
    # Centres of the two new pixels lie at 1.5 and 5.5; antialiasing would see 255 elsewhere.
    line = np.array([255, 10, 21, 255, 255, 40, 50, 255], np.uint8)
    found = fitting.fitted(dataset_of(line.reshape(1, 1, 8, 1)), (1, 2, 1))
    assert found.train.images.numpy().ravel().tolist() == [16, 45]  # 15.5 to the even level


def test_enlarging_is_pillows():
    images = random_images(2, 5, 7, 3)
    found = fitting.fitted(dataset_of(images), (11, 20, 3)).train.images.numpy()
    for image, resized in zip(images, found, strict=True):
        pillow = Image.fromarray(image).resize((20, 11), Image.Resampling.BILINEAR)
        # Pillow rounds after each direction.
        np.testing.assert_allclose(resized, np.asarray(pillow), atol=1)


def test_shrinking_is_kerass_resizing_in_every_batch():
    images = random_images(2 * fitting._BATCH + 3, 9, 8, 3)
    dataset = dataset_of(images)
    found = fitting.fitted(dataset, (4, 5, 3))
    wanted = np.round(keras.layers.Resizing(4, 5)(images.astype(np.float32)))
    assert found.train.images.numpy().tolist() == wanted.tolist()
    assert found.test.images.numpy().tolist() == wanted[::-1].tolist()
    assert found.train.labels.numpy().tolist() == dataset.train.labels.numpy().tolist()
    assert found.class_names == ("a", "b")


def test_one_side_alone_is_resized():
    found = fitting.fitted(dataset_of(random_images(2, 6, 4, 3)), (None, 8, 3))
    assert found.input_shape == (6, 8, 3)


@pytest.mark.parametrize(("side", "varying_size"), [(6, True), (6, False), (9, False)])
def test_grey_images_are_repeated(side, varying_size):
    images = random_images(3, 6, 6, 1)
    dataset = dataset_of(images, varying_size=varying_size)
    found = fitting.fitted(dataset, (side if side == 9 else None, None, 3))
    one = fitting.reshaped(images, (side, 6, 1))
    assert found.train.images.numpy().tolist() == np.repeat(one, 3, axis=3).tolist()
    assert found.varying_size == varying_size


@pytest.mark.parametrize(
    ("channels", "taken", "said"),
    [
        (3, 1, "3 channels, and the model takes 1 channel;"),
        (1, 4, "1 channel, and the model takes 4 channels;"),
        (2, 3, "2 channels, and the model takes 3 channels;"),
    ],
)
def test_other_channels_are_refused(channels, taken, said):
    dataset = dataset_of(random_images(2, 6, 6, channels))
    with pytest.raises(InputError, match=said) as caught:
        fitting.fitted(dataset, (6, 6, taken))
    assert str(caught.value).startswith("toy has images of ")
    assert "\n" not in str(caught.value)
