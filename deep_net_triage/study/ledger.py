"""What earlier commands left in a study's folder, and what of it counts for this one.

1. A parent with other settings than asked for stops the study; `--overwrite` replaces it, and
   removes every trial with it.
2. A finished trial in the folder, asked for or not, with other settings stops the study, so
   that no table mixes them; `--overwrite` removes those trials, and no others.
3. A finished parent or trial with equal settings is kept and not run again.
4. One whose files do not hold what was written is said by name, and made again. With
   `--deterministic` the parent comes out as it was, so that trials wait for it to be made
   before rule 2 is applied to them.
5. What did not finish goes on as `journal.py` says. What failed starts afresh.
6. Nothing is replaced that another process works on.
"""

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.records import checkpoints, files, locks, results
from deep_net_triage.records.locks import Lock
from deep_net_triage.study.plan import Identity


class Kept:
    """The parent and the trials of a study's folder as a command finds them.

    Args:
        folder: the study's.
        identity: of what is asked for.
        given_digest: of the given parent's weights; None where none is given.
        overwrite: whether what differs may be replaced.
        say: is told what is damaged, and what will be replaced.

    Attributes:
        parent: the result of the parent, if it counts.
        outdated: files and folders to be removed before the study begins.

    Raises:
        InputError: by rules 1, 2 and 6.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        given_digest: str | None,
        overwrite: bool,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.overwrite = overwrite
        self.say = say
        self.outdated: list[Path] = []
        self.parent: dict[str, object] | None = None
        self._compare_parent(given_digest)
        digest = self.parent["weights_sha256"] if self.parent else given_digest
        if digest or not identity.settings.deterministic:
            self.compare_trials(digest)

    def _compare_parent(self, given_digest: str | None) -> None:
        folder = self.folder / "parent"
        recorded = finished(folder, self._damaged_parent)
        if not recorded or not (folder / "model.keras").is_file():
            return
        differing = self.identity.parent_differences(recorded, given_digest)
        if differing:
            # Not the model itself: it may be the one that is given.
            own = [folder / "result.json", folder / "epochs.jsonl"]
            trials = [*(self.folder / "trials").glob("*/"), folder]
            self._refuse_or_replace("a parent", differing, trials)
            self.outdated += [*own, self.folder / "trials"]
        else:
            self.parent = recorded

    def compare_trials(self, parent_digest: str | None) -> None:
        """Compares finished trials with what is asked for, by rule 2.

        Args:
            parent_digest: of the parent's weights; None where it is to be made, by other means
                than it was.

        Raises:
            InputError: if they differ and may not be replaced.
        """
        if self.folder / "trials" in self.outdated:
            return
        differing = {}
        for folder in sorted((self.folder / "trials").glob("*/")):
            result = finished(folder, functools.partial(self._damaged_trial, folder))
            if result:
                differing[folder] = self.identity.trial_differences(result, parent_digest)
        outdated = [folder for folder in differing if differing[folder]]
        if outdated:
            what = f"{len(outdated)} finished trials"
            self._refuse_or_replace(what, differing[outdated[0]], outdated)
            self.outdated += outdated

    def remove_outdated(self) -> bool:
        """Removes what is outdated, and says whether anything was."""
        outdated = [path for path in self.outdated if path.exists()]
        for path in outdated:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.outdated.clear()
        return bool(outdated)

    def _refuse_or_replace(self, what: str, differing: list[str], folders: list[Path]) -> None:
        if not self.overwrite:
            raise InputError(
                f"{self.folder} holds {what} with other settings ({'; '.join(differing)}); "
                "choose another --output_dir, or --overwrite to replace what differs"
            )
        for folder in folders:
            holder = locks.holder(results.lock_file(folder))
            if holder:
                raise InputError(f"{folder} can't be replaced: {holder} works on it")
        self.say(f"replacing {what} with other settings ({'; '.join(differing)})")

    def _damaged_parent(self, damage: DamagedFile) -> None:
        self.say(f"{damage}; the parent is made again")
        self.outdated.append(self.folder / "parent" / "result.json")

    def _damaged_trial(self, folder: Path, damage: DamagedFile) -> None:
        self.say(f"{damage}; the trial is run again")
        self.outdated.append(folder)


def remove_leftovers(folder: Path) -> None:
    """Removes from a study what processes left that were killed on their last steps."""
    files.remove_leftovers(folder)
    for file in folder.rglob("*.lock"):
        with Lock(file):  # takes a dead one's, and gives it back
            pass
    for result in folder.rglob("result.json"):
        checkpoints.remove(result.parent)


def finished(
    folder: Path, damaged: Callable[[DamagedFile], None] = lambda damage: None
) -> dict[str, object] | None:
    """Returns the result of a parent or trial that finished and whose files are whole."""
    try:
        result = results.read_result(folder)
        if result and result["status"] == "finished":
            results.check_files(folder, result)
            return result
    except DamagedFile as damage:
        damaged(damage)
    return None
