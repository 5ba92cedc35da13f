"""The journal of a training, from which a killed training resumes.

1. When an epoch ends, a line is added to `epochs.jsonl`, then a checkpoint is written. Both are
   on the disk before the next epoch begins.
2. A training resumes from its newest checkpoint. Lines after it belong to an epoch that did not
   finish: they are dropped, and the epoch runs again. A checkpoint with other settings stops
   the study; with `--overwrite` the training starts over.
3. A damaged checkpoint is reported, and the one before is used. Damaged or missing lines are
   reported, and rewritten from the checkpoint, which holds them all.
4. Without a checkpoint the training starts over, in an empty folder.
5. `result.json` is the last file that a training writes. The checkpoints are then removed.
"""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.records import checkpoints, files, results
from deep_net_triage.records.checkpoints import Checkpoint
from deep_net_triage.records.results import (
    Epoch,
    Failure,
    NetworkResult,
    ParentResult,
    TrialResult,
)
from deep_net_triage.steps import Step


class Watch(Protocol):
    """Watches a training."""

    def epoch(self, epoch: Epoch) -> None:
        """Receives each epoch that ends."""

    def step(self, step: Step) -> None:
        """Receives how far an epoch, or work around the epochs, has come."""


class Journal:
    """The journal of one training, new or resumed.

    Args:
        folder: the training's folder; its parent folder must exist.
        settings: everything that determines the training.
        watch: is told what happens.
        say: receives a message about each damaged file.
        check_lock: raises LockLost if another process has taken the training over.
        overwrite: whether to replace a training with other settings.

    Raises:
        InputError: if the checkpoint has other settings, and `overwrite` is false.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, object],
        watch: Watch,
        say: Callable[[str], None],
        check_lock: Callable[[], None] = lambda: None,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.watch = watch
        self.check_lock = check_lock
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
        """Seconds that the training has taken, without epochs lost to an interruption."""
        return self._seconds_before + time.perf_counter() - self._opened

    def of_phase(self, phase: str) -> list[Epoch]:
        """Returns the finished epochs of a phase."""
        return [epoch for epoch in self.epochs if epoch.phase == phase]

    def resumed(self, phase: str) -> dict[str, np.ndarray] | None:
        """Returns the arrays from which a phase resumes; None if the phase starts anew."""
        made_in = self._checkpoint and self.epochs[-1].phase
        return self._checkpoint.arrays if made_in == phase else None

    def end_epoch(self, epoch: Epoch, arrays: dict[str, np.ndarray]) -> None:
        """Writes an epoch's line, and a checkpoint from which the next epoch can begin."""
        self.check_lock()
        self._checkpoint = None
        self.epochs.append(epoch)
        records = [ended.as_json() for ended in self.epochs]
        line = json.dumps(records[-1], allow_nan=False)
        files.append_line(self.folder / "epochs.jsonl", line)
        facts = {**self.facts, "seconds": self.seconds}
        checkpoints.write(self.folder, Checkpoint(self.settings, records, facts, arrays))
        self.watch.epoch(epoch)

    def finish(self, result: ParentResult | TrialResult | NetworkResult | Failure) -> None:
        """Writes the training's result, and removes its checkpoints."""
        self.check_lock()
        results.write_result(self.folder, result)
        checkpoints.remove(self.folder)

    def _newest(self, overwrite: bool, say: Callable[[str], None]) -> Checkpoint | None:
        newest = checkpoints.newest(self.folder, say)
        differing = results.differences(newest.settings, self.settings) if newest else []
        if differing and not overwrite:
            raise InputError(
                f"{self.folder} holds an interrupted training with other settings "
                f"({'; '.join(differing)}); choose another --output_dir, or --overwrite to "
                "start it over"
            )
        return None if differing else newest

    def _restore_lines(self, say: Callable[[str], None]) -> None:
        """Makes `epochs.jsonl` agree with the checkpoint, and removes temporary files."""
        for temporary in self.folder.glob("unfinished-*"):
            temporary.unlink()
        file = self.folder / "epochs.jsonl"
        expected = "".join(f"{json.dumps(epoch.as_json())}\n" for epoch in self.epochs)
        actual = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        if actual == expected:
            return
        if not actual.startswith(expected):
            say(f"{file} is damaged; rewriting it from the checkpoint")
        elif not actual.endswith("\n"):
            say(f"{file}: dropping the last line, which is incomplete")
        with files.replacing(file) as unfinished:
            unfinished.write_text(expected, encoding="utf-8")
