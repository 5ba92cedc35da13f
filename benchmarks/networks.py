"""The network and data of the benchmarks: full-width VGG16 with batch norm, random images."""

import numpy as np

WIDTH = 1.0
CLASSES = 10


def images(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns random uint8 colour images and their random labels."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return pixels, generator.integers(0, CLASSES, count).astype(np.int32)


def parent(size: int):  # noqa: ANN201, a keras.Model; contestants import Keras later
    """Returns the network, untrained."""
    from deep_net_triage.network import vgg16

    return vgg16.VGG16(
        input_shape=(size, size, 3),
        classes=CLASSES,
        image_size=size,
        mean=[127.5] * 3,
        deviation=[73.9] * 3,
        width=WIDTH,
    ).build()


def dataset(count: int, test_count: int, size: int):  # noqa: ANN201, for the same reason
    """Returns a `Dataset` of random images."""
    from deep_net_triage.images import splits

    train, test = images(count, size), images(test_count, size)
    names = tuple(map(str, range(CLASSES)))
    return splits.Dataset("random", splits.Split(*train), splits.Split(*test), names)


def settings(**flags: object):  # noqa: ANN201, for the same reason
    """Returns the settings of a command with the given flags."""
    from pathlib import Path

    from deep_net_triage.commands import command_line

    typed = [f"--{name}={value}" for name, value in flags.items()]
    return command_line.parse(["--recipe=paper", *typed], Path("no flag files here"))


def classifier(model, images: int, batch: int):  # noqa: ANN001, ANN201, for the same reason
    """Returns the learner of a parent with its optimiser."""
    from deep_net_triage.learning import training
    from deep_net_triage.learning.learner import Classifier
    from deep_net_triage.learning.optimizers import LearningRates

    chosen, learner = settings(batch_size=batch), Classifier(model)
    rates = LearningRates(chosen.learning_rate, chosen.parent_epochs, -(-images // batch))
    training.compile_for_labels(learner, chosen, rates)
    return learner
