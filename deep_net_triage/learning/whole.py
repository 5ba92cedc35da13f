"""Training of a whole network on labels, and on what a teacher returns if it has one."""

import dataclasses
import math
from dataclasses import dataclass

import keras

from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import training
from deep_net_triage.learning.batches import Examples
from deep_net_triage.learning.learner import Classifier
from deep_net_triage.learning.optimizers import Pace
from deep_net_triage.learning.taught import Taught
from deep_net_triage.network import convolutions, surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.records.journal import Journal


@dataclass(frozen=True)
class Lesson:
    """How a whole network is trained.

    Attributes:
        rate: the learning rate, at the top of its schedule.
        epochs: how many there are.
        seed: of the order of images, of augmentation and of dropout.
        teacher: a network whose logits are learned besides the labels; None for labels alone.
        blocks: compressed blocks, whose pooled outputs are learned from the teacher as well.
    """

    rate: float
    epochs: int
    seed: int
    teacher: keras.Model | None = None
    blocks: tuple[Block, ...] = ()


def train(
    network: keras.Model, lesson: Lesson, dataset: Dataset, settings: Settings, journal: Journal
) -> None:
    """Trains a network, from where its journal ends, and leaves it at its chosen epoch.

    Args:
        network: its weights are where the training starts.
        lesson: how it is trained.
        dataset: what it is trained on and, after each epoch, tested on.
        settings: optimiser, schedule and augmentation.
        journal: receives each epoch that ends.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    surgery.reseed(network, lesson.seed)
    convolutions.speed_up(network)
    train, test, held_out = dataset.train, dataset.test, dataset.validation
    learner = _learner(network, lesson, settings)
    steps = math.ceil(len(train) / settings.batch_size)
    training.compile_for_labels(learner, settings, Pace(lesson.rate, lesson.epochs, steps))
    fitted = training.fit(
        learner,
        Examples(train.images, train.labels, len(train), settings.augment),
        settings,
        training.Schedule("train", lesson.epochs, lesson.seed),
        journal,
        training.Evaluation(
            (test.images, test.labels), held_out and (held_out.images, held_out.labels)
        ),
    )
    if not settings.settles:
        fitted.restore_best()


def _learner(network: keras.Model, lesson: Lesson, settings: Settings) -> Classifier:
    network.trainable = True
    if lesson.teacher is None:
        return Classifier(network, settings.label_smoothing, settings.clip_norm)
    learned = "both" if lesson.blocks else "logits"
    settings = dataclasses.replace(settings, distill=learned)
    return Taught(network, lesson.teacher, lesson.blocks, settings)
