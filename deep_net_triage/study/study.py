"""The trials of a study, block after block, until all have ended.

Several processes may work on one study, on one machine or on several that share its folder.
Each takes trials that no other has taken, and waits at the end for those of the others.
"""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deep_net_triage.devices import WHOLE, Share
from deep_net_triage.learning import array_stores, evidence, memory
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import Source, for_model
from deep_net_triage.learning.walk import Walk
from deep_net_triage.methods import TABLE
from deep_net_triage.network.block import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import locks, results
from deep_net_triage.records.locks import Lock
from deep_net_triage.steps import Step
from deep_net_triage.study.growing_page import Present, grow
from deep_net_triage.study.identity import Parent, Trial
from deep_net_triage.study.ledger import Ledger
from deep_net_triage.study.plan import Plan
from deep_net_triage.study.trials import BlockTrials


class Study:
    """Runs the trials of a plan, block by block.

    Args:
        plan: what to run.
        parent: what students start from.
        ledger: of the study's folder.
        progress: shows messages, and how far the work has come.
        shared: the folder where the processes of one command share activations; None if the
            command is one process.
        share: which of these processes this is. Each begins at another block, so that few of
            them trace the same steps.
    """

    def __init__(
        self,
        plan: Plan,
        parent: Parent,
        ledger: Ledger,
        progress: Progress,
        shared: Path | None = None,
        share: Share = WHOLE,
    ) -> None:
        self.plan = plan
        self.parent = parent
        self.ledger = ledger
        self.progress = progress
        self.shared = shared
        self.share = share

    def run(self, trials: Sequence[Trial], present: Present) -> None:
        """Runs trials until all have ended; those that failed in earlier commands run again.

        A trial that another process has taken is left to it, and looked at again at the end:
        the process may have died.

        Args:
            trials: some or all of the plan's.
            present: writes the page of a study that runs.
        """
        every = self.plan.trials_of_all_jobs
        page = functools.partial(grow, every, self.ledger, self.progress.say, present)
        while pending := self.ledger.pending(trials):
            self._run_blocks(pending, page)
            page()
            self._wait_for(self.ledger.pending(trials))
        self.ledger.write_table()

    def _run_blocks(self, trials: Sequence[Trial], page: Callable[[], None]) -> None:
        """Runs trials block by block, in the network's order, from this process's first on."""
        activations = self._walk()
        in_order = (*self.plan.blocks, None)
        first = len(in_order) * self.share.index // self.share.count
        for block in (*in_order[first:], *in_order[:first]):
            of_block = [trial for trial in trials if trial.block == block]
            if self.share.count > 1:
                # The long ones first, so that the processes end together.
                of_block.sort(key=lambda trial: TABLE[trial.method].updates == "block")
            with memory.released():
                self._run_block(of_block, activations, page)
            if activations and block:
                self._discard(activations, block)

    def _walk(self) -> Walk | None:
        """Returns a walk at its beginning; None if no activations are stored."""
        plan = self.plan
        if not plan.settings.stores_activations:
            return None
        report = functools.partial(self.progress.step, "activations")
        store = array_stores.of_command(plan.settings, self.shared)
        return Walk(self.parent.model, plan.dataset, store, plan.settings, plan.blocks, report)

    def _run_block(
        self, trials: Sequence[Trial], activations: Walk | None, page: Callable[[], None]
    ) -> None:
        """Runs those trials of a block that no other process has taken."""
        block_trials = None
        for trial in trials:
            name, started = self.plan.name_of(trial), time.perf_counter()
            folder = self.ledger.folder_of(trial)
            with Lock(results.lock_file(folder)) as lock:
                if lock.holder or not self.ledger.pending([trial]):
                    if not self.shared:  # by another command
                        taker = lock.holder or "another process"
                        self.progress.say(f"{name}  skipped: taken by {taker}")
                    continue
                page()
                pending = self.ledger.pending(self.plan.trials)
                self.progress.keep(self.plan.name_of(trial) for trial in pending)
                block_trials = block_trials or self._prepared(trial.block, activations)
                sha256 = self.parent.weights_sha256
                determining = self.plan.identity.of_trial(*trial.key, sha256)
                block_trials.run(trial, name, folder, determining, lock.check)
                self.ledger.write_table()
                self.progress.ended(name, time.perf_counter() - started)

    def _prepared(self, block: Block | None, activations: Walk | None) -> BlockTrials:
        """Prepares a block's trials: their student, and the images or activations to read."""
        plan = self.plan
        if activations and block:
            self.progress.say(f"{block.name}: computing its inputs and outputs")
            source = activations.source_for(block)
        else:
            source = for_model(plan.dataset, plan.settings)
        model = self.parent.model
        retraining = Retraining(model, block, plan.dataset, source, plan.settings)
        untrained = self._untrained_accuracies(block, source) if block else {}
        return BlockTrials(self.parent, retraining, self.progress, untrained)

    def _untrained_accuracies(self, block: Block, source: Source) -> dict[str, float | None]:
        """Returns the parent's accuracy with a block's kernels drawn anew, and without it."""
        self.progress.step(block.name, Step("testing without it"))
        found = evidence.accuracies(self.parent.model, block, self.plan.dataset, source)
        random, bypassed = found["reinitialized_accuracy"], found["bypassed_accuracy"]
        if bypassed is None:
            without = "it changes the shape, so that it can't be bypassed"
        else:
            without = f"{bypassed:.4f} without it"
        self.progress.say(f"{block.name}: accuracy {random:.4f} with random kernels; {without}")
        return found

    def _discard(self, activations: Walk, block: Block) -> None:
        """Removes shared activations that no trial will read, in this process or another."""
        passed = self.plan.blocks[: self.plan.blocks.index(block) + 1]
        if not self.ledger.pending(t for t in self.plan.trials if t.block in passed):
            activations.discard(block)

    def _wait_for(self, pending: list[Trial]) -> None:
        """Returns once one of the trials left to others has ended, or its process has."""
        files = [results.lock_file(self.ledger.folder_of(trial)) for trial in pending]
        while files and all(map(locks.holder, files)):
            time.sleep(0.2)
