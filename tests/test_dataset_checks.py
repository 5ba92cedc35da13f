import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.bad_input import write
from deep_net_triage.errors import InputError
from deep_net_triage.images import dataset_checks, datasets, splits


def changed(dataset, split, **arrays):
    """The data set with other images or labels in a split."""
    own = dataset.splits.get(split, dataset.test)
    arrays = {"images": own.images, "labels": own.labels} | arrays
    return dataclasses.replace(dataset, **{split: splits.Split(**arrays)})


def test_nothing_odd_is_nothing_said(toy_dataset):
    dataset_checks.check_labels(toy_dataset)
    assert dataset_checks.warnings(toy_dataset) == []
    assert dataset_checks.warnings(datasets.load("digits", image_size=32)) == []


@pytest.mark.parametrize(("split", "label"), [("train", 3), ("test", -1), ("validation", 3)])
def test_labels_that_name_no_class_are_refused(split, label, toy_dataset):
    labels = toy_dataset.splits.get(split, toy_dataset.test).labels.numpy()
    labels[[4, 7]] = label
    with pytest.raises(InputError) as caught:
        dataset_checks.check_labels(changed(toy_dataset, split, labels=labels))
    expected = (
        f"2 labels of the split {split} are out of range (the first is {label}, of example 4"
    )
    assert expected in str(caught.value)
    assert "0 to 2" in str(caught.value)


def test_a_single_class_is_refused(toy_dataset):
    labels = np.zeros(len(toy_dataset.train), np.int32)
    single = dataclasses.replace(
        toy_dataset,
        train=splits.Split(toy_dataset.train.images, labels),
        test=splits.Split(toy_dataset.test.images, labels[: len(toy_dataset.test)]),
        class_names=("cat",),
    )
    with pytest.raises(InputError, match="has a single class, and a classifier needs two"):
        dataset_checks.check_labels(single)


def test_classes_without_training_images_are_counted(toy_dataset):
    odd = dataclasses.replace(toy_dataset, class_names=("a", "b", "c", "d", "e"))
    (line,) = dataset_checks.warnings(odd)
    assert "no training image shows 2 of 5 classes (d, e)" in line


@pytest.mark.parametrize("split", ["test", "validation"])
def test_images_of_both_splits_are_counted(split, toy_dataset):
    images = toy_dataset.test.images.numpy()
    images[[1, 5]] = toy_dataset.train.images.numpy()[[20, 20]]
    (line,) = dataset_checks.warnings(changed(toy_dataset, split, images=images))
    assert f"the training images include 2 of 10 {split} images" in line


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return tf.io.encode_png(pixels).numpy()


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([(png(0), 0), (b"no image", 1)], "the split train can't be read"),
        ([(png(0), 0), (png(1)[:40], 1)], "the split train can't be read"),
        ([], "the split (train|test) holds no examples"),
    ],
)
def test_images_that_are_none_are_refused(examples, expected, tmp_path):
    write(tmp_path, "odd", examples)
    with pytest.raises(InputError, match=expected) as caught:
        datasets.load("odd", image_size=32, data_dir=tmp_path)
    assert "function_node" not in str(
        caught.value
    )  # TensorFlow's names mean nothing to a person


def test_records_that_are_torn_are_refused(tmp_path):
    file = write(tmp_path, "odd", [(png(n), n) for n in range(3)])
    assert len(datasets.load("odd", image_size=32, data_dir=tmp_path).train) == 3
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(InputError, match="the split train can't be read"):
        datasets.load("odd", image_size=32, data_dir=tmp_path)
