"""Trials beside those of the study: of halves of blocks, and in networks compressed already."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from deep_net_triage.errors import DamagedFile
from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.learning import guards, memory
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_block
from deep_net_triage.methods import TABLE
from deep_net_triage.progress import Progress
from deep_net_triage.records import results
from deep_net_triage.records.results import Failure, TrialResult
from deep_net_triage.study.identity import Parent, Trial
from deep_net_triage.study.plan import Plan
from deep_net_triage.study.trials import BlockTrials


@dataclass(frozen=True)
class TrialsBeside:
    """What such trials have in common.

    Attributes:
        plan: of the study.
        parent: of the study; its accuracy is what drops are measured from.
        progress: where a person watches.
        still_ours: raises if another process has taken the trials over.
    """

    plan: Plan
    parent: Parent
    progress: Progress
    still_ours: Callable[[], None]

    def run(
        self, trial: Trial, name: str, network: keras.Model, folder: Path
    ) -> TrialResult | Failure:
        """Compresses a block of a network and retrains it, unless an earlier command has.

        Args:
            trial: its block is one of the network.
            name: of the trial in progress lines.
            network: read, never changed.
            folder: of the trial's files; its parent folder must exist.
        """
        sha256 = guards.weights_digest(network)
        names = (trial.method, trial.block_name, trial.seed)
        determining = self.plan.identity.of_trial(*names, sha256)
        ended = self._ended(folder, determining)
        if ended:
            return ended
        self.progress.expect([self._expected(trial, name)])
        start = dataclasses.replace(self.parent, model=network, weights_sha256=sha256)
        with memory.released():
            source = for_block(self.plan.dataset, self.plan.settings)
            retraining = Retraining(
                network, trial.block, self.plan.dataset, source, self.plan.settings
            )
            trials = BlockTrials(start, retraining, self.progress)
            result = trials.run(trial, name, folder, determining, self.still_ours)
        self.progress.ended(name, getattr(getattr(result, "row", None), "seconds", 0.0))
        return result

    def _expected(self, trial: Trial, name: str) -> ExpectedTraining:
        settings = self.plan.settings
        phases = [ExpectedPhase(f"{name} train", "train", settings.epochs)]
        if TABLE[trial.method].distil:
            distil = ExpectedPhase(f"{name} distill", "distill", settings.distill_epochs)
            phases.insert(0, distil)
        return ExpectedTraining(name, tuple(phases))

    def _ended(self, folder: Path, determining: dict[str, object]) -> TrialResult | None:
        """Returns the result of the same trial by an earlier command; removes any other."""
        try:
            result = results.read_trial(folder)
            if isinstance(result, TrialResult):
                results.check_files(folder, result.files)
                if result.settings == determining:
                    return result
        except DamagedFile as damage:
            self.progress.say(f"{damage}; it is made again")
        if (folder / "result.json").exists():
            shutil.rmtree(folder)
        return None
