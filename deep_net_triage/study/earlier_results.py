"""Compares what is in a study's folder with what a command is to do, and removes what differs.

1. A parent with other settings than this command's stops the study. `--overwrite` replaces it,
   and removes all trials.
2. A finished trial with other settings stops the study, even if this command does not include
   it, so that no table mixes them. `--overwrite` removes such trials, and no others. Either
   removal takes with it what was compressed by their results, and the alternatives to that.
   Interrupted parents and trials are treated as finished ones.
3. A finished parent or trial with equal settings is used as it is.
4. A parent or trial whose files have changed since they were written is damaged, and named. A
   parent is made again. A trial is run again by a command that includes it.
   With `--deterministic` training reproduces the same parent, so rule 2 is applied to trials
   after that.
5. An unfinished training continues as `journal.py` says. A failed one starts afresh.
6. Nothing is replaced while another process works on it.
"""

import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.records import alternatives, checkpoints, compressions, locks, results
from deep_net_triage.records.results import TrialResult
from deep_net_triage.study.identity import Trial
from deep_net_triage.study.ledger import Ledger
from deep_net_triage.wording import counted, listed


class EarlierResults:
    """The parent and the trials in a folder, compared with what a command is to do."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.folder = ledger.folder
        # By training: when what is compared was written. Noted before it is read, because
        # comparing can take minutes, in which another process may replace it.
        self._noted: dict[Path, int | None] = {}

    def compare_parent(self, computes_alike: Callable[[Path], bool] | None = None) -> None:
        """Compares the parent in the folder with the command's, and uses it if they agree.

        Args:
            computes_alike: returns whether a saved model of equal weights computes what the
                given one does; None without a given model.

        Raises:
            InputError: by rules 1 and 6.
        """
        folder, ledger = self.folder / "parent", self.ledger
        self._noted[folder] = _written(folder)
        try:
            recorded = ledger.recorded_parent()
        except DamagedFile as damage:
            ledger.say(f"{damage}; the parent is made again")
            self._discount([folder / "result.json"], folder)
            return
        if not recorded:
            self._compare_interrupted_parent()
            return
        differing = ledger.identity.parent_differences(recorded, ledger.parent_sha256)
        if not differing and computes_alike and not computes_alike(folder / "model.keras"):
            differing = ["the model: equal weights, but other layers without weights"]
        if differing:
            trials = (self.folder / "trials").glob("*/")
            self._refuse_or_replace("a parent", differing, [folder, *trials])
            # The model stays: it may be the one that is given.
            own = [folder / name for name in ("result.json", "epochs.jsonl")]
            shown = [self.folder / name for name in ("trials", "report.html", "figures")]
            self._discount([*own, *shown], folder)
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
                self._discount([folder], folder)

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
        folders = (self.folder / "trials").glob("*/")
        self._noted |= {folder: _written(folder) for folder in folders}
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
            self._discount([folder], folder)
            differing.pop(folder, None)
        self._judge("finished trial", differing)
        self._compare_interrupted_trials()
        if ledger.verifies and ledger.identity.settings.compress:
            self._name_unsaved(trial for trial in trials if trial.block)

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

    def _name_unsaved(self, trials: Iterable[Trial]) -> None:
        """Says which finished trials have no model, before hours go into the other trials."""
        unsaved = [
            str(trial)
            for trial in trials
            if self.ledger.is_finished(trial)
            and not (self.ledger.folder_of(trial) / "model.keras").is_file()
        ]
        if unsaved:
            self.ledger.say(
                f"no saved model: {listed(unsaved)}; --compress will stop if it needs one. To "
                f"train them again, remove their folders in {self.folder / 'trials'}"
            )

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
            for folder in outdated:
                self._discount([folder], folder)

    def remove(self) -> None:
        """Removes what is outdated, except what another process has replaced meanwhile."""
        with locks.waiting(self.folder / "study.lock"):
            outdated = [
                path
                for path, (training, written) in self.ledger.outdated.items()
                if path.exists()
                and written is not None
                and written == _written(training)
                and not locks.holder(results.lock_file(training))
            ]
            for path in outdated:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        self.ledger.outdated.clear()
        (self.folder / "trials").mkdir(exist_ok=True)
        if outdated:
            self.ledger.write_table()

    def _discount(self, paths: Iterable[Path], training: Path) -> None:
        """Makes results not count, and marks them for removal.

        Args:
            paths: of the results.
            training: the folder of the training whose settings or damage make them not count.
        """
        noted = training, self._noted.get(training)
        self.ledger.outdated |= dict.fromkeys(paths, noted)

    def _refuse_or_replace(self, what: str, differing: list[str], folders: list[Path]) -> None:
        """Applies rules 1, 2 and 6 to trainings; the first one differs by some settings."""
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
        self._discount(derived, folders[0])
        found = [f"{folder.name}/" for folder in derived if folder.exists()]
        along = f", and {listed(found)} removed" if found else ""
        self.ledger.say(f"{what} with other settings will be replaced ({texts}){along}")


def _written(training: Path) -> int | None:
    """Returns when a training's result or else its newest checkpoint was written.

    Returns:
        The time in nanoseconds; None if the training has neither, or is being replaced.
    """
    files = [*training.glob("result.json")] or training.glob("checkpoint-*.npz")
    try:
        return max((file.stat().st_mtime_ns for file in files), default=None)
    except FileNotFoundError:
        return None
