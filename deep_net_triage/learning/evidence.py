"""Evidence about a block that needs no training.

Two accuracies of the parent tell what the block contributes: with the block's kernels drawn
anew, and with the block bypassed. Linear CKA tells how similar the output of a trained
replacement is to the block's.
"""

import math

import keras
import numpy as np

from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import predictions
from deep_net_triage.learning.batches import Rows
from deep_net_triage.learning.sources import Source
from deep_net_triage.network import graphs, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.network.graphs import by_name

# More images make the estimate more exact; its cost grows with their square.
IMAGES_COMPARED = 512
# In float64, of all those images: 256 MiB.
_FEATURES_AT_ONCE = 2**16


def accuracies(
    parent: keras.Model, block: Block, dataset: Dataset, source: Source
) -> dict[str, float | None]:
    """Returns the parent's accuracy with a block's kernels drawn anew, and without the block.

    Args:
        parent: read, never changed.
        block: one of its blocks.
        dataset: its test labels are read.
        source: the test images, or what the parent computes from them before the block.

    Returns:
        Accuracies, 0..1: `reinitialized_accuracy`, with the block's kernels drawn anew and its
        batch norms untrained; `bypassed_accuracy`, with the block's input as its output, None
        if their shapes differ.
    """
    models = {
        "reinitialized_accuracy": _with_reinitialized(parent, block),
        "bypassed_accuracy": surgery.bypass(parent, block),
    }
    accuracy: dict[str, float | None] = {}
    for name, model in models.items():
        if model is None:
            accuracy[name] = None
        else:
            rest = graphs.cut(model, source.place(model), model.outputs[0])
            correct = predictions.correct(rest, source.test, dataset.test.labels)
            accuracy[name] = float(correct.mean())
    return accuracy


def similarity(
    parent: keras.Model, student: keras.Model, block: Block, source: Source
) -> float | None:
    """Returns the linear CKA of what a block and its replacement return for the same input.

    It is 1 for outputs that are equal up to rotation and scale, and 0 for unrelated ones. Both
    receive what the parent computes, whatever the student's layers before the block do by now,
    and what they return is pooled.

    Args:
        parent: the uncompressed network.
        student: with the block compressed.
        block: the compressed block.
        source: its test rows are compared; if there are more than `IMAGES_COMPARED`, every
            second, third, ... of them.

    Returns:
        The similarity; None with fewer than four images.
    """
    # Not the first rows: the images of a folder are sorted by class.
    rows = source.test[:: math.ceil(len(source.test) / IMAGES_COMPARED)]
    if len(rows) < 4:
        return None
    # One at a time: what the first block of VGG16 returns at 224 pixels takes 1.6 GB.
    before = graphs.cut(parent, source.place(parent), block.received_by(parent))
    grams = [
        _hollow_gram(_returned(before, surgery.segment(model, block), rows))
        for model in (parent, student)
    ]
    return _alignment(*grams)


def _alignment(*grams: np.ndarray) -> float:
    """Returns the linear centered kernel alignment of two sets of vectors.

    It uses the unbiased estimate of HSIC (Song et al. 2012, Eq. 5). Here features usually
    outnumber images, and the biased estimate is then close to 1 for unrelated vectors.

    Args:
        grams: the Gram matrix of each set, (images, images), for four images at least, as
            `_hollow_gram` returns it.
    """
    both, of_first, of_second = (_hsic(grams[a], grams[b]) for a, b in ((0, 1), (0, 0), (1, 1)))
    scale = np.sqrt(of_first * of_second)
    return float(both / scale) if scale > 0 else 0.0


def _returned(before: keras.Model, segment: keras.Model, rows: Rows) -> np.ndarray:
    part = keras.Model(before.inputs, segment(before.outputs[0]))
    dtype = np.promote_types(np.float32, part.outputs[0].dtype)
    returned = np.empty((len(rows), math.prod(part.output_shape[1:])), dtype)
    filled = 0
    for batch in predictions.outputs(part, rows):
        maps = np.asarray(batch, dtype)
        returned[filled : filled + len(maps)] = maps.reshape(len(maps), -1)
        filled += len(maps)
    return returned


def _hollow_gram(vectors: np.ndarray) -> np.ndarray:
    """Returns the products of all pairs of vectors, float64, with zeros on the diagonal."""
    gram = np.zeros((len(vectors), len(vectors)))
    for first in range(0, vectors.shape[1], _FEATURES_AT_ONCE):
        part = vectors[:, first : first + _FEATURES_AT_ONCE].astype(np.float64)
        gram += part @ part.T
    np.fill_diagonal(gram, 0)
    return gram


def _hsic(first: np.ndarray, second: np.ndarray) -> float:
    count = len(first)
    sums = first.sum(axis=0), second.sum(axis=0)
    return (
        np.sum(first * second)
        + sums[0].sum() * sums[1].sum() / ((count - 1) * (count - 2))
        - 2 / (count - 2) * (sums[0] @ sums[1])
    ) / (count * (count - 3))


def _with_reinitialized(parent: keras.Model, block: Block) -> keras.Model:
    """Returns a copy of the parent with new kernels in a block, the same ones at every call.

    Whatever else a layer draws at random is drawn in the same way.
    """
    last = by_name(parent)[block.layers[-1]].output
    fresh = keras.models.clone_model(graphs.cut(parent, block.received_by(parent), last))
    for number, variable in enumerate(fresh.weights):
        initial = keras.ops.convert_to_numpy(variable)
        if "kernel" in variable.name or initial.min() != initial.max():
            draw = keras.initializers.GlorotUniform(seed=number)
            variable.assign(draw(variable.shape, variable.dtype))
    model = surgery.replace(parent, block, fresh)
    surgery.copy_around(parent, model, block)
    return model
