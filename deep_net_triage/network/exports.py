"""A model for other runtimes, each export read back and held against the original."""

import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage.errors import ExportFailed

# Other kernels round otherwise; no more than this share of the largest output may differ.
TOLERANCE = 1e-3
IMAGES = 32  # enough to see it


def litert(model: keras.Model, file: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Exports a model to LiteRT, and returns a function that runs what was exported."""
    model.export(str(file), format="litert", verbose=False)
    with warnings.catch_warnings():  # of a successor, which is a package of its own
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(str(file))

    def run(images: np.ndarray) -> np.ndarray:
        (received,), (returned,) = (
            interpreter.get_input_details(),
            interpreter.get_output_details(),
        )
        found = []
        for image in images:
            interpreter.resize_tensor_input(received["index"], (1, *image.shape))
            interpreter.allocate_tensors()
            interpreter.set_tensor(received["index"], image[np.newaxis])
            interpreter.invoke()
            found.append(interpreter.get_tensor(returned["index"]))
        return np.concatenate(found)

    return run


def saved_model(model: keras.Model, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Exports a model as a SavedModel, and returns a function that runs what was exported."""
    model.export(str(folder), format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(str(folder))
    return lambda images: loaded.serve(tf.constant(images)).numpy()


FORMATS = {"litert": (litert, "model.tflite"), "saved_model": (saved_model, "saved_model")}


def export(
    model: keras.Model, folder: Path, formats: tuple[str, ...], images: tf.Tensor
) -> list[Path]:
    """Exports a model in each format, and makes sure of what was exported.

    Args:
        model: as it was saved.
        folder: where the exports go.
        formats: names from `FORMATS`.
        images: whose outputs are compared.

    Returns:
        What was made, in the order of the formats.

    Raises:
        ExportFailed: if an export returns something else than the model.
    """
    batch = np.asarray(images).astype(model.inputs[0].dtype)
    expected = np.asarray(model(batch, training=False))
    made = []
    for name in formats:
        run, file = FORMATS[name]
        found = run(model, folder / file)(batch)
        difference = np.abs(found - expected).max()
        if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
            raise ExportFailed(
                f"the export {folder / file} returns other values than the model: they differ "
                f"by up to {difference:.2g}"
            )
        made.append(folder / file)
    return made
