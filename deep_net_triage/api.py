"""The package as a library: a model's blocks, one of them compressed, all of them triaged."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands import command_line
from deep_net_triage.errors import InputError
from deep_net_triage.images.datasets import Dataset, Split
from deep_net_triage.network import blocks, graphs, surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records.study_results import StudyResults, read_study
from deep_net_triage.study import command, inputs
from deep_net_triage.study.inputs import Inputs

# Images and their labels: two arrays, or a tf.data.Dataset of pairs, batched or not.
Examples = tuple[np.ndarray, np.ndarray] | tf.data.Dataset

# Flags that the arguments of `triage` replace.
_GIVEN = ("dataset", "image_dir", "class_names", "data_dir", "parent", "parent_weights")
# Flags that start other processes, which arguments in memory don't reach.
_OF_COMMANDS = ("parallel_trials", "launcher", "ray_address")


def find_blocks(model: keras.Model, *, replacement: str = "conv") -> tuple[Block, ...]:
    """Returns the blocks of a model that one convolution each can replace, in its order.

    Args:
        model: Sequential or functional; models within it are looked into.
        replacement: of the blocks: `conv`, or `separable` for a SeparableConv2D.

    Raises:
        InputError: if it has none, or can't be triaged; the message names the layer.
    """
    return blocks.find_blocks(graphs.flat(model), replacement)


def compress(
    model: keras.Model,
    block: Block | str,
    *,
    initializer: str = "mean",
    seed: int = 0,
    replacement: str = "conv",
) -> keras.Model:
    """Returns a copy of a model with a block replaced by one convolution, not retrained yet.

    Args:
        model: Sequential or functional.
        block: one that `find_blocks` returns, its name, or `first_layer:last_layer`.
        initializer: `glorot_uniform`, or the `mean` of the block's filters (2.3.3, Eq. 2).
        seed: of the random initialisation.
        replacement: `conv`, or `separable` for a SeparableConv2D; a `Block` has its own.

    Raises:
        InputError: if there is no such block.
    """
    parent = graphs.flat(model)
    if isinstance(block, str):
        found = blocks.find_blocks(parent, replacement)
        (block,) = blocks.select(parent, found, (block,), replacement)
    return surgery.compress(parent, block, initializer=initializer, seed=seed)


def triage(
    model: keras.Model,
    train: Examples,
    test: Examples,
    *,
    name: str = "study",
    class_names: Sequence[str] | None = None,
    progress: Progress | None = None,
    **flags: object,
) -> StudyResults:
    """Triages the blocks of a trained model, and returns the results of its study.

    It does what `run_triage.py --parent` does and leaves the same files: called again it
    continues where it was interrupted. A trial that failed is a gap in the results. The
    caller's dtype policy, determinism and global seed are restored at the end.

    Args:
        model: takes one image, and returns logits or probabilities, one for each class.
        train: images, (examples, height, width, channels), and labels, (examples,), integers
            from 0. Pixels are uint8, other integers from 0 to 255, or floating. Images of
            another size than the model's are resized.
        test: the same, to measure accuracy on.
        name: of the study's folder in `output_dir`.
        class_names: one for each label; by default their numbers.
        progress: shows what happens; on standard output by default.
        flags: any other flag of the command line, such as `method="cl_mw"` or `seeds=(0, 1)`.

    Raises:
        InputError: if a flag is wrong, or model and images don't fit together.
    """
    for flag in _GIVEN:
        if flag in flags:
            raise InputError(f"{flag} is no argument: model and images are given")
    if "list_blocks" in flags:
        raise InputError("list_blocks is no argument: call find_blocks")
    if "estimate" in flags:
        raise InputError("estimate is no argument: every call says what it will take")
    for flag in _OF_COMMANDS:
        if flag in flags:
            raise InputError(f"{flag} is no argument: a call runs in its own process")
    arguments = [f"--{flag}={_typed(value)}" for flag, value in flags.items()]
    here = [f"--dataset={name}", "--parallel_trials=1"]
    parsed = command_line.parse([*arguments, *here], in_memory=True)
    inputs.check(model, "the model")
    splits = [_split(examples, which) for examples, which in ((train, "train"), (test, "test"))]
    if class_names is None:
        labels = max(int(tf.reduce_max(split.labels)) for split in splits)
        class_names = [str(number) for number in range(max(labels + 1, model.output_shape[-1]))]
    dataset = Dataset(name, *splits, tuple(class_names))
    shown = f"deep_net_triage.triage(model, train, test, {', '.join(arguments)})"
    with devices.restored(), progress or Progress() as watched:
        command.run(parsed, shown, watched, Inputs(parsed, dataset, model))
    return read_study(parsed.folder)


def _typed(value: object) -> str:
    """Returns a flag's value as it is typed; lists and tuples are separated by commas."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _split(examples: Examples, which: str) -> Split:
    """Returns images and labels in memory.

    Raises:
        InputError: if they are not images with one label each, or integer pixels are not from 0
            to 255.
    """
    if isinstance(examples, tf.data.Dataset):
        examples = _unbatched(examples, which)
    images, labels = map(np.asarray, examples)
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
        raise InputError(f"{which}: pixels of type {images.dtype}; allowed: uint8 or floating")
    elif images.min() < 0 or images.max() > 255:
        raise InputError(
            f"{which}: pixels from {images.min()} to {images.max()} of type {images.dtype}; "
            "allowed: integers from 0 to 255, or floating numbers as the model takes them"
        )
    return Split(images, labels)


def _unbatched(examples: tf.data.Dataset, which: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(examples.as_numpy_iterator())
    if not pairs or not isinstance(pairs[0], tuple) or len(pairs[0]) != 2:
        raise InputError(f"{which}: a data set of (image, label) pairs is needed, not empty")
    images, labels = zip(*pairs, strict=True)
    join = np.stack if images[0].ndim == 3 else np.concatenate
    return join(images), join(labels)
