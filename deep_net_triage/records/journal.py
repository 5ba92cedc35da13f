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

# A record of `epochs.jsonl`.
Record = dict[str, object]


class Journal:
    """The record of one training, new or gone on with.

    Args:
        folder: the training's; the folder around it has to exist.
        settings: everything that determines the training.
        watch: is called with the record of each epoch that ends.
        say: is told what was damaged, and where the training goes on.
        still_ours: raises where another process works on it by now.
        overwrite: whether a training with other settings may be replaced.

    Raises:
        InputError: by rule 2.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, object],
        watch: Callable[[Record], None],
        say: Callable[[str], None],
        still_ours: Callable[[], None] = lambda: None,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._watch = watch
        self.still_ours = still_ours
        self.records: list[Record] = []
        self.facts: dict[str, object] = {}
        self._checkpoint = self._newest(overwrite, say)
        if self._checkpoint:
            self.records = list(self._checkpoint.records)
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

    def epochs_done(self, phase: str) -> int:
        """Returns how many epochs of a phase have ended."""
        return sum(record["phase"] == phase for record in self.records)

    def resumed(self, phase: str) -> dict[str, np.ndarray] | None:
        """Returns the arrays that a phase goes on from; None where it begins."""
        made_in = self._checkpoint and self._checkpoint.records[-1]["phase"]
        return self._checkpoint.arrays if made_in == phase else None

    def end_epoch(self, record: Record, arrays: dict[str, np.ndarray]) -> None:
        """Keeps an epoch's record, and what the next one begins from."""
        self.still_ours()
        self._checkpoint = None
        self.records.append(record)
        files.append_line(self.folder / "epochs.jsonl", json.dumps(record, allow_nan=False))
        facts = {**self.facts, "seconds": self.seconds}
        checkpoints.write(self.folder, Checkpoint(self.settings, self.records, facts, arrays))
        self._watch(record)

    def finish(self, result: dict[str, object]) -> None:
        """Writes the training's result, after which there is nothing to go on with."""
        self.still_ours()
        files.write_json(self.folder / "result.json", result)
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
        wanted = "".join(f"{json.dumps(record)}\n" for record in self.records)
        found = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
        if found == wanted:
            return
        if not found.startswith(wanted):
            say(f"{file} is damaged; it is written again from the checkpoint")
        elif not found.endswith("\n"):
            say(f"{file}: its last line is torn, and dropped")
        with files.replacing(file) as unfinished:
            unfinished.write_text(wanted, encoding="utf-8")
