"""What a planned study will take on this machine: time, memory, disk, and trials at once."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import psutil
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.commands.settings import Settings
from deep_net_triage.forecast import ExpectedTraining, Forecast
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.learning import stopwatch
from deep_net_triage.learning.timed_training import TimedTraining
from deep_net_triage.learning.timings import Timings
from deep_net_triage.network import costs, graphs
from deep_net_triage.network.blocks import survey
from deep_net_triage.records import files
from deep_net_triage.study.estimates import Afterwards, Estimator, Workload, left_afterwards
from deep_net_triage.study.ledger import Ledger
from deep_net_triage.study.plan import Plan, trials_of, untrained
from deep_net_triage.wording import counted, duration, size

# If a study takes longer than this, in seconds, the program says how to shorten it.
LONG = 3600.0
# A study that would take less than this on a slow computer, in seconds, is not timed.
_NOT_WORTH_TIMING = 60.0
# Trials side by side must get so many times as much done as one at a time.
_WORTHWHILE = 1.2
_NUMBER = 4  # bytes of a weight, however precise the computation
# While a student trains, a process holds its weights, their gradients, two moments and the
# best epoch's weights beside the parent's. A checkpoint holds the same but the gradients.
_TRAINING, _CHECKPOINT = 5, 4


@dataclass(frozen=True)
class Budget:
    """What a study will take.

    Attributes:
        trainings: the parent, if it is still to be trained, and the trials to run.
        side_by_side: how many trials run at once.
        memory: bytes that all processes need at most.
        models: bytes of the models that stay on the disk.
        scratch: bytes of files that are removed when the study ends.
        measured: whether steps were timed.
        afterwards: what is trained after the trials.
    """

    trainings: tuple[ExpectedTraining, ...]
    side_by_side: int
    memory: int
    models: int
    scratch: int
    measured: bool
    afterwards: Afterwards = Afterwards()

    @property
    def seconds(self) -> float:
        """What the parent and the trials will take."""
        return _seconds(self.trainings, self.side_by_side)


def _seconds(trainings: Sequence[ExpectedTraining], side_by_side: int) -> float:
    forecast = Forecast()
    forecast.expect(trainings, side_by_side)
    return forecast.left() or 0.0


def make(plan: Plan, ledger: Ledger, timed: TimedTraining | None = None) -> Budget:
    """Returns what a planned study will take; its steps are timed unless it is a small one.

    Args:
        plan: of the study.
        ledger: of its folder; what earlier commands have done is not counted.
        timed: a training of its network that was timed to choose the precision.
    """
    settings, network, pending = plan.settings, plan.network, ledger.pending(plan.trials)
    activations, dataset = _activations(plan), plan.dataset
    tested = len(dataset.test) + len(dataset.validation or ())
    trials = [(plan.name_of(trial), trial) for trial in pending]
    done = {name: ledger.epochs_done(ledger.folder_of(trial)) for name, trial in trials}
    done["parent"] = ledger.epochs_done(ledger.folder / "parent")

    def workload(stores: bool) -> Workload:
        return Workload(settings, len(dataset.train), tested, stores)

    def trainings(steps: Timings, side_by_side: int) -> tuple[ExpectedTraining, ...]:
        stores = _room(settings, activations, side_by_side) is not None
        estimator = Estimator(workload(stores), steps, _slowdown(steps, side_by_side))
        makes_parent = not (ledger.parent or plan.identity.given)
        parent = [estimator.parent()] if makes_parent else []
        begun = [*parent, *estimator.trials(trials)]
        return tuple(training.after(done[training.name]) for training in begun)

    # A step of a compression starts from a network of its own, of which nothing is stored.
    def follows(steps: Timings) -> Afterwards:
        estimator = Estimator(workload(stores=False), steps)
        if pending:
            return estimator.afterwards(plan.blocks)
        return left_afterwards(settings, plan.blocks, estimator)

    steps = stopwatch.assumed(network, plan.blocks, settings)
    at_once = settings.parallel_trials or 1
    assumed = sum(training.seconds for training in trainings(steps, 1))
    is_measured = assumed + follows(steps).seconds > _NOT_WORTH_TIMING
    weights = _NUMBER * costs.parameters(network)
    memory = _memory(network, settings) - (timed.bytes if timed else 0)
    if is_measured:
        steps = stopwatch.measure(network, plan.blocks, dataset, settings, timed)
        at_once = _side_by_side(settings, steps, len(pending), memory)
    checkpoints = 2 * at_once * _CHECKPOINT * weights
    afterwards = follows(steps)
    models = weights * (1 + settings.save_models * len(pending) + afterwards.models)
    in_memory, on_disk = _stored(settings, activations, at_once)
    return Budget(
        trainings=trainings(steps, at_once),
        side_by_side=at_once,
        memory=at_once * memory + in_memory,
        models=models,
        scratch=checkpoints + on_disk,
        measured=is_measured,
        afterwards=afterwards,
    )


def of_quick(plan: Plan, settings: Settings) -> float:
    """Returns the seconds that a planned study would take with settings of a smaller one."""
    train, test = (
        min(len(split), wanted or len(split))
        for split, wanted in (
            (plan.dataset.train, settings.train_examples),
            (plan.dataset.test, settings.test_examples),
        )
    )
    network, dataset, blocks = plan.network, plan.dataset, plan.blocks
    if not plan.identity.given:
        dataset = _stand_in(plan, settings)
        network = untrained(settings, dataset)
        blocks = survey(network, settings.replacement).select(settings.blocks)
    timed = stopwatch.measure(network, blocks, dataset, settings)
    trials = [(str(trial), trial) for trial in trials_of(blocks, settings)]
    at_once = _side_by_side(settings, timed, len(trials), _memory(network, settings))
    workload = Workload(settings, train, test, settings.stores_activations)
    estimator = Estimator(workload, timed, _slowdown(timed, at_once))
    parent = [] if plan.identity.given else [estimator.parent()]
    return _seconds([*parent, *estimator.trials(trials)], at_once)


def _stand_in(plan: Plan, settings: Settings) -> Dataset:
    """Returns a few random images of the size that settings ask for."""
    channels = plan.dataset.input_shape[-1]
    shape = (settings.batch_size, settings.image_size, settings.image_size, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    split = Split(images, np.zeros(len(images), np.int32))
    return dataclasses.replace(plan.dataset, train=split, test=split, validation=None)


def _side_by_side(settings: Settings, timed: Timings, trials: int, memory: int) -> int:
    """Returns how many trials to run at once.

    Args:
        settings: of the command; they may say the number.
        timed: how much slower a step is on a share of the cores.
        trials: how many there are to run.
        memory: bytes that a process needs.
    """
    if settings.parallel_trials is not None:
        return settings.parallel_trials
    gpus = tf.config.list_physical_devices("GPU")
    # A task on a Ray cluster has all cores of its node.
    if gpus or settings.deterministic or settings.replicas or settings.launcher == "ray":
        return 1
    most = min(trials, psutil.virtual_memory().available // memory)
    gains = {count: count / slow for count, slow in timed.slowdowns.items() if count <= most}
    best = max(gains, key=gains.__getitem__, default=1)
    return best if gains.get(best, 0.0) >= _WORTHWHILE else 1


def _slowdown(timed: Timings, side_by_side: int) -> float:
    """Returns how much longer a step takes on a share of the machine than on all of it."""
    if gpus := len(tf.config.list_physical_devices("GPU")):
        return max(1.0, side_by_side / gpus)
    shares = [count for count in timed.slowdowns if count <= side_by_side]
    nearest = max(shares)
    return timed.slowdowns[nearest] * max(1.0, side_by_side / nearest)


def _memory(network: keras.Model, settings: Settings) -> int:
    """Returns the bytes that a process needs to train a network of this size."""
    maps = [
        math.prod(side or 1 for side in tensor.shape[1:])  # images may be of any size
        for layer in network.layers
        for tensor in keras.tree.flatten(layer.output)
    ]
    number = tf.as_dtype(keras.config.dtype_policy().compute_dtype).size
    # Values and gradients of all maps of a batch.
    batch = 2 * number * settings.batch_size * sum(maps)
    weights = _TRAINING * _NUMBER * costs.parameters(network)
    return psutil.Process().memory_info().rss + weights + batch


def _activations(plan: Plan) -> list[int]:
    """Returns the bytes stored at once for each block: its inputs and, if needed, its targets.

    A block behind preprocessing alone has no stored inputs.
    """
    settings, dataset = plan.settings, plan.dataset
    if not settings.stores_activations:
        return []
    evaluated = len(dataset.test) + len(dataset.validation or ())
    images = len(dataset.train) * (settings.augment_copies or 1) + evaluated

    def row(tensor: keras.KerasTensor) -> int:
        exact = settings.activation_dtype == "exact"
        dtype = tf.as_dtype(tensor.dtype if exact else settings.activation_dtype)
        return math.prod(side or 1 for side in tensor.shape[1:]) * dtype.size

    received = [row(block.received_by(plan.network)) for block in plan.blocks]
    returned = [row(block.returned_by(plan.network)) for block in plan.blocks]
    images_of = plan.network.inputs[0]
    for number, block in enumerate(plan.blocks):
        # Recomputing preprocessing takes less time than reading its stored output.
        if not graphs.cut(plan.network, images_of, block.received_by(plan.network)).weights:
            received[number] = 0
    return [
        images * (r + settings.has_student_teacher_phase * t)
        for r, t in zip(received, returned, strict=True)
    ]


def _stored(settings: Settings, activations: list[int], at_once: int) -> tuple[int, int]:
    """Returns the bytes that stored activations take at most, in memory and on the disk."""
    room = _room(settings, activations, at_once)
    if room == "disk" and _shares(settings, at_once):
        return 0, sum(activations)  # of all blocks
    most = max(activations, default=0)
    return most * (room == "memory"), most * (room == "disk")


def _shares(settings: Settings, at_once: int) -> bool:
    """Returns whether several processes share stored activations, which are files then."""
    return at_once > 1 or settings.launcher == "ray"


def _room(settings: Settings, activations: list[int], at_once: int) -> str | None:
    """Returns where the activations of every block fit, `memory` or `disk`; None if nowhere."""
    if not activations:
        return None
    memory, disk = settings.activation_memory, settings.activation_disk
    scratch = settings.activation_dir or files.nearest(settings.folder)
    memory = psutil.virtual_memory().available // 4 if memory is None else memory
    disk = psutil.disk_usage(str(scratch)).free // 4 if disk is None else disk
    if max(activations) <= memory and not _shares(settings, at_once):
        return "memory"
    return "disk" if max(activations) <= disk else None


def advice(plan: Plan, foreseen: Budget, flag: str, settings: Settings) -> Iterator[str]:
    """Yields what to do about a study that takes long.

    Args:
        plan: of the study.
        foreseen: what it takes.
        flag: makes the study small, unless there are fewer images than it asks for.
        settings: of the small study.
    """
    if not plan.settings.estimate:
        yield "--estimate lists what each part takes"
    wanted = (settings.train_examples, settings.test_examples)
    splits = (plan.dataset.train, plan.dataset.test)
    if any(most and most > len(split) for most, split in zip(wanted, splits, strict=True)):
        return
    quick = of_quick(plan, settings)
    if quick <= foreseen.seconds / 2:
        yield f"{flag} makes it a small study of about {duration(quick)}"


def summary(budget: Budget) -> str:
    """Returns what a study will take, on one line."""
    parents = sum(training.seconds for training in budget.trainings if training.alone)
    trials = [training for training in budget.trainings if not training.alone]
    parts = [f"parent {duration(parents)}"] if parents else []
    at_once = f" ({budget.side_by_side} at once)" if budget.side_by_side > 1 else ""
    parts.append(
        f"{counted(len(trials), 'trial')}{at_once} {duration(budget.seconds - parents)}"
    )
    return (
        f"about {duration(budget.seconds)} on this machine ({machine()}): {', '.join(parts)}; "
        f"{size(budget.memory)} of memory, {size(budget.models + budget.scratch)} of disk"
    )


def details(budget: Budget) -> Iterator[str]:
    """Yields the lines of `--estimate`: each training, then memory and disk."""
    width = max((len(training.name) for training in budget.trainings), default=0)
    for training in budget.trainings:
        yield f"{training.name:{width}}  {duration(training.seconds)}"
    yield f"memory: {size(budget.memory)}"
    yield f"disk: models {size(budget.models)}, temporary files {size(budget.scratch)}"


def machine() -> str:
    """Returns what this machine computes with: `2 cores, no GPU`."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    return f"{counted(devices.cores(), 'core')}, {counted(gpus, 'GPU') if gpus else 'no GPU'}"
