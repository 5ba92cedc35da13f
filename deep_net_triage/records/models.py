"""Saves Keras models so that every backend can load them; loads them without running code."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.network import graphs
from deep_net_triage.records import files

_LAMBDA = (
    "{} has a Lambda layer, whose code is not trusted; replace it with one of Keras's layers, "
    "and save the model again"
)


def load(file: Path) -> keras.Model:
    """Returns a saved model.

    Raises:
        InputError: if there is no such file, if it is not a Keras model, or if it has a Lambda
            layer.
    """
    if not file.exists():
        raise InputError(f"{file} is missing: models were not saved, or it was removed")
    if file.suffix == ".keras" and not zipfile.is_zipfile(file):
        raise InputError(f"{file} is not a Keras model (not an archive, or truncated)")
    try:
        # Safe mode never runs code from the file.
        model = keras.models.load_model(file, compile=False, safe_mode=True)
    # A damaged file makes Keras raise OSError, ValueError, KeyError, and more.
    except Exception as error:
        reason = " ".join(str(error).split())
        if "a `Lambda` layer" in reason:  # Keras's words
            raise InputError(_LAMBDA.format(file)) from error
        raise InputError(f"{file} is not a Keras model ({reason[:160]})") from error
    if not isinstance(model, keras.Model):
        raise InputError(f"{file} is not a Keras model but a {type(model).__name__}")
    if any(isinstance(layer, keras.layers.Lambda) for layer in _layers(model)):
        raise InputError(_LAMBDA.format(file))
    return model


def check_is_loadable(model: keras.Model) -> None:
    """Checks that Keras finds the classes of a model's layers when it loads the saved model.

    Args:
        model: a flat functional model.

    Raises:
        InputError: if it does not find the class of a layer, which the message names.
    """
    for layer in model.layers:
        if type(layer).__module__.startswith("keras."):
            continue
        saved = keras.saving.serialize_keras_object(layer)
        try:
            keras.saving.deserialize_keras_object(saved)
        # A layer written by a user may raise anything here.
        except Exception as error:
            kind = type(layer).__name__
            raise InputError(
                f"{layer.name} can't be loaded again once it is saved: Keras does not find its "
                f"class {kind}; decorate it with @keras.saving.register_keras_serializable()"
            ) from error


def save(model: keras.Model, file: Path) -> None:
    """Saves a model uncompiled; a crash leaves no partial file.

    The model's layers become trainable, and stay so.
    """
    # Without optimizer, metrics and traced functions. Single tensors, because lists of one
    # would appear in an export's signature.
    model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    for layer in model.layers:
        layer.trainable = True
    layers = graphs.with_held(model)
    synchronized = [layer for layer in layers if getattr(layer, "synchronized", False)]
    for layer in synchronized:
        layer.synchronized = False  # other backends can't load synchronized layers
    try:
        with files.replacing(file) as unfinished:
            model.save(unfinished)
    finally:
        for layer in synchronized:
            layer.synchronized = True


def weights_bytes(file: Path) -> int | None:
    """Returns the size of a saved model's weights in bytes; None if there is no such file.

    The rest of the archive is small, and its size varies.
    """
    if not file.is_file():
        return None
    with zipfile.ZipFile(file) as archive:
        return archive.getinfo("model.weights.h5").file_size


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the layers of a model and of its nested models."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
