"""What a command will do, decided as a whole before anything is written."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import psutil
import tensorflow as tf

from deep_net_triage.commands.settings import GIB, Settings
from deep_net_triage.errors import InputError
from deep_net_triage.images.splits import Dataset
from deep_net_triage.methods import CONTROL, METHODS
from deep_net_triage.network import (
    blocks,
    costs,
    graphs,
    imagenet,
    initializers,
    inventory,
    vgg16,
)
from deep_net_triage.network.block import Block
from deep_net_triage.network.descriptions import BlockDescription, Refused
from deep_net_triage.records import models
from deep_net_triage.records.provenance import Command, Description
from deep_net_triage.study.earlier_results import EarlierResults
from deep_net_triage.study.identity import Identity, Trial

_COMPARED = 32  # images, by which two models of equal weights are compared


@dataclass(frozen=True)
class Plan:
    """The trials of one command on one data set, and the network that they start from.

    Attributes:
        settings: of the command.
        dataset: its images.
        identity: what determines the parent and each trial.
        network: the parent's, with the weights it has before this command trains it.
        pretrained: a VGG16 whose weights the parent starts from; None for random ones.
        blocks: the chosen ones, in the network's order.
        found: descriptions of all blocks of the network.
        refused: segments that can't be replaced by one convolution.
        trials: of this command or, in an array of jobs, of this job.
    """

    settings: Settings
    dataset: Dataset
    identity: Identity
    network: keras.Model
    pretrained: keras.Model | None
    blocks: tuple[Block, ...]
    found: tuple[BlockDescription, ...]
    refused: tuple[Refused, ...]
    trials: tuple[Trial, ...]

    @property
    def trials_of_all_jobs(self) -> tuple[Trial, ...]:
        """The trials of this command or, in an array of jobs, of all jobs."""
        return trials_of(self.blocks, self.settings)

    def name_of(self, trial: Trial) -> str:
        """Returns a trial's name in progress lines: `[3/30] block1 cl_mw seed 0`."""
        return f"[{self.trials.index(trial) + 1}/{len(self.trials)}] {trial}"

    def described(
        self,
        command: Command,
        earlier: Sequence[BlockDescription],
        parent_ended: str | None,
    ) -> Description:
        """Returns what `study.json` says.

        Args:
            command: this one.
            earlier: blocks that earlier commands named, and that have trials.
            parent_ended: when and why the parent's training ended; None if it has not.
        """
        known = {block.name: block for block in (*earlier, *self.found)}
        place = {name: number for number, name in enumerate(graphs.by_name(self.network))}
        in_order = sorted(known.values(), key=lambda one: (place[one.first], place[one.last]))
        return Description(
            dataset=self.dataset.name,
            settings=self.identity.of_study(),
            classes=len(self.dataset.class_names),
            blocks=tuple(in_order),
            share_layers=inventory.share_layers(self.network, in_order),
            refused=self.refused,
            uncounted=costs.uncounted(self.network),
            near_duplicates=self.dataset.near_duplicates,
            parent_ended=parent_ended,
            commands=(command,),
        )


def make_plan(
    settings: Settings,
    dataset: Dataset,
    given: keras.Model | None,
    earlier: EarlierResults,
) -> Plan:
    """Returns what a command will do; cheap checks come first.

    Args:
        settings: of the command.
        dataset: its images.
        given: the parent, if one is given.
        earlier: the results in the study's folder.

    Raises:
        InputError: if the parent and the chosen blocks don't fit together, the weights to start
            from can't be had, or the results in the folder have other settings.
    """
    ledger = earlier.ledger
    _check_copies(settings, dataset)
    computes_the_same = functools.partial(_computes_the_same, given, dataset.test.images)
    earlier.compare_parent(computes_the_same if given and ledger.verifies else None)
    if ledger.parent:
        network = models.load(ledger.folder / "parent" / "model.keras")
    else:
        network = given or untrained(settings, dataset)
    survey = blocks.survey(network, settings.replacement)
    chosen = survey.select(settings.blocks)
    _check_means(settings, network, chosen)
    _check_frozen(settings, network, chosen)
    pretrained = None
    if settings.parent_weights != "none" and not ledger.parent:
        pretrained = imagenet.load_source(settings.parent_weights, settings.image_size)
    trials = of_shard(trials_of(chosen, settings), settings.shard)
    if ledger.parent_sha256 or not settings.deterministic:
        earlier.compare_trials(trials)
    every = tuple(dict.fromkeys((*survey.blocks, *chosen)))
    return Plan(
        settings=settings,
        dataset=dataset,
        identity=ledger.identity,
        network=network,
        pretrained=pretrained,
        blocks=chosen,
        found=inventory.of_blocks(network, every),
        refused=survey.refused,
        trials=trials,
    )


def _computes_the_same(given: keras.Model, images: tf.Tensor, saved: Path) -> bool:
    """Returns whether a saved model returns for some of the images what a given one does.

    Layers without weights, such as a Rescaling in front, leave no trace in a digest of weights.
    """
    # Images in a folder are sorted by class.
    spread = np.linspace(0, len(images) - 1, min(_COMPARED, len(images))).astype(int)
    batch = np.asarray(tf.gather(images, spread)).astype(given.inputs[0].dtype)
    both = given, models.load(saved)
    ours, theirs = (np.asarray(model(batch, training=False)) for model in both)
    # Processors round differently, and 16-bit networks coarsely.
    room = 0.02 * np.abs(ours).max()
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= room)


def untrained(settings: Settings, dataset: Dataset) -> keras.Model:
    """Returns a VGG16 of the given settings, with random weights.

    Raises:
        InputError: if a channel of the images is constant, so that it can't be normalized.
    """
    keras.utils.set_random_seed(settings.parent_seed)
    mean, deviation = dataset.train.channel_statistics(settings.image_size)
    return vgg16.VGG16(
        input_shape=dataset.input_shape,
        classes=len(dataset.class_names),
        image_size=settings.image_size,
        mean=mean,
        deviation=deviation,
        width=settings.width,
        dropout=settings.dropout,
        batchnorm_momentum=settings.batchnorm_momentum,
    ).build()


def trials_of(chosen: Sequence[Block], settings: Settings) -> tuple[Trial, ...]:
    """Returns the trials of a study, in the network's order; the control comes last."""
    compressing = [
        Trial(method, block, seed)
        for block in chosen
        for method in settings.methods
        for seed in settings.seeds
    ]
    controls = [Trial(CONTROL, None, seed) for seed in settings.seeds if settings.control]
    return (*compressing, *controls)


def of_shard(trials: Sequence[Trial], shard: tuple[int, int] | None) -> tuple[Trial, ...]:
    """Returns a job's part of a study's trials, the same whatever is finished.

    Each block's trials are dealt out to the jobs in turn, beginning one job later than for the
    block before, so that each job gets trials of all kinds.

    Args:
        trials: as `trials_of` returns them.
        shard: the job's number, from 0, and the number of jobs; None for one job.
    """
    if shard is None:
        return tuple(trials)
    index, count = shard
    chosen = []
    for first, block in enumerate(dict.fromkeys(trial.block for trial in trials)):
        of_block = [trial for trial in trials if trial.block == block]
        chosen += [t for turn, t in enumerate(of_block) if (first + turn) % count == index]
    return tuple(chosen)


def _check_copies(settings: Settings, dataset: Dataset) -> None:
    """Makes sure that the fixed draws of all training images fit in memory."""
    if not settings.stores_activations:
        return  # no method reads them
    images = dataset.train.images
    needed = (settings.augment_copies or 0) * math.prod(images.shape) * images.dtype.size
    room = psutil.virtual_memory().available // 2
    if needed > room:
        raise InputError(
            f"--augment_copies={settings.augment_copies} needs {needed / GIB:.1f} GiB for the "
            f"augmented copies of {len(images)} images; allowed: {room / GIB:.1f} GiB, half "
            "of the memory that is free"
        )


def _check_means(settings: Settings, network: keras.Model, chosen: Sequence[Block]) -> None:
    """Makes sure that every chosen block has a mean, if a method starts from it."""
    averaged = any(METHODS[name].initializer == "mean" for name in settings.methods)
    for block in chosen if averaged and settings.mean_over == "channel" else ():
        convolutions, batchnorms = block.convolutions_in(network), block.batchnorms_in(network)
        initializers.check_channels(convolutions, batchnorms, block.shape.filters)


def _check_frozen(settings: Settings, network: keras.Model, chosen: Sequence[Block]) -> None:
    """Makes sure that the layers outside a block stay as they are if it is trained alone."""
    alone = [name for name in settings.methods if METHODS[name].updates == "block"]
    normalized = {
        layer.name
        for layer in network.layers
        if isinstance(layer, keras.layers.SpectralNormalization)
    }
    for block in chosen if alone else ():
        if outside := sorted(normalized.difference(block.layers)):
            allowed = ", ".join(name for name in METHODS if METHODS[name].updates == "model")
            raise InputError(
                f"--method={alone[0]} trains {block.name} alone, but {outside[0]} is a "
                "SpectralNormalization, which changes its weights in training even if frozen; "
                f"allowed: {allowed}"
            )
