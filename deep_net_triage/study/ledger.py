"""What a study's folder holds, and what of it a command uses, runs again or replaces.

1. A parent with other settings than this command's stops the study. `--overwrite` replaces it,
   and removes all trials.
2. A finished trial with other settings stops the study, even if this command does not include
   it, so that no table mixes them. `--overwrite` removes such trials, and no others. Either
   removal takes with it what was compressed by their results, and the alternatives to that.
   Interrupted parents and trials are treated as finished ones.
3. A finished parent or trial with equal settings is used as it is.
4. A parent or trial whose files have changed since they were written is damaged, and named. A
   parent is made again. A trial is run again by a command that includes it.
   With `--deterministic` training reproduces the same parent, so that rule 2 is applied to
   trials after that.
5. An unfinished training continues as `journal.py` says. A failed one starts afresh.
6. Nothing is replaced while another process works on it.
"""

import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.records import (
    alternatives,
    checkpoints,
    compressions,
    locks,
    provenance,
    results,
    study_results,
)
from deep_net_triage.records.results import Failure, ParentResult, TrialResult
from deep_net_triage.study.identity import Identity, Trial
from deep_net_triage.wording import counted, listed


class Ledger:
    """The results in a study's folder; each is read once, and again only if its file changes.

    Args:
        identity: what the command's parent and trials depend on.
        parent_sha256: digest of a given parent's weights; None without one.
        say: is told of damaged files.
        verifies: whether files are compared with their digests. The first process of a command
            does that for all of its processes.

    Attributes:
        folder: the study's.
        parent: the result of the study's parent; None until there is one.
        parent_sha256: digest of the parent's weights; None until they are known.
        earlier_failures: by folder, when failures of earlier commands were written. This
            command runs those trials again.
        damaged: by folder, what is wrong with a trial; emptied once the user has been told.
        outdated: files and folders to remove before the study begins; their results don't
            count.
    """

    def __init__(
        self,
        identity: Identity,
        parent_sha256: str | None,
        say: Callable[[str], None],
        verifies: bool = True,
    ) -> None:
        self.identity = identity
        self.folder = identity.settings.folder
        self.parent: ParentResult | None = None
        self.parent_sha256 = parent_sha256
        self.earlier_failures: Mapping[Path, int] = {}
        self.verifies = verifies
        self.say = say
        self.damaged: dict[Path, DamagedFile] = {}
        self.outdated: list[Path] = []
        self._read: dict[Path, tuple[int, TrialResult | Failure | None]] = {}

    def recorded_parent(self) -> ParentResult | None:
        """Returns the result of the parent in the folder, whatever its settings.

        Raises:
            DamagedFile: if a file is not as it was written.
        """
        folder = self.folder / "parent"
        recorded = results.read_parent(folder)
        if not recorded or not (folder / "model.keras").is_file():
            return None
        if self.verifies:
            results.check_files(folder, recorded.files)
        return recorded

    def use_parent(self, result: ParentResult) -> None:
        """Makes a result that of the study's parent."""
        self.parent = result
        self.parent_sha256 = result.weights_sha256

    def folder_of(self, trial: Trial) -> Path:
        """Returns a trial's folder."""
        return results.trial_folder(self.folder, *trial.key)

    def trials(self) -> dict[Path, TrialResult | Failure]:
        """Returns the result of every trial that has ended, by its folder."""
        folders = sorted((self.folder / "trials").glob("*/"))
        ended = {folder: self.result(folder) for folder in folders}
        return {
            folder: result
            for folder, result in ended.items()
            if result and not study_results.is_copy(folder, result)
        }

    def result(self, folder: Path) -> TrialResult | Failure | None:
        """Returns the result in a trial's folder.

        Returns None without one, and if it is damaged or outdated.
        """
        written = _written(folder)
        if written is None or self._is_outdated(folder):
            return None
        if folder not in self._read or self._read[folder][0] != written:
            try:
                self._read[folder] = written, results.read_trial(folder)
            except DamagedFile as damage:
                self.damaged[folder] = damage
                self._read[folder] = written, None
        return self._read[folder][1]

    def epochs_done(self, folder: Path) -> int:
        """Returns how many epochs the interrupted training in a folder has behind it."""
        return 0 if self._is_outdated(folder) else checkpoints.epochs_done(folder)

    def is_finished(self, trial: Trial) -> bool:
        """Returns whether a trial is finished, by this process or another.

        Raises:
            InputError: if another process has finished it with other settings.
        """
        result = self.result(self.folder_of(trial))
        if not isinstance(result, TrialResult):
            return False
        differing = self.parent_sha256 and self.identity.trial_differences(
            result.settings, self.parent_sha256
        )
        if differing:
            raise InputError(
                f"another process has run {trial} with other settings "
                f"({'; '.join(differing)}); choose another --output_dir"
            )
        return True

    def unfinished(self, trials: Iterable[Trial]) -> list[Trial]:
        """Returns the trials that are not finished; failed ones are among them."""
        return [trial for trial in trials if not self.is_finished(trial)]

    def pending(self, trials: Iterable[Trial]) -> list[Trial]:
        """Returns the trials that have neither finished nor failed since the command began."""
        return [
            trial
            for trial in self.unfinished(trials)
            if self._failed_at(trial)
            in (None, self.earlier_failures.get(self.folder_of(trial)))
        ]

    def failed(self, trials: Iterable[Trial]) -> list[Trial]:
        """Returns the trials that have failed, whenever that was."""
        return [trial for trial in trials if self._failed_at(trial) is not None]

    def remember_failures(self, trials: Iterable[Trial]) -> None:
        """Records the current failures as those of earlier commands, to be run again."""
        failed = {
            self.folder_of(trial): self._failed_at(trial) for trial in self.failed(trials)
        }
        self.earlier_failures = failed

    def write_table(self) -> None:
        """Writes `results.csv` from all finished trials, in the network's order."""
        # Under a lock: else a table without another process's trial might be written last.
        with locks.waiting(self.folder / "study.lock"):
            rows = [r.row for r in self.trials().values() if isinstance(r, TrialResult)]
            blocks = provenance.blocks_of(self.folder / "study.json")
            place = {block.name: number for number, block in enumerate(blocks)}
            last = len(place)
            rows.sort(key=lambda row: (place.get(row.block, last), row.method, row.seed))
            results.write_table(self.folder, rows)

    def _is_outdated(self, folder: Path) -> bool:
        return not {folder, folder.parent}.isdisjoint(self.outdated)

    def _failed_at(self, trial: Trial) -> int | None:
        """Returns when a trial's failure was written, in nanoseconds, or None."""
        folder = self.folder_of(trial)
        return self._read[folder][0] if isinstance(self.result(folder), Failure) else None


class EarlierResults:
    """The parent and the trials in a folder, compared with what a command is to do.

    Args:
        ledger: of the folder; it is told what is outdated.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.folder = ledger.folder

    def compare_parent(self, computes_alike: Callable[[Path], bool] | None = None) -> None:
        """Compares the parent in the folder with the command's, and uses it if they agree.

        Args:
            computes_alike: returns whether a saved model of equal weights computes what the
                given one does; None without a given model.

        Raises:
            InputError: by rules 1 and 6.
        """
        folder, ledger = self.folder / "parent", self.ledger
        try:
            recorded = ledger.recorded_parent()
        except DamagedFile as damage:
            ledger.say(f"{damage}; the parent is made again")
            ledger.outdated.append(folder / "result.json")
            return
        if not recorded:
            self._compare_interrupted_parent()
            return
        differing = ledger.identity.parent_differences(recorded, ledger.parent_sha256)
        if not differing and computes_alike and not computes_alike(folder / "model.keras"):
            differing = ["the model: equal weights, but other layers without weights"]
        if differing:
            trials = (self.folder / "trials").glob("*/")
            self._refuse_or_replace("a parent", differing, [*trials, folder])
            # The model stays: it may be the one that is given.
            own = [folder / name for name in ("result.json", "epochs.jsonl")]
            shown = [self.folder / name for name in ("trials", "report.html", "figures")]
            ledger.outdated += [*own, *shown]
        else:
            ledger.use_parent(recorded)

    def _compare_interrupted_parent(self) -> None:
        folder, identity = self.folder / "parent", self.ledger.identity
        was = checkpoints.settings_of(folder)
        differing = results.differences(was, identity.of_parent()) if was else []
        if differing:
            self._refuse_or_replace("a parent in training", differing, [folder])
            # The folder may hold the given model, which then takes the place of the training.
            if not identity.given:
                self.ledger.outdated.append(folder)

    def compare_trials(self, trials: Iterable[Trial]) -> None:
        """Compares all finished trials in the folder with the command's settings.

        Args:
            trials: the command's. A job of an array checks the files of its own trials only;
                otherwise every job would read every model.

        Raises:
            InputError: by rules 2 and 6.
        """
        ledger, sha256 = self.ledger, self.ledger.parent_sha256
        if self.folder / "trials" in ledger.outdated:
            return
        own = {ledger.folder_of(trial) for trial in trials}
        differing = {}
        for folder, result in ledger.trials().items():
            if not isinstance(result, TrialResult):
                continue
            differing[folder] = ledger.identity.trial_differences(result.settings, sha256)
            if ledger.verifies and (folder in own or not ledger.identity.settings.shard):
                try:
                    results.check_files(folder, result.files)
                except DamagedFile as damage:
                    ledger.damaged[folder] = damage
        for folder in self._named_damaged(own):
            ledger.outdated.append(folder)
            differing.pop(folder, None)
        self._judge("finished trial", differing)
        self._compare_interrupted_trials()

    def _named_damaged(self, own: Collection[Path]) -> list[Path]:
        """Names the damaged trials once, and returns the folders of those to run again."""
        ledger, again = self.ledger, []
        for folder, damage in ledger.damaged.items():
            if folder not in own:
                ledger.say(f"{damage}; a command that includes the trial runs it again")
            elif holder := locks.holder(results.lock_file(folder)):
                ledger.say(f"{damage}; {holder} works on it")
            else:
                ledger.say(f"{damage}; the trial is run again")
                again.append(folder)
        ledger.damaged.clear()
        return again

    def _compare_interrupted_trials(self) -> None:
        ledger, sha256, differing = self.ledger, self.ledger.parent_sha256, {}
        for folder in sorted((self.folder / "trials").glob("*/")):
            settings = None if ledger.result(folder) else checkpoints.settings_of(folder)
            if settings:
                differing[folder] = ledger.identity.trial_differences(settings, sha256)
        self._judge("interrupted trial", differing)

    def _judge(self, what: str, differing: dict[Path, list[str]]) -> None:
        """Applies rule 2 to trials, each given with the settings by which it differs."""
        outdated = [folder for folder in differing if differing[folder]]
        if outdated:
            found = counted(len(outdated), what)
            self._refuse_or_replace(found, differing[outdated[0]], outdated)
            self.ledger.outdated += outdated

    def remove(self) -> None:
        """Removes what is outdated."""
        # Finished and interrupted trials may both have named what was made from them.
        outdated = [path for path in dict.fromkeys(self.ledger.outdated) if path.exists()]
        for path in outdated:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.ledger.outdated.clear()
        (self.folder / "trials").mkdir(exist_ok=True)
        if outdated:
            self.ledger.write_table()

    def _refuse_or_replace(self, what: str, differing: list[str], folders: list[Path]) -> None:
        texts = "; ".join(differing)
        if not self.ledger.identity.settings.overwrite:
            raise InputError(
                f"{self.folder} holds {what} with other settings ({texts}); "
                "choose another --output_dir, or add --overwrite to replace what differs"
            )
        derived = [self.folder / name for name in (compressions.FOLDER, alternatives.FOLDER)]
        given = self.ledger.identity.settings.parent
        for folder in [*folders, *derived]:
            holder = locks.holder(results.lock_file(folder))
            if holder:
                raise InputError(f"{folder}: {holder} works on it; wait until that has ended")
            stays = folder == self.folder / "parent"
            if given and not stays and folder.resolve() in given.resolve().parents:
                raise InputError(
                    f"--parent={given} is in {folder}, which --overwrite removes; move it to "
                    "another folder first"
                )
        self.ledger.outdated += derived
        found = [f"{folder.name}/" for folder in derived if folder.exists()]
        along = f", and {listed(found)} removed" if found else ""
        self.ledger.say(f"{what} with other settings will be replaced ({texts}){along}")


def _written(folder: Path) -> int | None:
    """Returns when the result in a folder was written, in nanoseconds; None without one."""
    try:
        return (folder / "result.json").stat().st_mtime_ns
    except FileNotFoundError:
        return None
