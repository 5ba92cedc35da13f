"""The package as a library: a model's blocks, one of them compressed, all of them triaged."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage.commands import settings
from deep_net_triage.errors import InputError
from deep_net_triage.images import oddities
from deep_net_triage.images.datasets import Dataset, Split
from deep_net_triage.network import blocks, graphs, surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import results
from deep_net_triage.records.results import StudyResults
from deep_net_triage.study import command, parents

# Images and their labels: two arrays, or a tf.data data set of pairs, batched or not.
Examples = tuple[np.ndarray, np.ndarray] | tf.data.Dataset

# Flags that what is given here stands for.
_GIVEN = ("dataset", "image_dir", "class_names", "data_dir", "parent", "parent_weights")
# Flags that start processes of their own, which what is given here does not reach.
_OF_COMMANDS = ("parallel_trials", "launcher", "ray_address")


def find_blocks(model: keras.Model) -> tuple[Block, ...]:
    """Returns the blocks of a model that one convolution each can replace, in its order.

    Args:
        model: Sequential or functional; models within it are looked into.

    Raises:
        InputError: if it has none, or can't be triaged; the message names the layer.
    """
    return blocks.find_blocks(graphs.flat(model))


def compress(
    model: keras.Model, block: Block | str, *, initializer: str = "mean", seed: int = 0
) -> keras.Model:
    """Returns a copy of a model with a block replaced by one convolution, not retrained yet.

    Args:
        model: Sequential or functional.
        block: one that `find_blocks` returns, its name, or `first_layer:last_layer`.
        initializer: `glorot_uniform`, or the `mean` of the block's filters (2.3.3, Eq. 2).
        seed: of the random initialisation.

    Raises:
        InputError: if there is no such block.
    """
    parent = graphs.flat(model)
    if isinstance(block, str):
        (block,) = blocks.select(parent, blocks.find_blocks(parent), (block,))
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
    """Triages the blocks of a trained model, and returns what its study leaves on disk.

    It does what `run_triage.py --parent` does, with the same files: called again it goes on
    where it was interrupted. A trial that failed is a gap in the results.

    Args:
        model: takes images as `train` has them, and returns a number a class.
        train: images, (examples, height, width, channels), uint8 or floating, and their labels,
            (examples,), integers from 0.
        test: the same, for judging.
        name: of the study's folder in `output_dir`.
        class_names: one a label; by default their numbers.
        progress: where a person watches; standard output by default.
        flags: any other flag of the command line, such as `method="cl_mw"` or `epochs=3`.

    Raises:
        InputError: if a flag is wrong, or model and images don't fit together.
    """
    for flag in _GIVEN:
        if flag in flags:
            raise InputError(f"{flag} is no argument: model and images are given")
    for flag in _OF_COMMANDS:
        if flag in flags:
            raise InputError(f"{flag} is no argument: a call runs in its own process")
    splits = [_split(examples) for examples in (train, test)]
    if class_names is None:
        labels = max(int(tf.reduce_max(split.labels)) for split in splits)
        class_names = [str(number) for number in range(max(labels + 1, model.output_shape[-1]))]
    dataset = Dataset(name, *splits, tuple(class_names))
    oddities.refuse(dataset)
    arguments = [f"--{flag}={value}" for flag, value in flags.items()]
    folder = settings.from_command_line([*arguments, f"--dataset={name}"]).folder
    given = folder / "given.keras"
    folder.mkdir(parents=True, exist_ok=True)
    parents.save(graphs.flat(model), given)
    asked = settings.from_command_line([*arguments, f"--dataset={name}", f"--parent={given}"])
    shown = f"deep_net_triage.triage(model, train, test, {', '.join(arguments)})"
    command.run(asked, shown, progress or Progress(), dataset)
    return results.read_study(folder)


def _split(examples: Examples) -> Split:
    if isinstance(examples, tf.data.Dataset):
        images, labels = zip(*examples.as_numpy_iterator(), strict=True)
        join = np.stack if images[0].ndim == 3 else np.concatenate
        examples = join(images), join(labels)
    images, labels = examples
    if np.ndim(images) != 4 or np.shape(labels) != np.shape(images)[:1]:
        raise InputError(
            f"images of shape {np.shape(images)} with labels of shape {np.shape(labels)}; "
            "allowed: (examples, height, width, channels) and (examples,)"
        )
    if not np.all(np.isfinite(images)):
        raise InputError("some pixels are not finite numbers; take those images out")
    return Split(images, labels)
