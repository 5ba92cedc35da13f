import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.images.splits import Split
from deep_net_triage.learning import augmentation, batches
from deep_net_triage.learning.array_stores import ArrayStore
from deep_net_triage.learning.batches import Examples
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_block
from deep_net_triage.learning.walk import Walk
from deep_net_triage.network.blocks import find_blocks
from tests.conftest import new_journal

FLAGS = {"augment": "flip_crop", "augment_copies": 3, "epochs": 4, "distill_epochs": 2}


def originals(drawn, images):
    """The shifts and flips that make each drawn image from the original in its place."""
    found = []
    for original, changed in zip(images, drawn, strict=True):
        padded = np.pad(original, ((2, 2), (2, 2), (0, 0)))
        found.append(
            [
                (top, left, flip)
                for top in range(5)
                for left in range(5)
                for flip in (1, -1)
                if np.array_equal(padded[top : top + 16, left : left + 16][:, ::flip], changed)
            ]
        )
    return found


def test_every_image_is_shifted_and_perhaps_flipped():
    images = np.random.default_rng(0).integers(1, 256, (40, 16, 16, 3), dtype=np.uint8)
    draws = np.random.default_rng(1).uniform(size=(40, 3)).astype(np.float32)
    for flip, flips in ((True, {1, -1}), (False, {1})):
        changed = augmentation.shifted(tf.constant(images), draws, flip).numpy()
        matches = originals(changed, images)
        assert all(len(of_image) == 1 for of_image in matches)
        assert {of_image[0][2] for of_image in matches} == flips
        assert len({of_image[0][:2] for of_image in matches}) > 10


def test_fixed_draws_are_several_of_each_image_and_always_the_same(monkeypatch):
    monkeypatch.setattr(augmentation, "_AT_ONCE", 4)  # 10 images, in chunks of 4, 4 and 2
    images = np.random.default_rng(0).integers(1, 256, (10, 16, 16, 3), dtype=np.uint8)
    drawn = augmentation.fixed_draws(Split(images, np.zeros(10)).images, 3, flip=True)
    assert drawn.shape == (30, 16, 16, 3)
    assert drawn.dtype == np.uint8
    copies = np.split(drawn, 3)
    for copy in copies:
        assert all(originals(copy, images))
    assert not np.array_equal(copies[0], copies[1])
    again = augmentation.fixed_draws(Split(images, np.zeros(10)).images, 3, flip=True)
    np.testing.assert_array_equal(drawn, again)


def test_each_epoch_reads_the_next_copy():
    """Four images with two rows each; rows tell image and copy, targets the image."""
    rows = np.array([[10 * copy + image] for copy in range(2) for image in range(4)])
    examples = Examples(rows, np.arange(4), images=4)
    made = batches.training_batches(examples, batch_size=3, seed=0, epochs=range(1, 4))
    epochs = np.split(np.concatenate([received[:, 0] for received, _, _ in made]), 3)
    labels = np.split(np.concatenate([target for _, target, _ in made]), 3)
    assert [sorted(epoch) for epoch in epochs] == [
        [10, 11, 12, 13],
        [0, 1, 2, 3],
        [10, 11, 12, 13],
    ]
    for epoch, of_epoch in zip(epochs, labels, strict=True):
        np.testing.assert_array_equal(epoch % 10, of_epoch)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["cl_rw", "stn"])
def test_stored_activations_of_draws_train_as_their_images_do(
    method, parent, toy_dataset, small_settings, tmp_path
):
    settings, block = small_settings(**FLAGS), find_blocks(parent)[1]
    images = for_block(toy_dataset, settings)
    assert len(images.train) == 3 * 27
    walk = Walk(
        parent, toy_dataset, ArrayStore(tmp_path, 2**30, 0), settings, find_blocks(parent)
    )
    stored = walk.source_for(block)
    assert stored.train.shape == (81, 4, 4, 3)
    ended = []
    for source in (images, stored):
        journal = new_journal()
        retraining = Retraining(parent, block, toy_dataset, source, settings)
        ended.append((retraining.run(method, 3, journal).model.get_weights(), journal.epochs))
    for one, other in zip(ended[0][1], ended[1][1], strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-8)
    for one, other in zip(ended[0][0], ended[1][0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


def test_without_copies_a_block_alone_reads_images_as_they_are(toy_dataset, small_settings):
    source = for_block(toy_dataset, small_settings(augment="flip_crop", augment_copies=0))
    assert source.augment == "none"
    np.testing.assert_array_equal(source.train, toy_dataset.train.images)
    # By default every epoch draws anew.
    assert for_block(toy_dataset, small_settings(augment="crop")).augment == "crop"
