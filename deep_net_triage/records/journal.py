"""A training's own record, which a killed training goes on from.

1. An epoch that has ended is first a line of `epochs.jsonl` and then a checkpoint. Both are on
   the disk before the next begins.
2. A training goes on from its newest checkpoint. Lines beyond it are of an epoch that did not
   end, and are dropped; the epoch is run again. A checkpoint with other settings stops the
   study; with `--overwrite` the training starts afresh.
3. A damaged checkpoint is said and passed over for the one before. Lines that are damaged or
   missing are said and written again from the checkpoint, which holds them all.
4. Without a checkpoint the training starts afresh, in an empty folder.
5. `result.json` is the last file of a training. Once it is there, the checkpoints go.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.records import checkpoints, files, results
from deep_net_triage.records.checkpoints import Checkpoint
from deep_net_triage.records.results import Epoch, Failure, ParentResult, TrialResult


class Journal:
    """The record of one training, new or gone on with.

    Args:
        folder: the training's; the folder around it has to exist.
        settings: everything that determines the training.
        watch: is called with each epoch that ends.
        say: is told what was damaged, and where the training goes on.
        still_ours: raises if another process has taken the training over.
        overwrite: whether a training with other settings may be replaced.

    Raises:
        InputError: by rule 2.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, object],
        watch: Callable[[Epoch], None],
        say: Callable[[str], None],
        still_ours: Callable[[], None] = lambda: None,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._watch = watch
        self.still_ours = still_ours
        self.epochs: list[Epoch] = []
        self.facts: dict[str, object] = {}
        self._checkpoint = self._newest(overwrite, say)
        if self._checkpoint:
            self.epochs = [Epoch(**record) for record in self._checkpoint.records]
            self.facts = dict(self._checkpoint.facts)
            self._restore_lines(say)
        else:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        self._seconds_before = self.facts.get("seconds", 0.0)
        self._opened = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long the training has taken, without what was lost."""
        return self._seconds_before + time.perf_counter() - self._opened

    def of_phase(self, phase: str) -> list[Epoch]:
        """Returns the epochs of a phase that have ended."""
        return [epoch for epoch in self.epochs if epoch.phase == phase]

    def resumed(self, phase: str) -> dict[str, np.ndarray] | None:
        """Returns the arrays that a phase continues from; None at its beginning."""
        made_in = self._checkpoint and self.epochs[-1].phase
        return self._checkpoint.arrays if made_in == phase else None

    def end_epoch(self, epoch: Epoch, arrays: dict[str, np.ndarray]) -> None:
        """Writes an epoch's line, and a checkpoint from which the next epoch can begin."""
        self.still_ours()
        self._checkpoint = None
        self.epochs.append(epoch)
        records = [ended.as_json() for ended in self.epochs]
        files.append_line(
            self.folder / "epochs.jsonl", json.dumps(records[-1], allow_nan=False)
        )
        facts = {**self.facts, "seconds": self.seconds}
        checkpoints.write(self.folder, Checkpoint(self.settings, records, facts, arrays))
        self._watch(epoch)

    def finish(self, result: ParentResult | TrialResult | Failure) -> None:
        """Writes the training's result, and removes its checkpoints."""
        self.still_ours()
        results.write_result(self.folder, result)
        checkpoints.remove(self.folder)

    def _newest(self, overwrite: bool, say: Callable[[str], None]) -> Checkpoint | None:
        found = checkpoints.newest(self.folder, say)
        differing = results.differences(found.settings, self.settings) if found else []
        if differing and not overwrite:
            raise InputError(
                f"{self.folder} holds a training that was interrupted, with other settings "
                f"({'; '.join(differing)}); choose another --output_dir, or --overwrite to "
                "begin it anew"
            )
        return None if differing else found

    def _restore_lines(self, say: Callable[[str], None]) -> None:
        """Makes `epochs.jsonl` say what the checkpoint says, and removes what was half done."""
        for half in self.folder.glob("unfinished-*"):
            half.unlink()
        file = self.folder / "epochs.jsonl"
        wanted = "".join(f"{json.dumps(epoch.as_json())}\n" for epoch in self.epochs)
        found = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        if found == wanted:
            return
        if not found.startswith(wanted):
            say(f"{file} is damaged; it is written again from the checkpoint")
        elif not found.endswith("\n"):
            say(f"{file}: its last line is torn, and dropped")
        with files.replacing(file) as unfinished:
            unfinished.write_text(wanted, encoding="utf-8")
