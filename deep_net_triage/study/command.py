"""A command from its settings to its exit: images, parent, study."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import keras

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.findings import verdict
from deep_net_triage.images import datasets, fitting, image_folders, oddities
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import tensorboard
from deep_net_triage.network import blocks, descriptions, exports, inventory
from deep_net_triage.progress import Progress
from deep_net_triage.records import results
from deep_net_triage.study import compression, parents
from deep_net_triage.study.study import Study


def run(
    settings: Settings, command: str, progress: Progress, dataset: Dataset | None = None
) -> int:
    """Runs a study from its data to its figures, and returns how many trials failed.

    Args:
        settings: what to run, and where its results go.
        command: what was typed, for the record.
        progress: where a person watches.
        dataset: images as the parent takes them; None to read what the settings name.

    Raises:
        InputError: if something asked for can't be done; nothing was written then.
        TrainingFailed: if the parent's loss is no longer finite.
    """
    started = time.time()
    with _opened(settings, progress, dataset) as study:
        study.begin(command, started)
        study.make_parent()
        study.run_trials()
        return _finish(study, command, started)


def make_parent(
    settings: Settings, command: str, started: float, shared: Path, progress: Progress
) -> list[int]:
    """Begins a study that several processes run, up to its parent.

    Args:
        settings: what to run, and where its results go.
        command: what was typed, for the record.
        started: when, in seconds since 1970.
        shared: the folder where processes keep activations for each other.
        progress: where a person watches.

    Returns:
        The numbers of the trials that are to be run.

    Raises:
        InputError: if something asked for can't be done; nothing was written then.
        TrainingFailed: if the parent's loss is no longer finite.
    """
    with _opened(settings, progress, shared=shared) as study:
        study.begin(command, started)
        study.make_parent()
        return study.unfinished()


def run_trials(
    settings: Settings, shared: Path, numbers: list[int] | None, progress: Progress
) -> None:
    """Runs those trials that no other process takes, until all of them have ended.

    Args:
        settings: what to run, and where its results go.
        shared: the folder where processes keep activations for each other.
        numbers: of the study's trials; None for all.
        progress: where a person watches.
    """
    with _opened(settings, progress, shared=shared) as study:
        study.make_parent()
        study.run_trials(numbers)


def finish(settings: Settings, command: str, started: float, progress: Progress) -> int:
    """Ends a study that several processes have run, and returns how many trials failed."""
    with _opened(settings, progress) as study:
        study.make_parent()
        return _finish(study, command, started)


def list_blocks(settings: Settings, progress: Progress) -> None:
    """Says which blocks a parent has, of those that were asked for, and what is none.

    Raises:
        InputError: if there is no such parent, or it has none.
    """
    with _loaded(settings, progress) as (settings, dataset, given):
        parent = given or parents.untrained(settings, dataset)
        found = blocks.survey(parent)
        chosen = blocks.select(parent, found.blocks, settings.blocks)
        listed = inventory.of_blocks(parent, chosen)
        progress.say(descriptions.text(parent.name, listed, found.refused))


@contextlib.contextmanager
def _opened(
    settings: Settings,
    progress: Progress,
    dataset: Dataset | None = None,
    shared: Path | None = None,
) -> Iterator[Study]:
    """Yields a study of which nothing is begun, with the devices it runs on."""
    results.check_writable(settings.folder)
    if settings.tensorboard:
        tensorboard.check_installed()
    with _loaded(settings, progress, dataset) as (settings, dataset, given):
        yield Study(settings, dataset, given, progress, shared)


@contextlib.contextmanager
def _loaded(
    settings: Settings, progress: Progress, dataset: Dataset | None = None
) -> Iterator[tuple[Settings, Dataset, keras.Model | None]]:
    """Yields settings with their precision, images, and the parent where one is given."""
    if settings.deterministic:
        devices.make_deterministic()
    precision = devices.resolve_precision(settings.precision)
    keras.config.set_dtype_policy(precision)
    settings = dataclasses.replace(settings, precision=precision)
    given = parents.load_given(settings.parent) if settings.parent else None
    dataset = dataset or _images(settings, given, progress)
    if settings.validation_fraction:
        dataset = datasets.hold_out(dataset, settings.validation_fraction)
    with devices.strategy(settings.replicas).scope():
        if given:
            given = parents.as_parent(given, settings.parent, dataset)
        yield settings, dataset, given


def _finish(study: Study, command: str, started: float) -> int:
    """Makes what a study ends in from its trials, and returns how many of those failed."""
    compressed = compression.run(study) if study.settings.compress else None
    if study.settings.export:
        _export(compressed or _recommended(study), study)
    study.describe(command, started, time.time() - started)
    study.show()
    return study.failures()


def _recommended(study: Study) -> Path | None:
    """Returns the model of the trial that a study recommends, if any."""
    reached = verdict.reach(results.read_study(study.folder), study.settings.max_drop)
    advised = reached.recommendation
    if advised is None:
        return None
    name = advised.method, advised.block, advised.seed
    return results.trial_folder(study.folder, *name) / "model.keras"


def _export(file: Path | None, study: Study) -> None:
    """Exports a model of a study beside it, and says where."""
    if file is None or not file.is_file():
        study.progress.say("nothing to export: no model stays within --max_drop")
        return
    images = study.dataset.test.images[: exports.IMAGES]
    for made in exports.export(parents.load(file), file.parent, study.settings.export, images):
        study.progress.say(f"exported, and returns what the model does: {made}")


def _images(settings: Settings, given: keras.Model | None, progress: Progress) -> Dataset:
    """Returns the images that were asked for, as a given parent takes them."""
    progress.say(f"{settings.dataset}: reading images")
    image_size = settings.image_size
    taken = given.inputs[0].shape[1:] if given else (None, None, None)
    if None not in taken[:2]:
        image_size = max(taken[:2])
    wanted = {
        "image_size": image_size,
        "train_examples": settings.train_examples,
        "test_examples": settings.test_examples,
    }
    if settings.image_dir:
        dataset = image_folders.load(
            settings.image_dir, class_names=settings.class_names, **wanted
        )
    else:
        dataset = datasets.load(settings.dataset, data_dir=settings.data_dir, **wanted)
    oddities.refuse(dataset)
    for line in oddities.notice(dataset):
        progress.say(line)
    if not given:
        return dataset
    fitted = fitting.fitted(dataset, taken)
    if fitted is not dataset:
        progress.say(f"images are made {' x '.join(map(str, taken))}, as the model takes them")
    return fitted
