"""Training of a whole network on labels, and on what a teacher returns if it has one."""

import dataclasses
import math
from dataclasses import dataclass

import keras

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import training
from deep_net_triage.learning.batches import Examples
from deep_net_triage.learning.knowledge_distillation import KnowledgeDistillation
from deep_net_triage.learning.learner import Classifier
from deep_net_triage.learning.optimizers import LearningRates
from deep_net_triage.network import convolutions, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.records.journal import Journal


@dataclass(frozen=True)
class NetworkTraining:
    """How a whole network is trained.

    Attributes:
        rate: the learning rate, at the top of its schedule.
        epochs: their number.
        seed: of the order of images.
        patience: the training ends after so many epochs without a better one; None to run all
            epochs.
        teacher: a network whose logits are learned besides the labels; None for labels alone.
        blocks: compressed blocks, whose pooled outputs are learned from the teacher as well.
    """

    rate: float
    epochs: int
    seed: int
    patience: int | None = None
    teacher: keras.Model | None = None
    blocks: tuple[Block, ...] = ()


def train_parent(
    parent: keras.Model, dataset: Dataset, settings: Settings, journal: Journal
) -> None:
    """Trains a parent and leaves it with the weights of its chosen epoch.

    Raises:
        TrainingFailed: if a loss is no longer finite.
    """
    keras.utils.set_random_seed(settings.parent_seed)
    train(parent, _of_parent(settings), dataset, settings, journal)


def learner_of_parent(parent: keras.Model, dataset: Dataset, settings: Settings) -> Classifier:
    """Returns a compiled classifier that trains a parent."""
    return _compiled(parent, _of_parent(settings), settings, len(dataset.train))


def _of_parent(settings: Settings) -> NetworkTraining:
    return NetworkTraining(
        settings.learning_rate,
        settings.parent_epochs,
        settings.parent_seed,
        settings.parent_patience,
    )


def train(
    network: keras.Model,
    lesson: NetworkTraining,
    dataset: Dataset,
    settings: Settings,
    journal: Journal,
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
    train, test, held_out = dataset.train, dataset.test, dataset.validation
    fitted = training.fit(
        _compiled(network, lesson, settings, len(train)),
        Examples(train.images, train.labels, len(train), settings.augment),
        settings,
        training.Schedule("train", lesson.epochs, lesson.seed, lesson.patience),
        journal,
        training.Evaluation(
            (test.images, test.labels), held_out and (held_out.images, held_out.labels)
        ),
    )
    if not settings.reports_last_epoch:
        fitted.restore_best()


def _compiled(
    network: keras.Model, lesson: NetworkTraining, settings: Settings, images: int
) -> Classifier:
    """Returns a compiled classifier that trains all layers on so many images per epoch."""
    convolutions.speed_up(network)
    network.trainable = True
    surgery.synchronize(network, devices.replicas() > 1)
    learner = Classifier(network, settings.label_smoothing, settings.clip_norm)
    if lesson.teacher:
        learned = "both" if lesson.blocks else "logits"
        taught = dataclasses.replace(settings, distill=learned)
        learner = KnowledgeDistillation(network, lesson.teacher, lesson.blocks, taught)
    steps = math.ceil(images / settings.batch_size)
    training.compile_for_labels(
        learner, settings, LearningRates(lesson.rate, lesson.epochs, steps)
    )
    return learner
