"""Several blocks compressed one after another, greedily, as long as the accuracy allows it.

Blocks are candidates if they alone lost no more than `--max_drop`, those that save most first.
Each is compressed in the network as it is by then, and retrained by the method that lost least
for it. A step that loses too much is undone. The same test images judge every step, so that the
last accuracy is an optimistic one.
"""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras

from deep_net_triage.errors import DamagedFile
from deep_net_triage.findings import verdict
from deep_net_triage.findings.recommendation import may_replace
from deep_net_triage.findings.verdict import BlockSummary
from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.learning import guards, memory
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_block
from deep_net_triage.network import costs
from deep_net_triage.network.blocks import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import files, locks, models, results, study_results
from deep_net_triage.records.results import Failure, TrialResult
from deep_net_triage.study.identity import Parent, Trial
from deep_net_triage.study.plan import Plan
from deep_net_triage.study.trials import BlockTrials
from deep_net_triage.wording import percent, signed

FOLDER = "compressed"


@dataclass(frozen=True)
class Step:
    """An attempt to compress one more block.

    Attributes:
        block: its name.
        method: by which the network was retrained.
        kept: whether the network was still accurate enough.
        accuracy: of the network then, 0..1; None if the training failed.
    """

    block: str
    method: str
    kept: bool
    accuracy: float | None


def run(plan: Plan, parent: Parent, progress: Progress) -> Path | None:
    """Compresses as many blocks of a parent as `--max_drop` allows, and saves the model.

    Args:
        plan: of the study, whose trials have ended.
        parent: of the study.
        progress: where a person watches.

    Returns:
        The saved model; None if no block could be compressed.
    """
    folder = plan.settings.folder / FOLDER
    folder.mkdir(exist_ok=True)

    def waits_for(holder: str) -> None:
        progress.say(f"compressing: waiting for {holder}, which does it")

    with locks.waiting(results.lock_file(folder), waits_for) as lock:
        compressed = _Compressed(plan, parent, progress, lock.check)
        for candidate in _candidates(plan, progress):
            compressed.attempt(candidate)
        return compressed.finish()


class _Compressed:
    """The network compressed so far, and the steps taken.

    Args:
        plan: of the study.
        parent: what it starts from.
        progress: where a person watches.
        still_ours: raises if another process has taken the compression over.
    """

    def __init__(
        self,
        plan: Plan,
        parent: Parent,
        progress: Progress,
        still_ours: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.parent = parent
        self.progress = progress
        self.still_ours = still_ours
        self.folder = plan.settings.folder / FOLDER
        self.network: keras.Model = parent.model
        self.blocks = {block.name: block for block in plan.blocks}
        self.steps: list[Step] = []

    def attempt(self, candidate: BlockSummary) -> None:
        """Compresses one more block, and undoes it if the network loses too much."""
        block = self.blocks.get(candidate.block)
        if block is None:  # it overlaps one that is gone
            return
        settings, method = self.plan.settings, candidate.best.method
        trial = Trial(method, block, settings.seeds[0])
        folder = self.folder / f"{len(self.steps) + 1}-{method}-{block.name}"
        result = self._finished(trial, folder) or self._retrained(trial, folder)
        kept, accuracy = False, None
        if isinstance(result, TrialResult):
            accuracy = result.row.chosen_accuracy
            kept = self.parent.baseline_accuracy - accuracy <= settings.max_drop + 1e-12
        if kept:
            self._keep(models.load(folder / "model.keras"), block)
        self.steps.append(Step(block.name, method, kept, accuracy))
        reached = "failed" if accuracy is None else f"accuracy {accuracy:.4f}"
        end = "kept" if kept else "undone"
        self.progress.say(f"compressing {block.name} as well: {reached}, {end}")

    def finish(self) -> Path | None:
        """Saves the compressed model and the steps, and returns the model's file."""
        kept = [step for step in self.steps if step.kept]
        parent = self.parent.model
        result = {
            "max_drop": self.plan.settings.max_drop,
            "baseline_accuracy": self.parent.baseline_accuracy,
            "accuracy": kept[-1].accuracy if kept else None,
            "steps": [dataclasses.asdict(step) for step in self.steps],
            "parent_parameters": costs.parameters(parent),
            "parameters": costs.parameters(self.network),
            "parent_macs": costs.macs(parent),
            "macs": costs.macs(self.network),
        }
        file = self.folder / "model.keras"
        self.still_ours()
        if kept:
            models.save(self.network, file)
            blocks = ", ".join(step.block for step in kept)
            self.progress.say(f"compressed {blocks}: {_outcome(result)}: {file}")
        else:
            file.unlink(missing_ok=True)
            self.progress.say("compressing: no block stays within --max_drop")
        files.write_json(self.folder / "result.json", result)
        return file if kept else None

    def _keep(self, network: keras.Model, block: Block) -> None:
        """Goes on with a network in which a block is compressed."""
        self.network = network
        self.blocks = {
            name: _behind(other, block)
            for name, other in self.blocks.items()
            if not set(other.layers) & set(block.layers)
        }

    def _determining(self, trial: Trial) -> dict[str, object]:
        names = (trial.method, trial.block_name, trial.seed)
        return self.plan.identity.of_trial(*names, guards.weights_digest(self.network))

    def _finished(self, trial: Trial, folder: Path) -> TrialResult | None:
        """Returns the result of a step that an earlier command has finished in the same way."""
        try:
            result = results.read_trial(folder)
            if isinstance(result, TrialResult):
                results.check_files(folder, result.files)
                if result.settings == self._determining(trial):
                    return result
        except DamagedFile as damage:
            self.progress.say(f"{damage}; it is made again")
        if (folder / "result.json").exists():
            shutil.rmtree(folder)
        return None

    def _retrained(self, trial: Trial, folder: Path) -> TrialResult | Failure:
        """Compresses a block in the network compressed so far, and retrains it."""
        plan = self.plan
        start = dataclasses.replace(
            self.parent, model=self.network, weights_sha256=guards.weights_digest(self.network)
        )
        name = f"compressing {trial}"
        phase = ExpectedPhase(name, "train", plan.settings.epochs)
        self.progress.expect([ExpectedTraining(name, (phase,))])
        with memory.released():
            source = for_block(plan.dataset, plan.settings)
            retraining = Retraining(
                self.network, trial.block, plan.dataset, source, plan.settings
            )
            trials = BlockTrials(start, retraining, self.progress)
            return trials.run(trial, name, folder, self._determining(trial), self.still_ours)


def _candidates(plan: Plan, progress: Progress) -> list[BlockSummary]:
    """Returns the blocks that alone lose no more than may be lost, the best savings first.

    There are none if drops from the parent are meaningless (`verdict.doubt`).
    """
    settings = plan.settings
    study = study_results.read_study(settings.folder)
    if reason := verdict.doubt(study):
        progress.say(f"compressing: {reason}")
        return []
    within = [
        block
        for block in verdict.reach(study, settings.max_drop).ranking
        if may_replace(block.best.cost.difference, block.macs_saved, settings.max_drop)
    ]
    return sorted(within, key=lambda block: -block.macs_saved)


def _behind(block: Block, compressed: Block) -> Block:
    """Returns a block as it is found in a network in which another is compressed."""
    if block.after not in compressed.layers:
        return block
    return dataclasses.replace(block, after=compressed.compressed_layers[-1])


def _outcome(result: dict[str, object]) -> str:
    macs, parameters = (1 - result[n] / result[f"parent_{n}"] for n in ("macs", "parameters"))
    change = signed(result["accuracy"] - result["baseline_accuracy"], 4)
    return (
        f"accuracy {result['accuracy']:.4f} ({change}), {percent(macs)} of the "
        f"multiply-accumulates and {percent(parameters)} of the parameters saved"
    )
