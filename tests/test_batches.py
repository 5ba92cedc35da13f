import numpy as np
import tensorflow as tf

from deep_net_triage.images import batches, datasets


def numbered(count):
    """Images that carry their own number, as labels do."""
    images = np.zeros((count, 8, 8, 1), np.uint8) + np.arange(count).reshape(-1, 1, 1, 1)
    split = datasets.Split(images, np.arange(count))
    return split.images, split.labels


def epochs_of(split, batch_size, seed, epochs):
    found = batches.training_batches(
        *split, batch_size=batch_size, seed=seed, epochs=range(epochs)
    )
    labels = []
    for images, batch_labels in found:
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
    found = batches.evaluation_batches(*numbered(11), batch_size=4)
    labels = [label for _, batch in found for label in batch.numpy().tolist()]
    assert labels == list(range(11))


def test_every_augmented_image_is_a_shifted_and_perhaps_flipped_original():
    images = np.random.default_rng(0).integers(1, 256, (40, 16, 16, 3), dtype=np.uint8)
    changed = batches.flip_and_crop(tf.constant(images), (3, tf.constant(1, tf.int64))).numpy()
    flips, shifts = set(), set()
    for original, found in zip(images, changed, strict=True):
        padded = np.pad(original, ((2, 2), (2, 2), (0, 0)))
        matches = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if np.array_equal(
                padded[top : top + 16, left : left + 16][:, :: -1 if flip else 1], found
            )
        ]
        assert len(matches) == 1
        shifts.add(matches[0][:2])
        flips.add(matches[0][2])
    assert flips == {False, True}
    assert len(shifts) > 10


def test_later_epochs_do_not_depend_on_earlier_ones():
    split = numbered(23)
    every = epochs_of(split, batch_size=5, seed=0, epochs=4)
    later = batches.training_batches(*split, batch_size=5, seed=0, epochs=range(2, 4))
    labels = [batch_labels.numpy().tolist() for _, batch_labels in later]
    assert [labels[:5], labels[5:]] == every[2:]


def test_augmentation_draws_anew_each_epoch_and_repeats_by_seed():
    # One image, so that nothing but the epoch can change what is drawn.
    image = np.random.default_rng(0).integers(1, 256, (1, 16, 16, 3), dtype=np.uint8)
    split = datasets.Split(image, [0])

    def run(seed):
        made = batches.training_batches(
            split.images,
            split.labels,
            batch_size=1,
            seed=seed,
            epochs=range(8),
            augment="flip_crop",
        )
        return [images.numpy().tobytes() for images, _ in made]

    assert len(set(run(0))) > 4
    assert run(0) == run(0)
    assert run(0) != run(1)
