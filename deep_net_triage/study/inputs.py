"""What a command works with: images, and the parent if one is given, as they fit each other."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import InputError
from deep_net_triage.images import (
    dataset_checks,
    datasets,
    fitting,
    folds,
    image_folders,
    splits,
)
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import predictions
from deep_net_triage.network import flattening, logits
from deep_net_triage.progress import Progress
from deep_net_triage.records import models
from deep_net_triage.wording import sides

_LOOKED_AT = 8  # images that show whether a model returns probabilities


@dataclass(frozen=True)
class Inputs:
    """What a command works with.

    Attributes:
        settings: with the precision that `auto` stands for here.
        dataset: images as the given model takes them.
        model: the given parent; None where the parent is trained.
    """

    settings: Settings
    dataset: Dataset
    model: keras.Model | None


def check(model: keras.Model, name: str) -> None:
    """Makes sure that a given model takes one image and has finite weights.

    Args:
        model: as it was given.
        name: of the model in messages, such as its file.

    Raises:
        InputError: if it does not.
    """
    try:
        flattening.image_shape(model)
    except InputError as error:
        raise InputError(f"{name} can't be triaged: {error}") from error
    broken = [w.path for w in model.weights if not np.all(np.isfinite(w.numpy()))]
    if broken:
        raise InputError(f"{name} has weights that are not finite, the first {broken[0]}")


def as_parent(model: keras.Model, name: str, dataset: Dataset) -> keras.Model:
    """Returns a given model as one flat graph with one output for each class of a data set.

    Args:
        model: takes one image.
        name: of the model in messages, such as its file.
        dataset: its images have the shape that the model takes.

    Raises:
        InputError: if the model can't be triaged, has another number of outputs, or returns
            probabilities of which its layers don't tell.
    """
    try:
        parent = flattening.flat(model, dataset.train.images.shape[1:])
        models.check_is_loadable(parent)
        from_logits = logits.returns_logits(parent)
    except InputError as error:
        raise InputError(f"{name} can't be triaged: {error}") from error
    classes = len(dataset.class_names)
    if parent.output_shape != (None, classes):
        raise InputError(
            f"{name} returns {sides(parent.output_shape[1:])} values per image, but "
            f"{dataset.name} has {classes} classes"
        )
    if from_logits and _sum_to_one(parent, dataset):
        raise InputError(
            f"{name} returns probabilities, since its outputs sum to 1, but not by Keras's "
            "softmax; end it with that, or with logits"
        )
    return parent


def _sum_to_one(model: keras.Model, dataset: Dataset) -> bool:
    """Returns whether a model's outputs for a few images are probabilities."""
    returned = predictions.outputs(model, dataset.train.images[:_LOOKED_AT])
    values = np.concatenate([np.asarray(batch, np.float64) for batch in returned])
    return bool(np.all(values >= 0) and np.allclose(values.sum(axis=-1), 1, atol=0.01))


@contextlib.contextmanager
def loaded(
    settings: Settings, progress: Progress, given: Inputs | None = None
) -> Iterator[Inputs]:
    """Yields the images, some of them held out, and the given parent.

    Devices and precision are set before.
    """
    if settings.deterministic:
        devices.make_deterministic()
    resolved = devices.resolve_precision(settings.precision)
    keras.config.set_dtype_policy(resolved)
    settings = dataclasses.replace(settings, precision=resolved)
    name = f"{settings.parent or 'the model'}"
    model = given.model if given else settings.parent and models.load(settings.parent)
    if model:
        check(model, name)
    dataset = given.dataset if given else _images(settings, model, progress)
    dataset_checks.check_labels(dataset)
    if settings.validation_fraction:
        dataset = splits.hold_out(dataset, settings.validation_fraction)
    for line in dataset_checks.warnings(dataset):
        progress.say(line)
    if model:
        dataset = _fitted(dataset, model, progress)
    with devices.strategy(settings.replicas).scope():
        if model:
            model = as_parent(model, name, dataset)
        yield Inputs(settings, dataset, model)


def _images(settings: Settings, model: keras.Model | None, progress: Progress) -> Dataset:
    """Returns the images that the settings name, of one fold if they name one."""
    counts = {
        "train_examples": settings.train_examples,
        "test_examples": settings.test_examples,
    }
    if not settings.fold:
        return _read(settings, model, progress, **counts)
    whole = _read(settings, model, progress, train_examples=None, test_examples=None)
    dataset_checks.check_labels(whole)
    dataset = folds.fold(whole, *settings.fold, **counts)
    return dataclasses.replace(dataset, near_duplicates=dataset_checks.near_duplicates(dataset))


def _read(
    settings: Settings,
    model: keras.Model | None,
    progress: Progress,
    **counts: int | None,
) -> Dataset:
    """Reads as many images of each split as are to be used."""
    progress.say(f"{settings.dataset}: reading images")
    image_size = settings.image_size
    if model and None not in model.inputs[0].shape[1:3]:
        image_size = max(model.inputs[0].shape[1:3])
    read = {
        "image_size": image_size,
        "report": functools.partial(progress.step, settings.dataset),
    }
    if settings.image_dir:
        examples = {name.removesuffix("_examples"): count for name, count in counts.items()}
        if settings.validation_fraction:
            examples["validation"] = None
        names = settings.class_names
        return image_folders.load(
            settings.image_dir, class_names=names, examples=examples, **read
        )
    return datasets.load(settings.dataset, data_dir=settings.data_dir, **counts, **read)


def _fitted(dataset: Dataset, model: keras.Model, progress: Progress) -> Dataset:
    """Returns a data set with images of the shape that a model takes."""
    shape = model.inputs[0].shape[1:]
    fitted = fitting.fitted(dataset, shape)
    if fitted is not dataset:
        progress.say(f"images are converted to {sides(shape)}, the model's input shape")
    return fitted
