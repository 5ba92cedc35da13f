"""Loads data sets by name."""

import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from deep_net_triage import steps
from deep_net_triage.errors import InputError
from deep_net_triage.images import subsets
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.steps import Report, Reporter, Step


def load(
    name: str,
    *,
    image_size: int,
    data_dir: Path | None = None,
    train_examples: int | None = None,
    test_examples: int | None = None,
    report: Report = steps.ignore,
) -> Dataset:
    """Returns a data set's official splits; downloads the data set if TFDS can.

    Args:
        name: `digits`, or a TFDS data set that has the features `image` and `label`.
        image_size: height and width in pixels to which images of varying size are resized.
        data_dir: the folder of TFDS's data; None for TFDS's default.
        train_examples: the number of training images to use, class-balanced; None for all.
        test_examples: the same for the test split.
        report: receives how many images have been read.

    Raises:
        InputError: if the name is unknown, the data set has no labelled images, can't be
            downloaded, is damaged, or has too few examples.
    """
    if name == "digits":
        return _digits(train_examples, test_examples)
    builder = _prepared(name, data_dir)
    image, label = _features(builder)
    train, test = _split_names(builder)
    reporter = Reporter(report)

    def read(split: str, count: int | None, flag: str) -> Split:
        try:
            chosen = subsets.chosen_examples(_labels(builder, split), count, flag)
            return _images(builder, split, chosen, image_size, reporter)
        except tf.errors.ResourceExhaustedError:
            raise
        # TensorFlow's readers raise this for damaged records and for undecodable images.
        except tf.errors.OpError as error:
            raise InputError(
                f"{name}: the split {split} can't be read ({reason_of(error)}); prepare it "
                f"again in {builder.data_dir}"
            ) from error

    return Dataset(
        name=name,
        train=read(train, train_examples, "--train_examples"),
        test=read(test, test_examples, "--test_examples"),
        class_names=tuple(label.names),
        varying_size=None in image.shape[:2],
    )


def resized(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns one or several images resized bilinearly; uint8 pixels are rounded."""
    result = tf.image.resize(images, (height, width))
    is_uint8 = tf.as_dtype(images.dtype) == tf.uint8
    return tf.cast(tf.round(result), tf.uint8) if is_uint8 else result


def reason_of(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's error message without the names of its operations."""
    names = r"\{\{.*?\}\}|Error in user-defined .*? iterator: \S+: |\[(\[|Op:).*"
    return re.sub(names, "", " ".join(str(error.message).split())).strip()[:120]


def _digits(train_examples: int | None, test_examples: int | None) -> Dataset:
    """Returns scikit-learn's 1,797 digits, 8x8, levels 0 to 16, in a stratified 80/20 split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images.astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=subsets.SUBSET_SEED
    )
    train = train[subsets.chosen_examples(labels[train], train_examples, "--train_examples")]
    test = test[subsets.chosen_examples(labels[test], test_examples, "--test_examples")]
    return Dataset(
        name="digits",
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        class_names=tuple(str(name) for name in digits.target_names),
    )


def _prepared(name: str, data_dir: Path | None) -> tfds.core.DatasetBuilder:
    """Returns a data set's builder, after downloading and preparing its files if necessary."""
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise InputError(
            f"--dataset={name} is unknown; allowed: digits, mnist, cifar10, cifar100, "
            "stanford_dogs, or any TFDS image classification set"
        ) from error
    # TFDS raises AssertionError, ValueError and others for a wrong version or configuration.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"--dataset={name} can't be opened by TFDS ({reason})") from error
    _features(builder)
    if not builder.is_prepared():
        _check_reachable(builder)
        try:
            builder.download_and_prepare()
        # The preparation code of a data set may raise anything; the remedy is the same.
        except Exception as error:
            raise _unavailable(builder, error) from error
    return builder


def _check_reachable(builder: tfds.core.DatasetBuilder) -> None:
    """Raises InputError if a data set's host does not answer; TFDS would retry for minutes."""
    for url in list(builder.url_infos or ())[:1]:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError:
            return  # the host answered
        except OSError as error:
            raise _unavailable(builder, error) from error


def _unavailable(builder: tfds.core.DatasetBuilder, error: Exception) -> InputError:
    folder = Path(builder.data_dir).parent.parent
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return InputError(
        f"{builder.name} is not in {folder} and can't be downloaded ({reason}); "
        f"run `tfds build {builder.name} --data_dir={folder}` on a machine with internet "
        "access, or name the folder that holds it by --data_dir"
    )


def _features(
    builder: tfds.core.DatasetBuilder,
) -> tuple[tfds.features.Image, tfds.features.ClassLabel]:
    """Returns the features `image` and `label`; raises InputError if they don't fit."""
    features = builder.info.features
    features = dict(features) if isinstance(features, tfds.features.FeaturesDict) else {}
    image, label = features.get("image"), features.get("label")
    is_labelled = isinstance(label, tfds.features.ClassLabel)
    if not is_labelled or not isinstance(image, tfds.features.Image):
        raise InputError(
            f"{builder.name} has no images with one label each: it needs the features "
            f"'image' and 'label', and has {', '.join(features) or 'none by name'}"
        )
    if image.np_dtype != np.uint8 or image.shape[-1] not in (1, 3):
        raise InputError(
            f"{builder.name} has images of {image.shape[-1]} channels of {image.np_dtype}; "
            "allowed: 1 or 3 of uint8"
        )
    return image, label


def _split_names(builder: tfds.core.DatasetBuilder) -> tuple[str, str]:
    """Returns the names of the official splits; `validation` replaces a missing `test`."""
    known = set(builder.info.splits)
    # Under tfds.testing.mock_data no split is known, but every name can be read.
    test = "validation" if "validation" in known and "test" not in known else "test"
    if known and not {"train", test} <= known:
        raise InputError(
            f"{builder.name} has the splits {', '.join(sorted(known))}; it needs train and test"
        )
    for split in known & {"train", test}:
        if not builder.info.splits[split].num_examples:
            raise InputError(f"{builder.name}: the split {split} holds no examples")
    return "train", test


def _labels(builder: tfds.core.DatasetBuilder, split: str) -> np.ndarray:
    only_labels = tfds.decode.PartialDecoding({"label": True})
    examples = builder.as_dataset(split=split, decoders=only_labels)
    batches = examples.map(lambda example: example["label"]).batch(4096).as_numpy_iterator()
    return np.concatenate([np.empty(0, np.int64), *batches])


def _images(
    builder: tfds.core.DatasetBuilder,
    split: str,
    chosen: np.ndarray,
    image_size: int,
    reporter: Reporter,
) -> Split:
    """Returns the chosen examples of a split; images of varying size are resized."""
    height, width, channels = builder.info.features["image"].shape
    varying_size = None in (height, width)
    if varying_size:
        height = width = image_size

    def pair(position: tf.Tensor, example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = example["image"]
        return resized(pixels, height, width) if varying_size else pixels, example["label"]

    is_chosen = np.zeros(chosen.max(initial=-1) + 1, bool)
    is_chosen[chosen] = True
    examples = builder.as_dataset(split=split).take(len(is_chosen)).enumerate()
    examples = examples.filter(lambda position, _: tf.gather(is_chosen, position))
    examples = examples.map(pair, tf.data.AUTOTUNE)
    images = np.empty((len(chosen), height, width, channels), np.uint8)
    labels = np.empty(len(chosen), np.int32)
    read = 0
    reporter.begin(Step(f"reading {split} images", of=len(chosen), unit="image"))
    for batch, batch_labels in examples.batch(256).as_numpy_iterator():
        images[read : read + len(batch)] = batch
        labels[read : read + len(batch)] = batch_labels
        read += len(batch)
        reporter.reached(read, read)
    return Split(images, labels)
