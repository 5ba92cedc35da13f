import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from deep_net_triage import steps
from deep_net_triage.errors import InputError
from deep_net_triage.images import datasets, splits, subsets

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "tfds"


def test_digits_are_stratified_and_disjoint():
    digits = datasets.load("digits", image_size=32)
    assert digits.train.images.shape == (1437, 8, 8, 1)
    assert digits.test.images.shape == (360, 8, 8, 1)
    assert digits.train.images.dtype == tf.uint8
    assert digits.input_shape == (8, 8, 1)
    assert int(tf.reduce_max(digits.train.images)) == 16
    together = np.bincount(np.concatenate([digits.train.labels, digits.test.labels]))
    assert together.sum() == 1797
    # A fifth of each class, to within one image.
    assert np.all(np.abs(np.bincount(digits.test.labels) - together / 5) < 1)
    seen = {image.tobytes() for image in digits.train.images.numpy()}
    assert sum(image.tobytes() in seen for image in digits.test.images.numpy()) == 0


def test_subset_takes_classes_in_turn_and_is_nested():
    labels = np.repeat([0, 1, 2], [50, 4, 20])
    chosen = subsets.balanced_subset(labels, 12)
    assert np.bincount(labels[chosen]).tolist() == [4, 4, 4]
    assert np.all(np.diff(chosen) > 0)
    larger = subsets.balanced_subset(labels, 24)
    # Class 1 has four and no more; the others share the rest.
    assert np.bincount(labels[larger]).tolist() == [10, 4, 10]
    assert set(chosen) <= set(larger)
    # Shuffled: not simply each class's first.
    assert chosen.tolist() != [0, 1, 2, 3, 50, 51, 52, 53, 54, 55, 56, 57]
    assert subsets.balanced_subset(labels, 74).tolist() == list(range(74))


def test_images_are_held_out_of_each_class_in_proportion():
    labels = np.repeat([0, 1, 2], [1000, 1000, 50])
    held = subsets.proportional_subset(labels, 205)
    assert np.bincount(labels[held]).tolist() == [100, 100, 5]
    assert set(subsets.proportional_subset(labels, 41)) < set(held)
    # The last image of a class stays while there are others.
    left = np.delete(labels, subsets.proportional_subset(labels, 2047))
    assert np.bincount(left).tolist() == [1, 1, 1]
    alike = np.repeat([0, 1, 2], 20)
    for count in (1, 7, 30, 60):
        balanced = subsets.balanced_subset(alike, count)
        assert subsets.proportional_subset(alike, count).tolist() == balanced.tolist()


def test_statistics_against_numpy():
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    mean, deviation = splits.channel_statistics(tf.constant(images), 32)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(deviation, images.std(axis=(0, 1, 2)), rtol=1e-10)


def test_statistics_of_grey_images_after_resizing_by_hand():
    # Bilinear from 1 x 2 to 2 x 4: half-pixel centres give 0, 25, 75, 100 in each row.
    images = tf.constant(np.array([[[[0], [100]]]], np.uint8))
    images = tf.tile(images, (1, 2, 1, 1))
    mean, deviation = splits.channel_statistics(images, 4)
    np.testing.assert_allclose(mean, [50, 50, 50])
    np.testing.assert_allclose(deviation, [np.sqrt((50**2 + 25**2) / 2)] * 3)


def test_images_of_one_colour_are_refused():
    images = np.full((4, 8, 8, 3), 7, np.uint8)
    with pytest.raises(InputError, match="all training pixels of a channel are equal"):
        splits.channel_statistics(tf.constant(images), 32)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("mnist", (28, 28, 1), 10),
        ("cifar10", (32, 32, 3), 10),
        ("cifar100", (32, 32, 3), 100),
        ("stanford_dogs", (None, None, 3), 120),
    ],
)
def test_tfds_names(name, shape, classes, monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "_check_reachable", lambda builder: None)
    with tfds.testing.mock_data(num_examples=6):
        found = datasets.load(name, image_size=40, data_dir=tmp_path)
    assert found.input_shape == shape
    assert len(found.class_names) == classes
    side = shape[0] or 40
    assert found.train.images.shape == (6, side, side, shape[2])
    assert found.train.images.dtype == tf.uint8
    assert int(tf.reduce_max(found.test.labels)) < classes


def write_tfds(folder, name, images, features=("image", "label")):
    """Writes a data set of the given images, labelled 0, 1, 2 in turn, as TFDS does."""
    known = {
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
    }
    examples = [{"image": image, "label": n % 3} for n, image in enumerate(images)]

    def generate():
        yield from ({key: example[key] for key in features} for example in examples)

    signature = {
        "image": tf.TensorSpec((None, None, 3), tf.uint8),
        "label": tf.TensorSpec((), tf.int64),
    }
    split = tf.data.Dataset.from_generator(
        generate, output_signature={key: signature[key] for key in features}
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict({key: known[key] for key in features}),
        split_datasets={"train": split, "test": split},
        data_dir=folder,
    )


def test_files_of_three_sizes_become_one(tmp_path):
    sizes = ((20, 40), (30, 30), (50, 10))
    images = [np.full((*sizes[n % 3], 3), 50 * (n % 3) + 5, np.uint8) for n in range(7)]
    write_tfds(tmp_path, "three_sizes", images)
    found = datasets.load("three_sizes", image_size=32, data_dir=tmp_path, train_examples=6)
    assert found.train.images.shape == (6, 32, 32, 3)
    assert found.test.images.shape == (7, 32, 32, 3)
    assert found.varying_size
    assert found.input_shape == (None, None, 3)
    assert np.bincount(found.train.labels).tolist() == [2, 2, 2]
    # A bilinear mean of one colour is that colour.
    for image, label in zip(found.test.images.numpy(), found.test.labels.numpy(), strict=True):
        assert np.all(image == 50 * label + 5)
    with pytest.raises(InputError, match="--test_examples=8 asks for more than there are: 7"):
        datasets.load("three_sizes", image_size=32, data_dir=tmp_path, test_examples=8)


def test_how_many_images_have_been_read_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "SECONDS_BETWEEN_REPORTS", 0)
    images = [np.zeros((2, 2, 3), np.uint8)] * 300
    write_tfds(tmp_path, "many", images)
    reports = []
    size = {"image_size": 32, "data_dir": tmp_path, "test_examples": 30}
    datasets.load("many", **size, report=reports.append)
    assert [(step.work, step.done, step.of) for step in reports] == [
        *(("reading train images", done, 300) for done in (0, 256, 300)),
        *(("reading test images", done, 30) for done in (0, 30)),
    ]


def test_resizing_rounds_to_the_nearest_level(tmp_path):
    ramp = np.zeros((1, 2, 3), np.uint8)
    ramp[:, 1] = 99
    write_tfds(tmp_path, "ramp", [ramp])
    found = datasets.load("ramp", image_size=4, data_dir=tmp_path)
    # 0, 24.75, 74.25, 99 by half-pixel centres.
    assert found.train.images[0, 0, :, 0].numpy().tolist() == [0, 25, 74, 99]


def test_unknown_name_is_refused():
    with pytest.raises(InputError, match="cifar11 is unknown; allowed: digits, mnist, cifar10"):
        datasets.load("cifar11", image_size=32)


@pytest.mark.parametrize("name", ["mnist:9.9.9", "mnist/no_such_configuration"])
def test_wrong_version_or_configuration_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=f"--dataset={name} can't be opened by TFDS") as caught:
        datasets.load(name, image_size=32, data_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_set_without_labels_is_refused(tmp_path):
    write_tfds(tmp_path, "without_labels", [np.zeros((4, 4, 3), np.uint8)], ("image",))
    with pytest.raises(
        InputError, match="needs the features 'image' and 'label', and has image"
    ):
        datasets.load("without_labels", image_size=32, data_dir=tmp_path)


def test_without_network_the_message_names_set_folder_and_remedy(tmp_path, monkeypatch):
    def no_network(request, **_):
        raise urllib.error.URLError(f"no route to {request.host}")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(InputError) as caught:
        datasets.load("cifar10", image_size=32, data_dir=tmp_path / "data")
    for part in ("cifar10", str(tmp_path / "data"), "tfds build", "--data_dir"):
        assert part in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_download_that_fails_is_refused(tmp_path, monkeypatch):
    def fails(self, **_):
        raise OSError("connection reset")

    def refuses_to_tell(request, **_):
        raise urllib.error.HTTPError(request.full_url, 405, "no HEAD here", {}, None)

    # A host that answers, however rudely, is one to download from.
    monkeypatch.setattr(urllib.request, "urlopen", refuses_to_tell)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fails)
    with pytest.raises(InputError, match=r"can't be downloaded \(connection reset\)"):
        datasets.load("mnist", image_size=32, data_dir=tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images in {REAL}")
@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("mnist", 10000, 2000), ("cifar10", 10000, 2000), ("stanford_dogs", 1920, 720)],
)
def test_real_images(name, train, test):
    found = datasets.load(name, image_size=32, data_dir=REAL, train_examples=240)
    classes = len(found.class_names)
    assert np.all(np.bincount(found.train.labels) == 240 // classes)
    assert (len(found.train), len(found.test)) == (240, test)
    with pytest.raises(InputError, match=f"there are: {train}"):
        datasets.load(name, image_size=32, data_dir=REAL, train_examples=train + 1)
