"""Exports of a model for other runtimes, each compared with the original."""

import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage.errors import ExportFailed

# Runtimes round differently. This share of the largest output is the difference allowed.
TOLERANCE = 1e-3
IMAGES = 32  # how many a caller should compare


def litert(model: keras.Model, file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Exports a model to LiteRT, and returns a function that runs the export on images."""
    model.export(str(file), format="litert", verbose=False)
    with warnings.catch_warnings():  # TensorFlow announces that this moves to another package
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(str(file))

    def run(images: np.ndarray) -> np.ndarray:
        (received,), (returned,) = (
            interpreter.get_input_details(),
            interpreter.get_output_details(),
        )
        outputs = []
        for image in images:
            interpreter.resize_tensor_input(received["index"], (1, *image.shape))
            interpreter.allocate_tensors()
            interpreter.set_tensor(received["index"], image[np.newaxis])
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(returned["index"]))
        return np.concatenate(outputs)

    return run


def saved_model(model: keras.Model, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Exports a model as a SavedModel, and returns a function that runs it on images."""
    model.export(str(folder), format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(str(folder))
    return lambda images: loaded.serve(tf.constant(images)).numpy()


FORMATS = {"litert": (litert, "model.tflite"), "saved_model": (saved_model, "saved_model")}


def export(
    model: keras.Model, folder: Path, formats: tuple[str, ...], images: tf.Tensor
) -> list[Path]:
    """Exports a model in several formats, and checks that each export returns the same.

    Args:
        model: uncompiled.
        folder: for the exports.
        formats: names from `FORMATS`.
        images: (images, height, width, channels), whose outputs are compared.

    Returns:
        The files or folders of the exports, in the order of the formats.

    Raises:
        ExportFailed: if an export's outputs differ from the model's by more than the tolerance.
    """
    batch = np.asarray(images).astype(model.inputs[0].dtype)
    expected = np.asarray(model(batch, training=False))
    made = []
    for name in formats:
        run, file = FORMATS[name]
        difference = np.abs(run(model, folder / file)(batch) - expected).max()
        if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
            raise ExportFailed(
                f"the export {folder / file} returns other values than the model: they differ "
                f"by up to {difference:.2g}"
            )
        made.append(folder / file)
    return made
