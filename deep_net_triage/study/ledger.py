"""What a study's folder holds: its parent, and which of its trials have finished or failed."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.records import checkpoints, locks, provenance, results, study_results
from deep_net_triage.records.results import Failure, ParentResult, TrialResult
from deep_net_triage.study.identity import Identity, Trial


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
        outdated: files and folders to remove before the study begins, because their results
            don't count; with each, the training that makes it not count, and when that was
            written.
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
        self.outdated: dict[Path, tuple[Path, int | None]] = {}
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


def _written(folder: Path) -> int | None:
    """Returns when the result in a folder was written, in nanoseconds; None without one."""
    try:
        return (folder / "result.json").stat().st_mtime_ns
    except FileNotFoundError:
        return None
