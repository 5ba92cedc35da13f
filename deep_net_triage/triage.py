"""The study of a data set: every (block, method, seed) once, each finished trial kept.

What happens to what is on disk already:

1. A parent with other settings than asked for stops the study; `--overwrite` replaces it, and
   removes every trial with it.
2. A finished trial in the folder, asked for or not, with other settings stops the study, so
   that no table mixes them; `--overwrite` removes those trials, and no others.
3. A finished parent or trial with equal settings is kept and not run again.
4. Whatever did not finish, or failed, starts afresh.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import keras
from matplotlib.figure import Figure

from deep_net_triage import (
    blocks,
    costs,
    datasets,
    devices,
    imagenet,
    initializers,
    memory,
    parents,
    plots,
    provenance,
    results,
    surgery,
    tables,
    training,
)
from deep_net_triage.blocks import Block
from deep_net_triage.datasets import Dataset
from deep_net_triage.errors import InputError, TrainingFailed
from deep_net_triage.identity import Identity
from deep_net_triage.methods import METHODS
from deep_net_triage.progress import Progress, duration
from deep_net_triage.settings import Settings


@dataclass(frozen=True)
class Trial:
    """One (method, block, seed)."""

    method: str
    block: Block
    seed: int

    def __str__(self) -> str:
        """How progress lines name it."""
        return f"{self.block.name} {self.method} seed {self.seed}"


def run(settings: Settings, command: str, progress: Progress) -> int:
    """Runs a study from its data to its figures, and returns how many trials failed.

    Args:
        settings: what to run, and where its results go.
        command: what was typed, for the record.
        progress: where a person watches.

    Raises:
        InputError: if something asked for can't be done; nothing was written then.
        TrainingFailed: if the parent's loss is no longer finite.
    """
    started = time.time()
    results.check_writable(settings.folder)
    progress.say(f"{settings.dataset}: reading images")
    dataset = datasets.load(
        settings.dataset,
        image_size=settings.image_size,
        data_dir=settings.data_dir,
        train_examples=settings.train_examples,
        test_examples=settings.test_examples,
    )
    strategy = devices.strategy()
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise InputError(
            f"--batch_size={settings.batch_size} must be a multiple of the "
            f"{strategy.num_replicas_in_sync} GPUs that share each batch"
        )
    with strategy.scope():
        study = Study(settings, dataset, progress)
        study.begin(command, started)
        study.make_parent()
        failed = study.run_trials()
        study.show()
    study.describe(command, started, time.time() - started)
    return failed


class Study:
    """The trials of one command on one data set, and the parent they share.

    Args:
        settings: what was asked for.
        dataset: its images.
        progress: where a person watches.

    Raises:
        InputError: if the given parent, the data and the asked blocks don't fit together, the
            weights to start from can't be had, or what is on disk refuses it by the rules.
    """

    def __init__(self, settings: Settings, dataset: Dataset, progress: Progress) -> None:
        self.settings = settings
        self.dataset = dataset
        self.progress = progress
        self.folder = settings.folder
        self.identity = Identity(settings, len(dataset.train), len(dataset.test))
        given = parents.load_given(settings.parent, dataset) if settings.parent else None
        self.digest = parents.weights_digest(given) if given else None
        self.parent_result: dict[str, object] | None = None
        self.outdated: list[Path] = []
        # The order matters: what costs much is not begun before what may refuse it.
        self._compare_parent()
        self._compare_trials()
        self.parent = self._model(given)
        self.blocks = blocks.select(blocks.find_blocks(self.parent), settings.blocks)
        averaged = any(METHODS[name].initializer == "mean" for name in settings.methods)
        for block in self.blocks if averaged and settings.mean_over == "channel" else ():
            initializers.check_channels(self.parent, block)
        self.pretrained = None
        if settings.parent_weights != "none" and not self.parent_result:
            self.pretrained = imagenet.load_source(settings.parent_weights, settings.image_size)
        self.trials = [
            Trial(method, block, seed)
            for block in self.blocks
            for method in settings.methods
            for seed in settings.seeds
        ]

    def begin(self, command: str, started: float) -> None:
        """Removes what `--overwrite` replaces, and writes the first of the study's files."""
        for path in self.outdated:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if self.outdated:
            results.write_table(self.folder)
        self.describe(command, started)

    def describe(self, command: str, started: float, seconds: float | None = None) -> None:
        """Writes `study.json`, with `seconds` once the command has ended."""
        description = {
            "dataset": self.dataset.name,
            "settings": self.identity.of_study(),
            "classes": len(self.dataset.class_names),
        }
        run = {"command": command, "started": started, "seconds": seconds}
        provenance.write(self.folder / "study.json", description, run)

    def make_parent(self) -> None:
        """Trains the parent, or keeps the given one, unless an earlier run has."""
        origin = "kept from an earlier run"
        if not self.parent_result:
            origin = "given" if self.settings.parent else "trained"
            with memory.released():
                self.parent_result = self._new_parent(self.folder / "parent")
                self.parent = parents.uncompiled(self.parent)
            self.pretrained = None
            self.digest = self.parent_result["weights_sha256"]
        baseline = self.parent_result["baseline_accuracy"]
        self.progress.say(f"parent: accuracy {baseline:.4f}, the baseline ({origin})")

    def run_trials(self) -> int:
        """Runs every trial that is not finished yet, and returns how many failed."""
        failed = 0
        for number, trial in enumerate(self.trials, start=1):
            self.progress.expect(self._epochs_of(self.trials[number - 1 :]))
            name = f"[{number}/{len(self.trials)}] {trial}"
            if self._is_finished(trial):
                self.progress.say(f"{name}  finished in an earlier run")
                continue
            with memory.released():
                result = self._run_trial(trial, name)
            results.write_table(self.folder)
            failed += result["status"] == "failed"
        results.write_table(self.folder)
        return failed

    def show(self) -> None:
        """Makes the figures, and prints the table and where everything is."""
        study = results.read_study(self.folder)
        block = blocks.largest(self.blocks)
        student = surgery.compress(self.parent, block, initializer="glorot_uniform", seed=0)
        self._save_figure("structure", plots.structure(self.parent, student, block))
        if study.rows:
            self._save_figure("accuracy", plots.accuracy([study]))
            self._save_figure("convergence", plots.convergence([study]))
        self.progress.say(f"\n{tables.table(study)}\n")
        self.progress.say(f"results.csv, figures, models and learning curves: {self.folder}")

    def _compare_parent(self) -> None:
        """Takes the kept parent over, or marks it as outdated, by rules 1 and 3."""
        folder = self.folder / "parent"
        recorded = results.read_result(folder)
        if not recorded or recorded["status"] != "finished":
            return
        if not (folder / "model.keras").is_file():
            return
        differing = self.identity.parent_differences(recorded, self.digest)
        if differing:
            # Not the model itself: it may be the one that is given.
            files = [folder / "result.json", folder / "epochs.jsonl"]
            self._refuse_or_replace("a parent", differing, [*files, self.folder / "trials"])
        else:
            self.parent_result = recorded
            self.digest = recorded["weights_sha256"]

    def _compare_trials(self) -> None:
        """Marks finished trials with other settings as outdated, by rule 2."""
        if self.folder / "trials" in self.outdated:
            return
        differing = {}
        for folder, result in results.read_trials(self.folder).items():
            if result["status"] == "finished":
                differing[folder] = self.identity.trial_differences(result, self.digest)
        outdated = [folder for folder in differing if differing[folder]]
        if outdated:
            what = f"{len(outdated)} finished trials"
            self._refuse_or_replace(what, differing[outdated[0]], outdated)

    def _refuse_or_replace(self, what: str, differing: list[str], paths: list[Path]) -> None:
        if not self.settings.overwrite:
            raise InputError(
                f"{self.folder} holds {what} with other settings ({'; '.join(differing)}); "
                "choose another --output_dir, or --overwrite to replace what differs"
            )
        self.progress.say(f"replacing {what} with other settings ({'; '.join(differing)})")
        self.outdated += paths

    def _model(self, given: keras.Model | None) -> keras.Model:
        """Returns the parent as it stands before this run trains it."""
        if self.parent_result:
            return parents.load(self.folder / "parent" / "model.keras")
        return given or parents.untrained(self.settings, self.dataset)

    def _new_parent(self, folder: Path) -> dict[str, object]:
        determining = self.identity.of_parent()
        if self.settings.parent:
            return parents.adopt(self.parent, self.settings, self.dataset, folder, determining)
        self.progress.expect(self.settings.parent_epochs + self._epochs_of(self.trials))
        report = results.start_afresh(folder)

        def record(line: training.Record) -> None:
            report(line)
            self.progress.epoch("parent", line, self.settings.parent_epochs)

        return parents.train(
            self.parent,
            self.settings,
            self.dataset,
            folder,
            determining,
            self.pretrained,
            record,
        )

    def _run_trial(self, trial: Trial, name: str) -> dict[str, object]:
        """Trains one student, leaves its folder finished or failed, and returns its result."""
        started = time.perf_counter()
        folder = self._folder_of(trial)
        report = results.start_afresh(folder)
        of = {"train": self.settings.epochs, "distill": self.settings.distill_epochs}

        def record(line: training.Record) -> None:
            report(line)
            self.progress.epoch(name, line, of[line["phase"]])

        names = (trial.method, trial.block.name, trial.seed)
        determining = self.identity.of_trial(*names, self.digest)
        result = {"status": "failed", "reason": None, "settings": determining}
        try:
            trained = training.train_student(
                self.parent,
                trial.block,
                trial.method,
                trial.seed,
                self.dataset,
                self.settings,
                record,
            )
        except TrainingFailed as failure:
            result["reason"] = str(failure)
            self.progress.say(f"{name}  failed: {failure}")
        else:
            if self.settings.save_models:
                parents.save(trained.model, folder / "model.keras")
            row = self._row(trial, trained, results.read_epochs(folder))
            row["seconds"] = time.perf_counter() - started
            result |= {"status": "finished", "row": row}
            self.progress.say(
                f"{name}  max {row['max_accuracy']:.4f} ({0 - row['accuracy_drop']:+.4f}), "
                f"99 % at epoch {row['epochs_to_99']}, {duration(row['seconds'])}"
            )
        results.write_json(folder / "result.json", result)
        return result

    def _row(
        self, trial: Trial, trained: training.Trained, epochs: list[training.Record]
    ) -> dict[str, object]:
        """Returns a trial's line of `results.csv`, its time apart."""
        baseline = self.parent_result["baseline_accuracy"]
        summary = results.summarize(epochs)
        return {
            "dataset": self.dataset.name,
            "method": trial.method,
            "block": trial.block.name,
            "seed": trial.seed,
            "baseline_accuracy": baseline,
            "initial_accuracy": trained.initial_accuracy,
            "distilled_accuracy": trained.distilled_accuracy,
            **summary,
            "distill_epochs": sum(record["phase"] == "distill" for record in epochs),
            "accuracy_drop": round(baseline - summary["max_accuracy"], 12),
            "parent_parameters": costs.parameters(self.parent),
            "parameters": costs.parameters(trained.model),
            "parent_macs": costs.macs(self.parent),
            "macs": costs.macs(trained.model),
        }

    def _folder_of(self, trial: Trial) -> Path:
        return results.trial_folder(self.folder, trial.method, trial.block.name, trial.seed)

    def _is_finished(self, trial: Trial) -> bool:
        """Says so of a finished trial; its settings were found equal when the study began."""
        result = results.read_result(self._folder_of(trial))
        return result is not None and result["status"] == "finished"

    def _epochs_of(self, trials: list[Trial]) -> int:
        """Counts the epochs of those trials that are still to be run."""
        return sum(
            self.settings.epochs + METHODS[trial.method].distil * self.settings.distill_epochs
            for trial in trials
            if not self._is_finished(trial)
        )

    def _save_figure(self, name: str, figure: Figure) -> None:
        with results.replacing(self.folder / "figures" / f"{name}.png") as unfinished:
            figure.savefig(unfinished, dpi=plots.DPI)
