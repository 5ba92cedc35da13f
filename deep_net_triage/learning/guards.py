"""Checks made at the end of every training.

A fault in the program, in a library or in the machine must never give a wrong result. If a
check fails, the trial is recorded as failed, with the reason.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from deep_net_triage.errors import TrainingFailed
from deep_net_triage.images.splits import Split
from deep_net_triage.learning import predictions
from deep_net_triage.network.block import Block

# The saved model is evaluated on images, eagerly. Its trial may have read stored activations
# and run compiled steps, which round differently. So one image plus this share of all images
# may be classified differently. The share is that of the coarsest dtype that either used.
ROUNDING_SHARES = {"float64": 0.001, "float32": 0.001, "bfloat16": 0.03, "float16": 0.03}


def weights_digest(model: keras.Model) -> str:
    """Returns a SHA-256 of a model's weights, which identifies a parent.

    Two files of one model differ in their bytes; its arrays do not.
    """
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(str(array.shape).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_parent(parent: keras.Model, digest: str) -> None:
    """Checks that training students has not changed the parent's weights.

    Args:
        parent: the model.
        digest: of its weights, as `weights_digest` returned it before.

    Raises:
        TrainingFailed: if they have changed.
    """
    if weights_digest(parent) != digest:
        raise TrainingFailed("the parent's weights have changed")


def check_frozen(student: keras.Model, parent: keras.Model, block: Block) -> None:
    """Checks that training the compressed block alone has changed no other layer.

    Raises:
        TrainingFailed: if a weight or moving statistic of another layer is not the parent's.
    """
    for layer in student.layers:
        if not layer.weights or layer.name in block.compressed_layers:
            continue
        expected = parent.get_layer(layer.name).get_weights()
        if not all(map(np.array_equal, layer.get_weights(), expected)):
            raise TrainingFailed(f"the frozen layer {layer.name} has changed")


def check_learned(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> None:
    """Checks that training has changed each of the compressed block's kernels.

    Raises:
        TrainingFailed: if a kernel is the same as before, or not finite.
    """
    if not all(np.all(np.isfinite(kernel)) for kernel in after):
        raise TrainingFailed("the compressed block's kernel is not finite")
    if any(map(np.array_equal, before, after)):
        raise TrainingFailed("the compressed block has not changed in training")


def check_saved(
    file: Path, model: keras.Model, test: Split, recorded: float, stored: str = "exact"
) -> np.ndarray:
    """Checks that a saved model has the trained weights and the recorded accuracy.

    Args:
        file: of the saved model.
        model: the trained one.
        test: images and labels.
        recorded: the accuracy on them in the trial's records, 0..1.
        stored: the type of the activations that the trial read, as `--activation_dtype` says.

    Returns:
        Which of the images the saved model classifies correctly, bool, (images,).

    Raises:
        TrainingFailed: if its weights differ, or its accuracy by more than rounding explains.
    """
    saved = keras.models.load_model(file, compile=False)
    if weights_digest(saved) != weights_digest(model):
        raise TrainingFailed("the saved model's weights are not those that were trained")
    correct = predictions.correct(saved, test.images, test.labels)
    accuracy = correct.mean()
    rounded_to = {stored, *(layer.compute_dtype for layer in model.layers)}
    share = max(ROUNDING_SHARES.get(dtype, ROUNDING_SHARES["float32"]) for dtype in rounded_to)
    if abs(accuracy - recorded) * len(test) > 1 + share * len(test):
        raise TrainingFailed(
            f"the saved model's accuracy is {accuracy:.4f}, where {recorded:.4f} was recorded"
        )
    return correct
