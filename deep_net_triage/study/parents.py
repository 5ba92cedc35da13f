"""The parent of a study: a saved model that is given, or a VGG16 trained here and kept."""

import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import InputError, TrainingFailed
from deep_net_triage.images import datasets
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import guards, predictions, training
from deep_net_triage.network import costs, graphs, imagenet, vgg16
from deep_net_triage.records import checkpoints, files, results
from deep_net_triage.records.journal import Journal

_LAMBDA = (
    "{} has a Lambda layer, whose code is not run here; replace it by a layer of Keras's, and "
    "save the model again"
)


def load(file: Path) -> keras.Model:
    """Returns a saved model.

    Raises:
        InputError: if the file holds none.
    """
    if file.suffix == ".keras" and not zipfile.is_zipfile(file):
        raise InputError(f"{file} is no Keras model (it is no archive, or is cut short)")
    try:
        # Safe mode: code that a file brings along is never run.
        model = keras.models.load_model(file, compile=False, safe_mode=True)
    # Keras raises what its readers do for a damaged file: OSError, ValueError, KeyError.
    except Exception as error:
        reason = " ".join(str(error).split())
        if "Lambda" in reason:
            raise InputError(_LAMBDA.format(file)) from error
        raise InputError(f"{file} is no Keras model ({reason[:160]})") from error
    if not isinstance(model, keras.Model):
        raise InputError(f"{file} is no Keras model but a {type(model).__name__}")
    if any(isinstance(layer, keras.layers.Lambda) for layer in _layers(model)):
        raise InputError(_LAMBDA.format(file))
    return model


def load_given(file: Path) -> keras.Model:
    """Returns a saved model that takes one image.

    Raises:
        InputError: if the file holds none, or weights that are not finite.
    """
    model = load(file)
    broken = [w.path for w in model.weights if not np.all(np.isfinite(w.numpy()))]
    if broken:
        raise InputError(f"{file} has weights that are not finite, the first {broken[0]}")
    try:
        graphs.image_shape(model)
    except InputError as error:
        raise InputError(f"{file} can't be triaged: {error}") from error
    return model


def as_parent(model: keras.Model, file: Path, dataset: Dataset) -> keras.Model:
    """Returns a given model as a parent: flat, and made sure that it tells a set's classes.

    Args:
        model: as `load_given` returns it.
        file: it came from, for messages.
        dataset: its images have the shape that the model takes.

    Raises:
        InputError: if it can't be one; the message says what is wrong.
    """
    try:
        parent = graphs.flat(model, dataset.train.images.shape[1:])
    except InputError as error:
        raise InputError(f"{file} can't be triaged: {error}") from error
    classes = len(dataset.class_names)
    if parent.output_shape != (None, classes):
        raise InputError(
            f"{file} returns {_sides(parent.output_shape[1:])} values an image; "
            f"{dataset.name} has {classes} classes"
        )
    return parent


def untrained(settings: Settings, dataset: Dataset) -> keras.Model:
    """Returns the VGG16 that the settings ask for, with its random weights.

    Raises:
        InputError: if the images can't be normalised.
    """
    keras.utils.set_random_seed(training.PARENT_SEED)
    mean, deviation = datasets.channel_statistics(dataset.train.images, settings.image_size)
    return vgg16.build(
        input_shape=dataset.input_shape,
        classes=len(dataset.class_names),
        image_size=settings.image_size,
        mean=mean,
        deviation=deviation,
        width=settings.width,
        dropout=settings.dropout,
        batchnorm_momentum=settings.batchnorm_momentum,
        synchronized=devices.replicas() > 1,
    )


def train(
    parent: keras.Model,
    settings: Settings,
    dataset: Dataset,
    source: keras.Model | None,
    journal: Journal,
) -> dict[str, object]:
    """Trains an untrained parent, keeps it in its folder, and returns its result.

    Args:
        parent: as `untrained` returns it; left with the weights of its best epoch.
        settings: how to train it, and what it starts from.
        dataset: what to train it on.
        source: a VGG16 whose weights it starts from; None for its own random ones.
        journal: is told of each epoch that ends.

    Raises:
        TrainingFailed: if a loss is no longer finite, or what was saved is not what was
            trained; the result then records it.
    """
    folder = journal.folder
    if source:
        imagenet.transplant(source, parent, dataset.train.images)
    try:
        training.train_parent(parent, dataset, settings, journal)
        summary = results.summarize(results.read_epochs(folder))
        journal.still_ours()
        save(parent, folder / "model.keras")
        correct = guards.check_saved(
            folder / "model.keras", parent, dataset.test, summary["chosen_accuracy"]
        )
        results.write_correct(folder, correct)
    except TrainingFailed as failure:
        journal.finish(
            {"status": "failed", "reason": str(failure), "settings": journal.settings}
        )
        raise
    numbers = {
        "baseline_accuracy": summary["chosen_accuracy"],
        "max_epoch": summary["chosen_epoch"],
        "final_accuracy": summary["final_accuracy"],
    }
    result = _result(parent, folder, journal.settings, numbers, journal.seconds)
    journal.finish(result)
    return result


def adopt(
    parent: keras.Model,
    settings: Settings,
    dataset: Dataset,
    folder: Path,
    determining: dict[str, object],
) -> dict[str, object]:
    """Keeps a given parent in its folder, evaluates it, and returns its result.

    Args:
        parent: as `load_given` returns it.
        settings: the batch size.
        dataset: whose test split gives the baseline.
        folder: may be the one it was loaded from.
        determining: the settings that the result records.
    """
    started = time.perf_counter()
    learner, test = training.classifier(parent, settings), dataset.test
    _, accuracy = training.evaluate(learner, test.images, test.labels, settings.batch_size)
    save(parent, folder / "model.keras")
    results.write_correct(folder, predictions.correct(parent, test.images, test.labels))
    (folder / "epochs.jsonl").unlink(missing_ok=True)
    checkpoints.remove(folder)
    numbers = {"baseline_accuracy": accuracy, "max_epoch": None, "final_accuracy": None}
    result = _result(parent, folder, determining, numbers, time.perf_counter() - started)
    files.write_json(folder / "result.json", result)
    return result


def save(model: keras.Model, file: Path) -> None:
    """Saves a model for anyone to load: uncompiled, nothing frozen, whole or not at all."""
    model = uncompiled(model)
    shared = []
    for layer in model.layers:  # the model's own setter does not reach a layer frozen by itself
        layer.trainable = True
        if getattr(layer, "synchronized", False):
            shared.append(layer)
            layer.synchronized = False  # how it was trained; other backends refuse to load it
    try:
        with files.replacing(file) as unfinished:
            model.save(unfinished)
    finally:
        for layer in shared:
            layer.synchronized = True


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields a model's layers, and those of the models within it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def uncompiled(model: keras.Model) -> keras.Model:
    """Returns a model of the same layers without optimiser, metrics and traced steps."""
    # Not lists of one, which the signature of an export would show.
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _result(
    parent: keras.Model,
    folder: Path,
    determining: dict[str, object],
    numbers: dict[str, object],
    seconds: float,
) -> dict[str, object]:
    return {
        "status": "finished",
        "reason": None,
        "settings": determining,
        **numbers,
        "weights_sha256": guards.weights_digest(parent),
        "parameters": costs.parameters(parent),
        "macs": costs.macs(parent),
        "seconds": seconds,
        "files": results.digests(folder),
    }


def _sides(shape: Sequence[int | None]) -> str:
    return " x ".join("any" if side is None else str(side) for side in shape)
