"""A command from its settings to its exit code, in the order in which things happen.

Settings -> images and given model -> plan -> parent -> trials -> compression -> results, read
once -> table, verdict, claims, figures and page -> exports.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras

from deep_net_triage.commands.settings import Settings
from deep_net_triage.devices import Share
from deep_net_triage.errors import InputError
from deep_net_triage.findings import presentation, rivals
from deep_net_triage.images import splits
from deep_net_triage.learning import guards, memory, tensorboard
from deep_net_triage.learning.timed_training import TimedTraining
from deep_net_triage.progress import Progress
from deep_net_triage.records import files, leftovers, locks, provenance, study_results
from deep_net_triage.study import (
    alternative_networks,
    budget,
    compression,
    exporting,
    growing_page,
    inputs,
    parents,
    precision_choice,
    student_latencies,
    unseen,
)
from deep_net_triage.study.earlier_results import EarlierResults
from deep_net_triage.study.identity import Identity, Parent
from deep_net_triage.study.ledger import Ledger
from deep_net_triage.study.plan import Plan, make_plan
from deep_net_triage.study.study import Study

# Each trial to run, by its number: when its earlier failure was recorded, in nanoseconds; None
# without one.
Work = dict[int, int | None]
# A flag that makes a study small, and the settings with it.
Quick = tuple[str, Settings]
# Starts a number of processes. Its context is a function that runs trials in them to their end.
StartWorkers = Callable[[int], contextlib.AbstractContextManager[Callable[[Work], None]]]


@dataclass(frozen=True)
class Opened:
    """A planned study, and what its folder holds.

    Attributes:
        plan: what the command will do.
        earlier: what is in the study's folder.
        progress: shows messages, and how far the work has come.
        quick: how to make the study a small one; None for no advice.
        measures_precision: whether the precision is still to be measured, unless another
            process has done so; until then the plan is one for float32.
    """

    plan: Plan
    earlier: EarlierResults
    progress: Progress
    measures_precision: bool
    quick: Quick | None = None

    @property
    def ledger(self) -> Ledger:
        """The ledger of the study's folder."""
        return self.earlier.ledger


def run(
    settings: Settings,
    typed: str,
    progress: Progress,
    given: inputs.Inputs | None = None,
    start_workers: StartWorkers | None = None,
    quick: Quick | None = None,
) -> int:
    """Runs a study from its data to its figures, and returns how many trials failed.

    Args:
        settings: what to run, and where its results go.
        typed: the command line, for the record.
        progress: shows messages, and how far the work has come.
        given: images and parent in memory; None to read what the settings name.
        start_workers: starts processes for trials side by side; None to run all of them here.
        quick: how to make the study a small one, for advice on a long one.

    Raises:
        InputError: if the command can't be run; nothing has been written then.
        TrainingFailed: if the parent's training fails.
        ExportFailed: if an export can't be made.
    """
    started = time.time()
    with _opened(settings, progress, given, quick=quick) as opened:
        opened, side_by_side = _begin(opened, typed, started)
        if start_workers and side_by_side > 1:
            with start_workers(side_by_side) as run_trials_side_by_side:
                parent = _parent(opened)
                run_trials_side_by_side(_work(opened))
        else:
            parent = _parent(opened)
            study = Study(opened.plan, parent, opened.ledger, progress)
            study.run(opened.plan.trials, presentation.present_unfinished)
        failed, export = _finish(opened, parent, typed, started)
    exporting.export(export, opened.plan, progress)
    return failed


def estimate(settings: Settings, progress: Progress, quick: Quick | None) -> None:
    """Prints what a study would take on this machine, and writes nothing.

    Raises:
        InputError: if the study can't be run.
    """
    with _opened(settings, progress, quick=quick) as opened, memory.released():
        timed = None
        if opened.measures_precision:
            opened, timed = _with_precision(opened)
        opened.ledger.remember_failures(opened.plan.trials)
        foreseen = budget.make(opened.plan, opened.ledger, timed)
        for line in budget.details(foreseen):
            progress.say(line)
        _say(foreseen, opened)


def make_parent(settings: Settings, typed: str, started: float, progress: Progress) -> Work:
    """Begins a study that several processes run, makes its parent, and returns its trials.

    Args:
        settings: what to run, and where its results go.
        typed: the command line, for the record.
        started: when, in seconds since 1970.
        progress: shows messages, and how far the work has come.

    Raises:
        InputError: if the command can't be run; nothing has been written then.
        TrainingFailed: if the parent's training fails.
    """
    with _opened(settings, progress) as opened:
        opened, _ = _begin(opened, typed, started)
        _parent(opened)
        return _work(opened)


def run_trials(
    settings: Settings,
    shared: Path,
    work: Work,
    only: int | None,
    share: Share,
    progress: Progress,
) -> None:
    """Runs the trials that no other process takes, until all of them have ended.

    Args:
        settings: what to run, and where its results go.
        shared: the folder where processes share activations.
        work: as `make_parent` returned it.
        only: the number of the one trial to run; None for all.
        share: which of the processes this is.
        progress: shows messages, and how far the work has come.
    """
    with _opened(settings, progress, verifies=False) as opened:
        plan, ledger = opened.plan, opened.ledger
        ledger.earlier_failures = {
            ledger.folder_of(plan.trials[number]): failed_at
            for number, failed_at in work.items()
            if failed_at is not None
        }
        parent, _ = parents.make(plan, opened.earlier, progress)
        study = Study(plan, parent, ledger, progress, shared, share)
        trials = [plan.trials[n] for n in (work if only is None else [only])]
        study.run(trials, presentation.present_unfinished)


def finish(settings: Settings, typed: str, started: float, progress: Progress) -> int:
    """Ends a study that several processes have run, and returns how many trials failed."""
    with _opened(settings, progress, verifies=False) as opened:
        parent, _ = parents.make(opened.plan, opened.earlier, progress)
        failed, export = _finish(opened, parent, typed, started)
    exporting.export(export, opened.plan, progress)
    return failed


@contextlib.contextmanager
def _opened(
    settings: Settings,
    progress: Progress,
    given: inputs.Inputs | None = None,
    verifies: bool = True,
    quick: Quick | None = None,
) -> Iterator[Opened]:
    """Yields a planned study, with its devices in use."""
    files.check_writable(settings.folder)
    if settings.tensorboard:
        tensorboard.check_installed()
    settings = precision_choice.as_recorded(settings)
    is_undecided = precision_choice.is_undecided(settings)
    with inputs.loaded(settings, progress, given) as read:
        settings, dataset, model = read.settings, read.dataset, read.model
        if settings.compress and settings.validation_fraction and model and verifies:
            unseen.check(model, dataset, functools.partial(progress.step, "parent"))
        if is_undecided and not model:
            # Another command may have begun the study while this one read the images.
            settings = precision_choice.recorded_meanwhile(settings)
        digest = splits.digest(dataset)
        source = "a model in memory" if given else settings.parent and str(settings.parent)
        identity = Identity(settings, len(dataset.train), len(dataset.test), digest, source)
        sha256 = guards.weights_digest(model) if model else None
        in_folder = EarlierResults(Ledger(identity, sha256, progress.say, verifies))
        plan = make_plan(settings, dataset, model, in_folder)
        measures = is_undecided and not (model or in_folder.ledger.parent)
        yield Opened(plan, in_folder, progress, measures, quick)


def _begin(opened: Opened, typed: str, started: float) -> tuple[Opened, int]:
    """Writes the first of the study's files, and says what the study will take.

    Returns:
        The study, planned anew if its precision has been measured, and how many trials to run
        at once.
    """
    folder, progress = opened.ledger.folder, opened.progress
    folder.mkdir(parents=True, exist_ok=True)
    leftovers.remove(folder, opened.plan.settings.activation_dir)
    with memory.released():
        opened, foreseen = _foresee(opened, typed, started)
    progress.expect(foreseen.trainings, foreseen.side_by_side, foreseen.afterwards.seconds)
    with locks.waiting(folder / "study.lock"):
        _record(opened, typed, started)
    return opened, foreseen.side_by_side


def _foresee(opened: Opened, typed: str, started: float) -> tuple[Opened, budget.Budget]:
    """Settles a study's precision, removes outdated results, and returns study and budget."""
    timed = None
    if opened.measures_precision:
        with locks.waiting(opened.ledger.folder / "study.lock"):
            opened, timed = _with_precision(opened)
            _record(opened, typed, started)
    opened.earlier.remove()
    opened.ledger.remember_failures(opened.plan.trials)
    foreseen = budget.make(opened.plan, opened.ledger, timed)
    if foreseen.measured:
        _say(foreseen, opened)
    return opened, foreseen


def _parent(opened: Opened) -> Parent:
    """Returns the study's parent, and says what earlier runs have finished."""
    plan, ledger, say = opened.plan, opened.ledger, opened.progress.say
    parent, origin = parents.make(plan, opened.earlier, opened.progress)
    say(f"parent: accuracy {parent.baseline_accuracy:.4f}, the baseline ({origin})")
    for trial in plan.trials:
        if ledger.is_finished(trial):
            say(f"{plan.name_of(trial)}  is already finished")
    return parent


def _say(foreseen: budget.Budget, opened: Opened) -> None:
    """Prints what a study will take and, if that is long, how to make it short."""
    opened.progress.say(budget.summary(foreseen))
    if later := str(foreseen.afterwards):
        opened.progress.say(later)
    if opened.quick and foreseen.seconds > budget.LONG:
        for line in budget.advice(opened.plan, foreseen, *opened.quick):
            opened.progress.say(line)


def _work(opened: Opened) -> Work:
    """Returns the trials to run, each with its earlier failure."""
    ledger, trials = opened.ledger, opened.plan.trials
    return {
        trials.index(trial): ledger.earlier_failures.get(ledger.folder_of(trial))
        for trial in ledger.pending(trials)
    }


def _with_precision(opened: Opened) -> tuple[Opened, TimedTraining | None]:
    """Returns a study planned for the precision that it will have.

    If the precision was measured, the training that was timed is returned as well.
    """
    plan, ledger = opened.plan, opened.ledger
    precision, timed = precision_choice.choose(plan, opened.progress)
    if precision == plan.settings.precision:
        return opened, timed
    keras.config.set_dtype_policy(precision)
    settings = dataclasses.replace(plan.settings, precision=precision)
    identity = dataclasses.replace(plan.identity, settings=settings)
    earlier = EarlierResults(Ledger(identity, None, ledger.say, ledger.verifies))
    planned = make_plan(settings, plan.dataset, None, earlier)
    measured = {"plan": planned, "earlier": earlier, "measures_precision": False}
    return dataclasses.replace(opened, **measured), timed


def _record(opened: Opened, typed: str, started: float, seconds: float | None = None) -> None:
    """Writes `study.json`; the caller holds its lock. `seconds` is given once all has ended."""
    ledger = opened.ledger
    file = ledger.folder / "study.json"
    command = provenance.this_command(typed, started, seconds)
    ran = {result.settings["block"] for result in ledger.trials().values()}
    named = [block for block in provenance.blocks_of(file) if block.name in ran]
    ended = ledger.parent and parents.ending(ledger.parent)
    provenance.write(file, opened.plan.described(command, named, ended), ledger.say)


def _finish(
    opened: Opened, parent: Parent, typed: str, started: float
) -> tuple[int, Path | None]:
    """Does all that follows the trials; returns how many failed, and the model to export."""
    plan, ledger, progress = opened.plan, opened.ledger, opened.progress
    settings, compressed, refusal = plan.settings, None, None
    page = functools.partial(growing_page.grow, plan.trials_of_all_jobs, ledger, progress.say)
    student_latencies.measure(plan, parent, ledger, progress)
    try:
        if settings.compress:
            begins = functools.partial(page, presentation.present_unfinished)
            compressed = compression.run(plan, parent, progress, begins)
        if settings.alternatives:
            begins = functools.partial(page, presentation.present_alternatives)
            alternative_networks.run(plan, parent, progress, begins)
    except InputError as error:  # the trials are presented nevertheless
        refusal = error
    progress.expect([])  # what followed the trials may have taken less than was foreseen
    # Under a lock, because another process may be making the same figures.
    with locks.waiting(ledger.folder / "study.lock"):
        _record(opened, typed, started, time.time() - started)
        study = study_results.read_study(ledger.folder)
        smaller = rivals.read(study)
        reached = presentation.present(
            study, parent.model, plan.blocks, settings.max_drop, progress, smaller
        )
    if ledger.pending(plan.trials_of_all_jobs):  # other jobs of an array still run
        page(presentation.present_unfinished)
    if refusal:
        raise refusal
    export = settings.export and exporting.chosen(ledger.folder, compressed, smaller, reached)
    if settings.export and not export:
        progress.say(f"Nothing is exported. {reached.no_recommendation}")
    return len(ledger.failed(plan.trials)), export or None
