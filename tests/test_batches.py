import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.images import splits
from deep_net_triage.learning import batches
from deep_net_triage.learning.batches import Examples


def numbered(count):
    """Images that carry their own number, as labels do."""
    images = np.zeros((count, 8, 8, 1), np.uint8) + np.arange(count).reshape(-1, 1, 1, 1)
    split = splits.Split(images, np.arange(count))
    return split.images, split.labels


def whole(rows, augment="none"):
    return Examples(*rows, len(rows[0]), augment)


def epochs_of(split, batch_size, seed, epochs):
    found = batches.training_batches(
        whole(split), batch_size=batch_size, seed=seed, epochs=range(epochs)
    )
    labels = []
    for images, batch_labels, weights in found:
        assert weights.numpy().tolist() == [1.0] * len(images)
        assert np.all(images.numpy()[:, 0, 0, 0] == batch_labels.numpy())
        labels.append(batch_labels.numpy().tolist())
    per_epoch = -(-len(split[0]) // batch_size)
    return [labels[i : i + per_epoch] for i in range(0, len(labels), per_epoch)]


def test_each_epoch_holds_each_image_once_in_an_order_of_its_own():
    found = epochs_of(numbered(23), batch_size=5, seed=0, epochs=3)
    assert len(found) == 3
    orders = [sum(epoch, []) for epoch in found]
    for epoch, order in zip(found, orders, strict=True):
        assert sorted(order) == list(range(23))
        assert [len(batch) for batch in epoch] == [5, 5, 5, 5, 3]
    assert orders[0] != orders[1] != orders[2] != list(range(23))


def test_order_depends_on_seed_and_epoch_alone():
    split = numbered(23)
    longer = epochs_of(split, batch_size=5, seed=0, epochs=3)
    tf.random.set_seed(99)
    assert epochs_of(split, batch_size=5, seed=0, epochs=2) == longer[:2]
    assert epochs_of(split, batch_size=5, seed=1, epochs=1) != longer[:1]


def test_evaluation_leaves_none_out_and_keeps_the_order():
    found = batches.evaluation_batches(numbered(11), batch_size=4)
    labels = [label for _, batch, _ in found for label in batch.numpy().tolist()]
    assert labels == list(range(11))


def test_later_epochs_do_not_depend_on_earlier_ones():
    split = numbered(23)
    every = epochs_of(split, batch_size=5, seed=0, epochs=4)
    later = batches.training_batches(whole(split), batch_size=5, seed=0, epochs=range(2, 4))
    labels = [batch_labels.numpy().tolist() for _, batch_labels, _ in later]
    assert [labels[:5], labels[5:]] == every[2:]


def test_augmentation_draws_anew_each_epoch_and_repeats_by_seed():
    # One image, so that nothing but the epoch can change what is drawn.
    image = np.random.default_rng(0).integers(1, 256, (1, 16, 16, 3), dtype=np.uint8)
    split = splits.Split(image, [0])

    def run(seed):
        made = batches.training_batches(
            whole((split.images, split.labels), "flip_crop"),
            batch_size=1,
            seed=seed,
            epochs=range(8),
        )
        return [images.numpy().tobytes() for images, _, _ in made]

    assert len(set(run(0))) > 4
    assert run(0) == run(0)
    assert run(0) != run(1)


@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_replicas_share_each_batch_and_none_goes_without(replicas):
    """13 images in batches of 6, 6 and 1; the one goes to all, and counts as one in all."""
    made = batches.evaluation_batches(numbered(13), batch_size=6, replicas=replicas)
    shares = [(labels.numpy().tolist(), weights.numpy()) for _, labels, weights in made]
    assert len(shares) == 3 * replicas
    for number in range(3):
        of_batch = shares[number * replicas : (number + 1) * replicas]
        labels = [labels for labels, _ in of_batch]
        if number == 2:
            assert labels == [[12]] * replicas
        else:
            assert sum(labels, []) == list(range(6 * number, 6 * number + 6))
            assert max(map(len, labels)) - min(map(len, labels)) <= 1
        counted = sum(weights.sum() for _, weights in of_batch)
        np.testing.assert_allclose(counted, 1 if number == 2 else 6, rtol=1e-6)


def test_how_a_batch_is_shared_does_not_matter_to_augmentation():
    images = np.random.default_rng(0).integers(1, 256, (10, 16, 16, 3), dtype=np.uint8)
    split = splits.Split(images, np.arange(10))

    def drawn(replicas):
        made = batches.training_batches(
            whole((split.images, split.labels), "flip_crop"),
            batch_size=7,
            seed=3,
            epochs=range(2),
            replicas=replicas,
        )
        return [
            (int(label), image.numpy().tobytes())
            for images, labels, _ in made
            for image, label in zip(images, labels, strict=True)
        ]

    assert drawn(3) == drawn(1)
