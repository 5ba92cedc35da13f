"""LiteRT files of a model, in float32 and in int8, and the interpreter that runs them."""

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import quiet
from deep_net_triage.errors import ExportFailed
from deep_net_triage.network import graphs

# Quantization needs the range of each layer's values, from the smallest to the largest.
# TensorFlow's guide takes 100 to 500 images. A hundred are enough for a range, and each one is
# a forward pass by an interpreter that runs unoptimized kernels.
CALIBRATION_IMAGES = 100
# The converter's message names each operation that LiteRT lacks.
_LACKING = re.compile(r"'tf\.(\w+)' op is neither a custom op")


def write(model: keras.Model, file: Path) -> None:
    """Writes a model as a LiteRT file in float32.

    Args:
        model: takes images; of any precision.
        file: ends in `.tflite`.

    Raises:
        ExportFailed: if LiteRT lacks an operation of the model.
    """
    _convert(model, file, tf.lite.OpsSet.TFLITE_BUILTINS)


def write_int8(model: keras.Model, file: Path, images: tf.Tensor) -> None:
    """Writes a model as a LiteRT file with weights and activations in int8.

    It takes and returns the numbers that the model does: the file quantizes its input, and
    converts its output back, so that it can stand in for the float32 file. An operation that
    LiteRT has for float32 alone stays in float32.

    Args:
        model: takes images; of any precision.
        file: ends in `.tflite`.
        images: training images, (images, height, width, channels), which the ranges of values
            are measured on.

    Raises:
        ExportFailed: if LiteRT lacks an operation of the model.
    """
    # Images from folders are in the order of their classes.
    chosen = np.linspace(0, len(images) - 1, min(CALIBRATION_IMAGES, len(images))).astype(int)

    def calibration() -> Iterator[list[np.ndarray]]:
        for index in chosen:
            image = np.asarray(images[index : index + 1])
            yield [image.astype(model.inputs[0].dtype)]

    _convert(
        model,
        file,
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=calibration,
    )


def runner(file: Path, threads: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from a batch of images to a LiteRT file's outputs.

    Args:
        file: of a model with one input and one output.
        threads: the most that the interpreter uses.
    """
    with quiet.native_messages_held(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow announces a move to another package
        interpreter = tf.lite.Interpreter(str(file), num_threads=threads)
    (received,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    shape: tuple[int, ...] = ()

    def run(images: np.ndarray) -> np.ndarray:
        nonlocal shape
        if images.shape != shape:
            interpreter.resize_tensor_input(received["index"], images.shape)
            with quiet.native_messages_held():
                interpreter.allocate_tensors()
            shape = images.shape
        interpreter.set_tensor(received["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(returned["index"])

    return run


def in_float32(model: keras.Model) -> keras.Model:
    """Returns a model itself if it computes in float32, and otherwise a copy that does.

    LiteRT has no kernels for bfloat16.
    """
    held = [one for layer in model.layers for one in graphs.with_held(layer)]
    if all(layer.compute_dtype == "float32" for layer in held):
        return model

    def copied(operation: keras.Operation) -> keras.Operation:
        copy = graphs.copied(operation)
        if isinstance(copy, keras.layers.Layer):
            for layer in graphs.with_held(copy):
                layer.dtype_policy = "float32"
        return copy

    copy = keras.models.clone_model(model, clone_function=copied)
    for layer in copy.layers:
        if layer.weights:
            graphs.copy_weights(model.get_layer(layer.name), layer)
    return copy


def _convert(
    model: keras.Model, file: Path, operations: tf.lite.OpsSet, **options: object
) -> None:
    """Writes a LiteRT file.

    Args:
        model: of any precision.
        file: ends in `.tflite`.
        operations: those that the file may have. Keras would allow others as well, for which
            the interpreter needs a library that TensorFlow does not bring.
        **options: other attributes of `tf.lite.TFLiteConverter`.
    """
    model, problem = in_float32(model), None
    options["target_spec"] = {"supported_ops": [operations]}
    with quiet.native_messages_held():
        try:
            model.export(str(file), format="litert", verbose=False, **options)
        # The converter raises errors of several kinds. Raised here, one would show the held
        # messages, which are pages.
        except Exception as error:
            problem = str(error)
    if problem is not None:
        raise ExportFailed(f"the export {file.name} can't be made: {_reason(problem)}")


def _reason(problem: str) -> str:
    """Returns the cause given in the converter's message, on one line."""
    lacking = sorted(set(_LACKING.findall(problem)))
    if lacking:
        return f"LiteRT has no operation for TensorFlow's {', '.join(lacking)}"
    return " ".join(problem.split())[:160]
