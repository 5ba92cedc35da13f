"""The parent of a study: taken from its folder, adopted from a given model, or trained."""

import functools
import time
from collections.abc import Callable
from pathlib import Path

import keras

from deep_net_triage import devices
from deep_net_triage.errors import InputError, TrainingFailed
from deep_net_triage.learning import guards, memory, predictions, training, whole_network
from deep_net_triage.learning.learner import Classifier
from deep_net_triage.network import costs, imagenet
from deep_net_triage.progress import Progress
from deep_net_triage.records import checkpoints, correctness, files, models, results
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Failure, ParentResult
from deep_net_triage.study.earlier_results import EarlierResults
from deep_net_triage.study.identity import Parent
from deep_net_triage.study.outcomes import save_and_check
from deep_net_triage.study.plan import Plan
from deep_net_triage.study.watching import ShownTraining, held


def make(plan: Plan, earlier: EarlierResults, progress: Progress) -> tuple[Parent, str]:
    """Returns the study's parent, made by this process unless another has made it.

    Returns:
        The parent, and in words where it comes from.

    Raises:
        InputError: if another process makes it with other settings, or finished trials turn out
            to be of another parent.
        TrainingFailed: if its training fails.
    """
    ledger = earlier.ledger
    folder = ledger.folder / "parent"
    network = plan.network
    compared = bool(ledger.parent_sha256)
    origin = "kept from an earlier run"
    with held(folder, progress, "parent: waiting for {}, which is making it") as lock:
        if not ledger.parent:
            origin = "made by another process"
            network = _taken_over(plan, earlier, folder) or network
        if not ledger.parent:
            origin = "given" if plan.identity.given else "trained"
            made = _adopted if plan.identity.given else _trained
            with memory.released():
                ledger.use_parent(made(plan, lock.check, progress))
    if not compared:
        earlier.compare_trials(plan.trials)
        earlier.remove()
    size = models.weights_bytes(folder / "model.keras")
    parent = Parent(network, ledger.parent.baseline_accuracy, ledger.parent_sha256, size)
    return parent, origin


def _taken_over(plan: Plan, earlier: EarlierResults, folder: Path) -> keras.Model | None:
    """Returns a parent that another process has made since this command began, if any."""
    ledger = earlier.ledger
    recorded = files.unless_damaged(ledger.recorded_parent)
    if not recorded:
        return None
    differing = plan.identity.parent_differences(recorded, ledger.parent_sha256)
    if differing:
        raise InputError(
            f"another process has made {folder} with other settings "
            f"({'; '.join(differing)}); choose another --output_dir"
        )
    ledger.use_parent(recorded)
    return models.load(folder / "model.keras")


def _trained(plan: Plan, check_lock: Callable[[], None], progress: Progress) -> ParentResult:
    """Trains the parent's network, saves it, and returns its result."""
    started = time.perf_counter()
    settings = plan.settings
    journal = Journal(
        settings.folder / "parent",
        plan.identity.of_parent(),
        ShownTraining(progress, "parent", {"train": settings.parent_epochs}),
        progress.say,
        check_lock,
        settings.overwrite,
    )
    if journal.epochs:
        progress.say(f"parent  resumes after epoch {len(journal.epochs)}")
    if plan.pretrained:
        imagenet.transplant(plan.pretrained, plan.network, plan.dataset.train.images)
    try:
        result = _train(plan, journal)
    except TrainingFailed as failure:
        journal.finish(Failure(journal.settings, str(failure)))
        raise TrainingFailed(f"the parent: {failure}") from failure
    # Not the journal's, which earlier commands have added to.
    progress.ended("parent", time.perf_counter() - started)
    return result


def _train(plan: Plan, journal: Journal) -> ParentResult:
    parent, folder = plan.network, journal.folder
    whole_network.train_parent(parent, plan.dataset, plan.settings, journal)
    curve, _ = save_and_check(
        parent, journal, plan.dataset.test, plan.settings.reports_last_epoch
    )
    result = ParentResult(
        settings=journal.settings,
        baseline_accuracy=curve.chosen_accuracy,
        max_epoch=curve.chosen_epoch,
        final_accuracy=curve.final_accuracy,
        epochs=len(journal.epochs),
        weights_sha256=guards.weights_digest(parent),
        parameters=costs.parameters(parent),
        macs=costs.macs(parent),
        seconds=journal.seconds,
        files=results.digests(folder),
    )
    journal.finish(result)
    return result


def ending(result: ParentResult) -> str | None:
    """Returns when and why a parent's training ended; None if it was not trained here."""
    if result.epochs is None:
        return None
    planned, patience = (result.settings[n] for n in ("parent_epochs", "parent_patience"))
    if result.epochs < planned:
        return (
            f"after epoch {result.epochs} of {planned}: none of the last {patience} was better "
            f"than epoch {result.max_epoch}"
        )
    return f"after all {result.epochs} epochs"


def _adopted(plan: Plan, check_lock: Callable[[], None], progress: Progress) -> ParentResult:
    """Evaluates a given parent, saves it, and returns its result."""
    started = time.perf_counter()
    folder = plan.settings.folder / "parent"
    parent, settings, test = plan.network, plan.settings, plan.dataset.test
    learner = Classifier(parent)
    learner.compile(jit_compile=devices.compile_with_xla())
    report = functools.partial(progress.step, "parent")
    _, accuracy = training.evaluate(
        learner, test.images, test.labels, settings.batch_size, report
    )
    check_lock()
    # This may replace the file that the parent was loaded from; `models.save` does it at once.
    models.save(parent, folder / "model.keras")
    correct = predictions.correct(parent, test.images, test.labels, report)
    correctness.write(folder / results.CORRECT, correct)
    (folder / "epochs.jsonl").unlink(missing_ok=True)
    checkpoints.remove(folder)
    result = ParentResult(
        settings=plan.identity.of_parent(),
        baseline_accuracy=accuracy,
        max_epoch=None,
        final_accuracy=None,
        weights_sha256=guards.weights_digest(parent),
        parameters=costs.parameters(parent),
        macs=costs.macs(parent),
        seconds=time.perf_counter() - started,
        files=results.digests(folder),
    )
    results.write_result(folder, result)
    return result
