"""What earlier commands left in a study's folder, and what this one replaces.

1. A parent with other settings than this command's stops the study. `--overwrite` replaces it,
   and removes all trials.
2. A finished trial with other settings stops the study, even if this command does not include
   it, so that no table mixes them. `--overwrite` removes such trials, and no others.
3. A finished parent or trial with equal settings is used as it is.
4. A parent or trial whose files have changed since they were written is named and run again.
   With `--deterministic` the parent comes out as it was, so that rule 2 is applied to trials
   only after that.
5. An unfinished training continues as `journal.py` says. A failed one starts afresh.
6. Nothing is replaced while another process works on it.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.records import checkpoints, files, locks, results
from deep_net_triage.records.locks import Lock
from deep_net_triage.records.results import TrialResult
from deep_net_triage.study.identity import Trial
from deep_net_triage.study.ledger import Ledger


class EarlierResults:
    """The parent and the trials in a folder, compared with what a command is to do.

    Args:
        ledger: of the folder.

    Attributes:
        outdated: files and folders to remove before the study begins.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.folder = ledger.folder
        self.outdated: list[Path] = []

    def compare_parent(self) -> None:
        """Compares the parent in the folder with the command's, and uses it if they agree.

        Raises:
            InputError: by rules 1 and 6.
        """
        folder, ledger = self.folder / "parent", self.ledger
        try:
            recorded = ledger.recorded_parent()
        except DamagedFile as damage:
            ledger.say(f"{damage}; the parent is made again")
            self.outdated.append(folder / "result.json")
            return
        if not recorded:
            return
        differing = ledger.identity.parent_differences(recorded, ledger.parent_sha256)
        if differing:
            trials = (self.folder / "trials").glob("*/")
            self._refuse_or_replace("a parent", differing, [*trials, folder])
            # The model stays: it may be the one that is given.
            own = [folder / "result.json", folder / "epochs.jsonl"]
            self.outdated += [*own, self.folder / "trials"]
        else:
            ledger.use_parent(recorded)

    def compare_trials(self, trials: Iterable[Trial]) -> None:
        """Compares all finished trials in the folder with the command's settings.

        Args:
            trials: the command's. A job of an array checks the files of no others: together the
                jobs would read all models once a job.

        Raises:
            InputError: by rules 2 and 6.
        """
        if self.folder / "trials" in self.outdated:
            return
        ledger = self.ledger
        own = {ledger.folder_of(trial) for trial in trials}
        differing = {}
        for folder, result in ledger.trials().items():
            checked = ledger.verifies and (folder in own or not ledger.identity.settings.shard)
            if isinstance(result, TrialResult) and not (
                checked and self._is_damaged(folder, result)
            ):
                sha256 = ledger.parent_sha256
                differing[folder] = ledger.identity.trial_differences(result, sha256)
        for folder, damage in ledger.damaged.items():
            ledger.say(f"{damage}; the trial is run again")
            self.outdated.append(folder)
        outdated = [folder for folder in differing if differing[folder]]
        if outdated:
            what = f"{len(outdated)} finished trials"
            self._refuse_or_replace(what, differing[outdated[0]], outdated)
            self.outdated += outdated

    def remove(self) -> None:
        """Removes what is outdated."""
        outdated = [path for path in self.outdated if path.exists()]
        for path in outdated:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.outdated.clear()
        (self.folder / "trials").mkdir(exist_ok=True)
        if outdated:
            self.ledger.write_table()

    def _is_damaged(self, folder: Path, result: TrialResult) -> bool:
        try:
            results.check_files(folder, result.files)
        except DamagedFile as damage:
            self.ledger.damaged[folder] = damage
            return True
        return False

    def _refuse_or_replace(self, what: str, differing: list[str], folders: list[Path]) -> None:
        if not self.ledger.identity.settings.overwrite:
            raise InputError(
                f"{self.folder} holds {what} with other settings ({'; '.join(differing)}); "
                "choose another --output_dir, or --overwrite to replace what differs"
            )
        for folder in folders:
            holder = locks.holder(results.lock_file(folder))
            if holder:
                raise InputError(f"{folder} can't be replaced: {holder} works on it")
        self.ledger.say(f"replacing {what} with other settings ({'; '.join(differing)})")


def remove_leftovers(folder: Path) -> None:
    """Removes from a study what processes left that were killed on their last steps."""
    files.remove_leftovers(folder)
    for file in folder.rglob("*.lock"):
        with Lock(file):  # takes a dead one's, and gives it back
            pass
    for result in folder.rglob("result.json"):
        checkpoints.remove(result.parent)
