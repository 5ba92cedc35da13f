"""The study of a data set: every (block, method, seed) once, each finished trial kept.

Several processes may work on one study, on one machine or on several that share its folder.
The first makes the parent while the others wait; then each takes trials that no other has
taken. What of the folder's content counts is decided in `kept.py`.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from deep_net_triage.commands.settings import Settings
from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.findings import presentation
from deep_net_triage.images.datasets import Dataset
from deep_net_triage.learning import guards, memory
from deep_net_triage.learning import walk as activations
from deep_net_triage.learning.control import Control
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.walk import Route
from deep_net_triage.methods import METHODS
from deep_net_triage.network import blocks, imagenet, initializers, inventory
from deep_net_triage.network.blocks import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import locks, provenance, results
from deep_net_triage.records.journal import Journal, Record
from deep_net_triage.records.locks import Lock
from deep_net_triage.study import ledger as kept
from deep_net_triage.study import parents, trials
from deep_net_triage.study.ledger import Kept
from deep_net_triage.study.plan import Identity
from deep_net_triage.study.trials import Trial


class Study:
    """The trials of one command on one data set, and the parent they share.

    Args:
        settings: what was asked for.
        dataset: its images.
        given: the parent where one was given; None where it is trained here.
        progress: where a person watches.
        shared: the folder where the processes of one command keep activations for each other;
            None where a command is one process.

    Raises:
        InputError: if the parent and the asked blocks don't fit together, the weights to start
            from can't be had, or what is on disk refuses it by the rules.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        given: keras.Model | None,
        progress: Progress,
        shared: Path | None = None,
    ) -> None:
        self.settings = settings
        self.shared = shared
        self.dataset = dataset
        self.progress = progress
        self.folder = settings.folder
        self.identity = Identity(settings, len(dataset.train), len(dataset.test))
        self.digest = guards.weights_digest(given) if given else None
        # The order matters: what costs much is not begun before what may refuse it.
        self.kept = Kept(
            self.folder, self.identity, self.digest, settings.overwrite, progress.say
        )
        self.parent_result = self.kept.parent
        if self.parent_result:
            self.digest = self.parent_result["weights_sha256"]
        self.parent = self._model(given)
        self.found = blocks.survey(self.parent)
        self.blocks = blocks.select(self.parent, self.found.blocks, settings.blocks)
        averaged = any(METHODS[name].initializer == "mean" for name in settings.methods)
        for block in self.blocks if averaged and settings.mean_over == "channel" else ():
            initializers.check_channels(
                block.convolutions_in(self.parent), block.shape.filters
            )
        self.pretrained = None
        if settings.parent_weights != "none" and not self.parent_result:
            self.pretrained = imagenet.load_source(settings.parent_weights, settings.image_size)
        self.trials = trials.of_shard(trials.of_study(self.blocks, settings), settings.shard)
        self._ended_before = {trial: self._written(trial) for trial in self.trials}

    def begin(self, command: str, started: float) -> None:
        """Removes what is to be replaced, and writes the first of the study's files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept.remove_leftovers(self.folder)
        self._replace_outdated()
        self.describe(command, started)

    def describe(self, command: str, started: float, seconds: float | None = None) -> None:
        """Writes `study.json`, with `seconds` once the command has ended."""
        description = {
            "dataset": self.dataset.name,
            "settings": self.identity.of_study(),
            "classes": len(self.dataset.class_names),
            "blocks": [
                dataclasses.asdict(block)
                for block in inventory.of_blocks(self.parent, self._known_blocks())
            ],
            "refused": [dataclasses.asdict(segment) for segment in self.found.refused],
        }
        run = {"command": command, "started": started, "seconds": seconds}
        file = self.folder / "study.json"
        with locks.waiting(self.folder / "study.lock"):
            provenance.write(file, description, run, self.progress.say)

    def _known_blocks(self) -> list[Block]:
        """Returns the blocks that were found, and those that were asked for besides."""
        return list(dict.fromkeys((*self.found.blocks, *self.blocks)))

    def make_parent(self) -> None:
        """Trains the parent, or keeps the given one, unless an earlier run or another has."""
        origin = "kept from an earlier run"
        folder = self.folder / "parent"

        def waits_for(holder: str) -> None:
            self.progress.say(f"parent: waiting for {holder}, which makes it")

        with locks.waiting(results.lock_file(folder), waits_for) as lock:
            if not self.parent_result:
                self._take_over_parent(folder)
            if not self.parent_result:
                origin = "given" if self.settings.parent else "trained"
                with memory.released():
                    self.parent_result = self._new_parent(folder, lock.check)
        self.pretrained = None
        if not self.digest:
            self.digest = self.parent_result["weights_sha256"]
            self.kept.compare_trials(self.digest)
            self._replace_outdated()
        baseline = self.parent_result["baseline_accuracy"]
        self.progress.say(f"parent: accuracy {baseline:.4f}, the baseline ({origin})")

    def unfinished(self) -> list[int]:
        """Returns the numbers of the trials that are to be run."""
        return [n for n, trial in enumerate(self.trials) if not self._has_ended(trial)]

    def run_trials(self, numbers: Sequence[int] | None = None) -> None:
        """Runs trials until all have ended, those that failed before once more.

        What another process has taken is left to it, and looked at again at the end: the other
        may have died.

        Args:
            numbers: of the study's trials; None for all.
        """
        chosen = self.trials if numbers is None else [self.trials[n] for n in numbers]
        pending = chosen
        while pending:
            route = None
            if self.settings.augment == "none":  # else images are never the same twice
                route = activations.route(
                    self.parent, self.dataset, self.settings, self.blocks, self.shared
                )
            for block in (*self.blocks, None):
                of_block = [trial for trial in pending if trial.block == block]
                with memory.released():
                    self._run_block(of_block, route)
            pending = [trial for trial in chosen if not self._has_ended(trial)]
            self._wait_for(pending)
        self._write_table()

    def failures(self) -> int:
        """Returns how many of the trials failed when they were last run."""
        found = [results.read_result(self._folder_of(trial)) for trial in self.trials]
        return sum(result is not None and result["status"] == "failed" for result in found)

    def show(self) -> None:
        """Makes the figures and the page, and prints the table and where everything is."""
        # Under a lock, because another process may be making the same.
        with locks.waiting(self.folder / "study.lock"):
            presentation.present(
                self.folder,
                self.parent,
                self.blocks,
                self.settings.max_drop,
                self.progress,
            )

    def _replace_outdated(self) -> None:
        outdated = self.kept.remove_outdated()
        (self.folder / "trials").mkdir(exist_ok=True)
        if outdated:
            self._write_table()

    def _model(self, given: keras.Model | None) -> keras.Model:
        """Returns the parent as it stands before this run trains it."""
        if self.parent_result:
            return parents.load(self.folder / "parent" / "model.keras")
        return given or parents.untrained(self.settings, self.dataset)

    def _take_over_parent(self, folder: Path) -> None:
        """Takes a parent that another process has made since this one began."""
        recorded = kept.finished(folder)
        if not recorded or not (folder / "model.keras").is_file():
            return
        differing = self.identity.parent_differences(recorded, self.digest)
        if differing:
            raise InputError(
                f"another process has made {folder} with other settings "
                f"({'; '.join(differing)}); choose another --output_dir"
            )
        self.parent_result = recorded
        self.parent = parents.load(folder / "model.keras")

    def _new_parent(self, folder: Path, still_ours: Callable[[], None]) -> dict[str, object]:
        determining = self.identity.of_parent()
        if self.settings.parent:
            return parents.adopt(self.parent, self.settings, self.dataset, folder, determining)
        epochs = self.settings.parent_epochs

        def watch(record: Record) -> None:
            self.progress.epoch("parent", record, epochs)

        journal = Journal(
            folder,
            determining,
            watch,
            self.progress.say,
            still_ours,
            self.settings.overwrite,
        )
        if journal.records:
            self.progress.say(f"parent  goes on after epoch {len(journal.records)}")
        of_trials = sum(trial.epochs(self.settings) for trial in self._unfinished())
        self.progress.expect(epochs - len(journal.records) + of_trials)
        return parents.train(self.parent, self.settings, self.dataset, self.pretrained, journal)

    def _run_block(self, of_block: list[Trial], route: Route | None) -> None:
        """Runs those trials of a block that may be run."""
        retraining = None
        for trial in of_block:
            name = f"[{self.trials.index(trial) + 1}/{len(self.trials)}] {trial}"
            if self._has_ended(trial):
                if self._written(trial) == self._ended_before[trial]:
                    self.progress.say(f"{name}  finished in an earlier run")
                continue
            with Lock(results.lock_file(self._folder_of(trial))) as lock:
                if lock.holder or self._has_ended(trial):
                    if not self.shared:  # by another command
                        self.progress.say(f"{name}  left to {lock.holder or 'another process'}")
                    continue
                unfinished = self._unfinished()
                self.progress.expect(sum(trial.epochs(self.settings) for trial in unfinished))
                retraining = retraining or self._retraining(trial.block, route)
                self._run_trial(trial, retraining, name, lock.check)

    def _wait_for(self, left: list[Trial]) -> None:
        """Returns once one of the trials left to others has ended, or its process has."""
        lock_files = [results.lock_file(self._folder_of(trial)) for trial in left]
        while left and all(map(locks.holder, lock_files)):
            time.sleep(1)

    def _run_trial(
        self,
        trial: Trial,
        retraining: Retraining | Control,
        name: str,
        still_ours: Callable[[], None],
    ) -> None:
        names = (trial.method, trial.block_name, trial.seed)
        trials.run(
            trial,
            retraining,
            self._folder_of(trial),
            self.identity.of_trial(*names, self.digest),
            self.parent_result,
            name,
            self.progress,
            still_ours,
        )
        self._write_table()

    def _write_table(self) -> None:
        # Under a lock, so that a table which misses another process's trial never comes last.
        with locks.waiting(self.folder / "study.lock"):
            results.write_table(self.folder)

    def _retraining(self, block: Block | None, route: Route | None) -> Retraining | Control:
        """Returns the retraining of a block, from what the walk keeps where that helps."""
        if block is None:
            return Control(self.parent, self.dataset, self.settings)
        rows = [METHODS[trial.method] for trial in self._unfinished() if trial.block == block]
        source = activations.from_images(self.dataset)
        if route and any(row.distil or row.updates == "block" for row in rows):
            self.progress.say(f"{block.name}: computing what it receives and returns")
            source = route.to(block)
        retraining = Retraining(self.parent, block, self.dataset, source, self.settings)
        found = retraining.without_training
        self.progress.say(
            f"{block.name}: accuracy with its kernels drawn anew "
            f"{found['reinitialized_accuracy']:.4f}, without it {_shown(found)}"
        )
        return retraining

    def _folder_of(self, trial: Trial) -> Path:
        return results.trial_folder(self.folder, trial.method, trial.block_name, trial.seed)

    def _is_finished(self, trial: Trial) -> bool:
        """Says whether a trial is finished, by this process, an earlier or another one.

        Raises:
            InputError: if another process has finished it with other settings.
        """
        try:
            result = results.read_result(self._folder_of(trial))
        except DamagedFile:
            return False
        if not result or result["status"] != "finished":
            return False
        differing = self.identity.trial_differences(result, self.digest) if self.digest else []
        if differing:
            raise InputError(
                f"another process has run {trial} with other settings "
                f"({'; '.join(differing)}); choose another --output_dir"
            )
        return True

    def _has_ended(self, trial: Trial) -> bool:
        """Says whether a trial is finished, or has failed since this run began."""
        if self._is_finished(trial):
            return True
        written = self._written(trial)
        return written is not None and written != self._ended_before[trial]

    def _written(self, trial: Trial) -> int | None:
        """Returns when the result of a trial was written, in nanoseconds; None without one."""
        try:
            return (self._folder_of(trial) / "result.json").stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def _unfinished(self) -> list[Trial]:
        return [trial for trial in self.trials if not self._is_finished(trial)]


def _shown(found: dict[str, float | None]) -> str:
    accuracy = found["bypassed_accuracy"]
    return "not possible" if accuracy is None else f"{accuracy:.4f}"
