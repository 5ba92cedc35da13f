"""What must hold whenever a training ends, checked every time.

A result that a fault in the program, in a library or in the machine has touched must never be
shown as one: a guard that is hurt makes its trial a failed one, with the reason.
"""

import hashlib
from pathlib import Path

import keras
import numpy as np

from deep_net_triage.errors import TrainingFailed
from deep_net_triage.images.datasets import Split
from deep_net_triage.learning import predictions
from deep_net_triage.network.blocks import Block

# A saved model computes from images, operation by operation; its trial may have computed from
# what was kept, and in one piece, which rounds otherwise. One image, and so many in a thousand,
# may then fall to the other side of a tie.
TIES = {"float64": 0.001, "float32": 0.001, "bfloat16": 0.03, "float16": 0.03}


def weights_digest(model: keras.Model) -> str:
    """Returns a SHA-256 of a model's weights, by which a parent is known wherever it lies.

    Two archives of one model differ byte for byte; its arrays do not.
    """
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(str(array.shape).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_parent(parent: keras.Model, digest: str) -> None:
    """Makes sure that a parent's weights are what they were.

    Raises:
        TrainingFailed: if they are not.
    """
    if weights_digest(parent) != digest:
        raise TrainingFailed("the parent's weights have changed")


def check_frozen(student: keras.Model, parent: keras.Model, block: Block) -> None:
    """Makes sure that a layer-only phase has left all layers but the compressed ones alone.

    Raises:
        TrainingFailed: if another weight differs from the parent's, or a moving statistic.
    """
    for layer in student.layers:
        if not layer.weights or layer.name in block.compressed_layers:
            continue
        expected = parent.get_layer(layer.name).get_weights()
        if not all(map(np.array_equal, layer.get_weights(), expected)):
            raise TrainingFailed(f"the frozen layer {layer.name} has changed")


def check_learned(before: np.ndarray, after: np.ndarray) -> None:
    """Makes sure that the compressed block's kernel is not the one it started with.

    Raises:
        TrainingFailed: if it is, or if it is not finite.
    """
    if not np.all(np.isfinite(after)):
        raise TrainingFailed("the compressed block's kernel is not finite")
    if np.array_equal(before, after):
        raise TrainingFailed("the compressed block has not changed in training")


def check_saved(file: Path, model: keras.Model, test: Split, recorded: float) -> np.ndarray:
    """Makes sure that a saved model is what was trained, and as accurate as its result says.

    Args:
        file: the model's.
        model: what was saved in it.
        test: the images it is judged by.
        recorded: its accuracy as recorded.

    Returns:
        Which of the images it gets right, bool, (images,).

    Raises:
        TrainingFailed: if its weights are others, or its accuracy is, but for ties.
    """
    saved = keras.models.load_model(file, compile=False)
    if weights_digest(saved) != weights_digest(model):
        raise TrainingFailed("the saved model's weights are not those that were trained")
    correct = predictions.correct(saved, test.images, test.labels)
    found = correct.mean()
    ties = TIES[keras.config.dtype_policy().compute_dtype]
    if abs(found - recorded) * len(test) > 1 + ties * len(test):
        raise TrainingFailed(
            f"the saved model's accuracy is {found:.4f}, where {recorded:.4f} was recorded"
        )
    return correct
