"""Makes a data set of images that the caller of a library function has in memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.steps import Report, Reporter, Step

_PIXELS = "allowed: integers from 0 to 255, or floats in the range that the model expects"

# Images and their labels: two arrays, or a tf.data.Dataset of pairs, batched or not.
Examples: TypeAlias = tuple[np.ndarray, np.ndarray] | tf.data.Dataset


def dataset(
    name: str,
    examples: Mapping[str, Examples],
    outputs: int,
    class_names: Sequence[str] | None,
    report: Report,
) -> Dataset:
    """Returns the splits that a caller gave as a data set.

    Args:
        name: of the data set.
        examples: of each split, by the name of an attribute of `Dataset`.
        outputs: of the model; it may have more than there are classes.
        class_names: one for each label; None to number the classes.
        report: receives how many images of a `tf.data.Dataset` have been read.

    Raises:
        InputError: if they are no images with labels.
    """
    splits = {which: _split(pairs, which, report) for which, pairs in examples.items()}
    if class_names is None:
        labels = max(int(tf.reduce_max(split.labels)) for split in splits.values())
        class_names = [str(number) for number in range(max(labels + 1, outputs))]
    elif isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise InputError(f"class_names={class_names!r}: allowed: a list of names")
    return Dataset(name, **splits, class_names=tuple(map(str, class_names)))


def _split(examples: Examples, which: str, report: Report) -> Split:
    """Returns images and labels in memory.

    Raises:
        InputError: if they are not images with one label each, or integer pixels are not from 0
            to 255.
    """
    if isinstance(examples, tf.data.Dataset):
        examples = _unbatched(examples, which, report)
    try:
        images, labels = map(np.asarray, examples)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{which} is not a pair of images and labels; allowed: two arrays, or a "
            "tf.data.Dataset of pairs"
        ) from error
    if images.ndim != 4 or labels.shape != images.shape[:1] or not len(images):
        raise InputError(
            f"{which}: images of shape {images.shape} with labels of shape {labels.shape}; "
            "allowed: (examples, height, width, channels) and (examples,), one example or more"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{which}: labels of type {labels.dtype}; allowed: integers from 0")
    if np.issubdtype(images.dtype, np.floating):
        if not np.all(np.isfinite(images)):
            raise InputError(
                f"{which}: some pixels are not finite numbers; take those images out"
            )
    elif not np.issubdtype(images.dtype, np.integer):
        raise InputError(f"{which}: pixels of type {images.dtype}; {_PIXELS}")
    elif images.min() < 0 or images.max() > 255:
        raise InputError(
            f"{which}: pixels from {images.min()} to {images.max()} of type {images.dtype}; "
            f"{_PIXELS}"
        )
    return Split(images, labels)


def _unbatched(
    examples: tf.data.Dataset, which: str, report: Report
) -> tuple[np.ndarray, np.ndarray]:
    if examples.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError(f"{which}: the data set repeats without end; leave out `repeat()`")
    spec = examples.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise InputError(f"{which} must be a data set of (image, label) pairs")
    read: list[tuple[np.ndarray, np.ndarray]] = []
    count, reporter = 0, Reporter(report)
    # A generator's length is unknown. If it never ends, the growing count shows it.
    reporter.begin(Step(f"reading {which} images", unit="image"))
    for pair in examples.as_numpy_iterator():
        read.append(tuple(map(np.asarray, pair)))  # a single string comes as `bytes`
        count += len(read[-1][1]) if _are_batches(read) else 1
        reporter.reached(count, count)
    if not read:
        raise InputError(f"{which} must not be empty")
    images, labels = zip(*read, strict=True)
    batched = _are_batches(read)
    shapes = {image.shape[1:] if batched else image.shape for image in images}
    if len(shapes) > 1:
        different = " and ".join(map(str, sorted(shapes)[:2]))
        raise InputError(f"{which}: images of shapes {different}; allowed: a single shape")
    join = np.concatenate if batched else np.stack
    return join(images), join(labels)


def _are_batches(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Returns whether the pairs that were read are batches, and not single examples."""
    image, label = pairs[0]
    # A single label may have an axis of its own, as in keras.datasets.
    return label.ndim > 0 and label.shape[:1] == image.shape[:1]
