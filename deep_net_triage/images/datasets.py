"""A data set's name becomes raw images, labels, class names and channel statistics (3)."""

import dataclasses
import hashlib
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from deep_net_triage.errors import InputError
from deep_net_triage.images import subsets


@dataclass(frozen=True)
class Split:
    """Images as they come and their labels, arrays turned into tensors once and for all.

    Attributes:
        images: (examples, height, width, channels), 1 or 3 channels; uint8, or float32 where
            they were given so.
        labels: int32, (examples,).
    """

    images: tf.Tensor
    labels: tf.Tensor

    def __post_init__(self) -> None:
        # In the host's memory: a set of images need not fit a GPU.
        with tf.device("CPU:0"):
            floating = tf.as_dtype(self.images.dtype).is_floating
            images = tf.cast(self.images, tf.float32 if floating else tf.uint8)
            object.__setattr__(self, "images", images)
            object.__setattr__(self, "labels", tf.convert_to_tensor(self.labels, tf.int32))

    def __len__(self) -> int:
        """Number of examples."""
        return int(self.labels.shape[0])


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    Attributes:
        name: as asked for.
        train: what networks are trained on.
        test: what they are judged by, in the data set's order.
        class_names: one a label.
        varying_size: whether the images had several sizes and were resized when read.
        validation: training images held out to choose an epoch by; None where the test images
            choose it, as in the paper.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    varying_size: bool = False
    validation: Split | None = None

    @property
    def input_shape(self) -> tuple[int | None, int | None, int]:
        """Shape of one raw image; height and width are None where they vary."""
        height, width, channels = self.train.images.shape[1:]
        return (None, None, channels) if self.varying_size else (height, width, channels)


def load(
    name: str,
    *,
    image_size: int,
    data_dir: Path | None = None,
    train_examples: int | None = None,
    test_examples: int | None = None,
) -> Dataset:
    """Returns a data set's official splits, downloading it where TFDS can.

    Args:
        name: `digits`, or a TFDS data set that has `image` and `label`.
        image_size: side in pixels to which images of varying size are resized.
        data_dir: where TFDS keeps its data; None for TFDS's own folder.
        train_examples: how many training images to use, class-balanced; None for all.
        test_examples: the same for the test split.

    Raises:
        InputError: if the name is unknown, the data set has no labelled images, it is neither
            prepared nor to be had, or it holds fewer examples than asked for.
    """
    if name == "digits":
        dataset = _digits()
        return dataclasses.replace(
            dataset,
            train=_subset(dataset.train, train_examples, "--train_examples"),
            test=_subset(dataset.test, test_examples, "--test_examples"),
        )
    builder = _prepared(name, data_dir)
    image, label = _features(builder)
    train, test = _split_names(builder)

    def read(split: str, count: int | None, flag: str) -> Split:
        try:
            labels = _labels(name, split, data_dir)
            chosen = subsets.chosen_examples(labels, count, flag)
            return _images(name, split, data_dir, chosen, image, image_size)
        except tf.errors.ResourceExhaustedError:
            raise
        # A record that is torn, an image that is none: what TensorFlow's readers raise.
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


def hold_out(dataset: Dataset, fraction: float) -> Dataset:
    """Returns a data set of which part of the training images, class-balanced, is held out.

    Raises:
        InputError: if that leaves no image on either side.
    """
    images, labels = (tensor.numpy() for tensor in (dataset.train.images, dataset.train.labels))
    count = round(fraction * len(labels))
    if not 0 < count < len(labels):
        raise InputError(
            f"--validation_fraction={fraction} of {len(labels)} training images leaves none; "
            "it must leave one on each side"
        )
    held = np.isin(np.arange(len(labels)), subsets.balanced_subset(labels, count))
    return dataclasses.replace(
        dataset,
        train=Split(images[~held], labels[~held]),
        validation=Split(images[held], labels[held]),
    )


def digest(dataset: Dataset) -> str:
    """Returns a digest of all pixels and labels in their order, 16 hexadecimal digits."""
    total = hashlib.sha256()
    for split in (dataset.train, dataset.test):
        for tensor in (split.images, split.labels):
            total.update(f"{tensor.dtype.name} {tuple(tensor.shape)}".encode())
            total.update(np.ascontiguousarray(tensor.numpy()))
    return total.hexdigest()[:16]


def resized(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns images, or one, resized bilinearly; uint8 ones are rounded to whole levels."""
    result = tf.image.resize(images, (height, width))
    return (
        tf.cast(tf.round(result), tf.uint8) if tf.as_dtype(images.dtype) == tf.uint8 else result
    )


def reason_of(error: tf.errors.OpError) -> str:
    """Returns what TensorFlow says is wrong, without the names it has for its operations."""
    names = r"\{\{.*?\}\}|Error in user-defined .*? iterator: \S+: |\[(\[|Op:).*"
    return re.sub(names, "", " ".join(str(error.message).split())).strip()[:120]


def channel_statistics(images: tf.Tensor, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of each RGB channel after resizing (3).

    Args:
        images: uint8 (examples, height, width, 1 or 3).
        image_size: side in pixels of the network's input.

    Returns:
        Two float64 arrays of shape (3,), in units of raw pixels.

    Raises:
        InputError: if a channel is the same in every pixel, so that it can't be normalised.
    """
    total = squares = 0.0
    for start in range(0, len(images), 256):
        batch = tf.image.resize(images[start : start + 256], (image_size, image_size))
        batch = batch.numpy().astype(np.float64)
        total = total + batch.sum(axis=(0, 1, 2))
        squares = squares + np.square(batch).sum(axis=(0, 1, 2))
    pixels = len(images) * image_size**2
    mean = total / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - np.square(mean), 0))
    # Far below one grey level in one pixel of 60,000 images, far above rounding.
    if np.any(deviation < 1e-4):
        raise InputError("all training pixels of a channel are equal; there is nothing to see")
    return np.broadcast_to(mean, 3), np.broadcast_to(deviation, 3)


def _digits() -> Dataset:
    """Scikit-learn's 1,797 digits, 8x8, grey levels 0 to 16; a stratified 80/20 split."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = digits.images.astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=subsets.SUBSET_SEED
    )
    return Dataset(
        name="digits",
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        class_names=tuple(str(name) for name in digits.target_names),
    )


def _subset(split: Split, count: int | None, flag: str) -> Split:
    chosen = subsets.chosen_examples(split.labels.numpy(), count, flag)
    return Split(tf.gather(split.images, chosen), tf.gather(split.labels, chosen))


def _prepared(name: str, data_dir: Path | None) -> tfds.core.DatasetBuilder:
    """Returns a data set's builder, its files prepared or about to be downloaded."""
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise InputError(
            f"--dataset={name} is unknown; allowed: digits, mnist, cifar10, cifar100, "
            "stanford_dogs, or any TFDS image classification set"
        ) from error
    # A wrong version or configuration is an AssertionError or a ValueError, and so on.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"--dataset={name} can't be opened by TFDS ({reason})") from error
    _features(builder)
    if not builder.is_prepared():
        _check_reachable(builder)
        try:
            builder.download_and_prepare()
        # Whatever a download or a stranger's preparation code raises, the remedy is the same.
        except Exception as error:
            raise _unavailable(builder, error) from error
    return builder


def _check_reachable(builder: tfds.core.DatasetBuilder) -> None:
    """Asks the data set's host for an answer, because TFDS tries for minutes in silence."""
    for url in list(builder.url_infos or ())[:1]:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError:
            return  # an answer all the same
        except OSError as error:
            raise _unavailable(builder, error) from error


def _unavailable(builder: tfds.core.DatasetBuilder, error: Exception) -> InputError:
    folder = Path(builder.data_dir).parent.parent
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return InputError(
        f"{builder.name} is not in {folder} and can't be downloaded ({reason}); prepare it "
        f"with network by `tfds build {builder.name} --data_dir={folder}`, or name the folder "
        "that holds it by --data_dir"
    )


def _features(
    builder: tfds.core.DatasetBuilder,
) -> tuple[tfds.features.Image, tfds.features.ClassLabel]:
    """Returns the features `image` and `label`, or refuses a data set without them."""
    features = builder.info.features
    features = (
        dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    )
    image, label = features.get("image"), features.get("label")
    if not isinstance(label, tfds.features.ClassLabel) or not isinstance(
        image, tfds.features.Image
    ):
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
    """Returns the names of the official splits; `validation` serves where no `test` is."""
    known = set(builder.info.splits)
    # Under tfds.testing.mock_data no split is known and every name is answered.
    test = "validation" if "validation" in known and "test" not in known else "test"
    if known and not {"train", test} <= known:
        raise InputError(
            f"{builder.name} has the splits {', '.join(sorted(known))}; it needs train and test"
        )
    for split in known & {"train", test}:
        if not builder.info.splits[split].num_examples:
            raise InputError(f"{builder.name}: the split {split} holds no examples")
    return "train", test


def _labels(name: str, split: str, data_dir: Path | None) -> np.ndarray:
    only_labels = tfds.decode.PartialDecoding({"label": True})
    examples = tfds.load(name, split=split, data_dir=data_dir, decoders=only_labels)
    batches = examples.map(lambda example: example["label"]).batch(4096).as_numpy_iterator()
    return np.concatenate([np.empty(0, np.int64), *batches])


def _images(
    name: str,
    split: str,
    data_dir: Path | None,
    chosen: np.ndarray,
    image: tfds.features.Image,
    image_size: int,
) -> Split:
    """Reads the chosen examples of a split, each resized if the set's images vary in size."""
    height, width, channels = image.shape
    if None in (height, width):
        height = width = image_size

    def as_uint8(example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = example["image"]
        if image.shape != (height, width, channels):
            pixels = resized(pixels, height, width)
        return pixels, example["label"]

    is_chosen = np.zeros(chosen.max(initial=-1) + 1, bool)
    is_chosen[chosen] = True
    examples = tfds.load(name, split=split, data_dir=data_dir)
    examples = examples.take(len(is_chosen)).enumerate()
    examples = examples.filter(lambda position, _: tf.gather(is_chosen, position))
    examples = examples.map(lambda _, example: as_uint8(example), tf.data.AUTOTUNE)
    images = np.empty((len(chosen), height, width, channels), np.uint8)
    labels = np.empty(len(chosen), np.int32)
    read = 0
    for batch, batch_labels in examples.batch(256).as_numpy_iterator():
        images[read : read + len(batch)] = batch
        labels[read : read + len(batch)] = batch_labels
        read += len(batch)
    return Split(images, labels)
