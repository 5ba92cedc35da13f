"""Several blocks compressed one after another, greedily, as long as the accuracy allows it.

Blocks that alone lost no more than may be lost are tried, those that save most first. Each is
compressed in the network as it stands by then, retrained by the method that lost least for it,
and kept where the network is still within what may be lost; else it stays as it was. The same
test images judge every step, so that the last accuracy is an optimistic one.
"""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from deep_net_triage.errors import DamagedFile
from deep_net_triage.findings import verdict
from deep_net_triage.findings.verdict import BlockSummary
from deep_net_triage.learning import guards, memory
from deep_net_triage.learning import walk as activations
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.network import costs
from deep_net_triage.network.blocks import Block
from deep_net_triage.records import files, locks, results
from deep_net_triage.study import parents, trials
from deep_net_triage.study.study import Study
from deep_net_triage.study.trials import Trial

FOLDER = "compressed"


def run(study: Study) -> Path | None:
    """Compresses as many blocks of a study's parent as may be, and saves the model.

    Returns:
        The saved model; None where no block could be compressed.
    """
    folder = study.folder / FOLDER
    folder.mkdir(exist_ok=True)

    def waits_for(holder: str) -> None:
        study.progress.say(f"compressing: waiting for {holder}, which does it")

    with locks.waiting(results.lock_file(folder), waits_for) as lock:
        compressed = _Compressed(study, folder, lock.check)
        for candidate in _candidates(study):
            compressed.attempt(candidate)
        return compressed.finish()


class _Compressed:
    """The network as it stands, and what was done to it.

    Args:
        study: whose parent it starts from.
        folder: where each step has its own.
        still_ours: raises where another process works on it by now.
    """

    def __init__(self, study: Study, folder: Path, still_ours: Callable[[], None]) -> None:
        self.study = study
        self.folder = folder
        self.still_ours = still_ours
        self.model = study.parent
        self.blocks = {block.name: block for block in study.blocks}
        self.steps: list[dict[str, object]] = []

    def attempt(self, candidate: BlockSummary) -> None:
        """Compresses one more block, and keeps that where the network is still good enough."""
        block = self.blocks.get(candidate.block)
        if block is None:  # it overlaps one that is gone
            return
        study, method = self.study, candidate.best.method
        trial = Trial(method, block, study.settings.seeds[0])
        folder = self.folder / f"{len(self.steps) + 1}-{method}-{block.name}"
        result = self._finished(trial, folder) or self._retrain(trial, folder)
        step = {"block": block.name, "method": method, "kept": False, "accuracy": None}
        if result["status"] == "finished":
            step["accuracy"] = accuracy = result["row"]["chosen_accuracy"]
            drop = study.parent_result["baseline_accuracy"] - accuracy
            step["kept"] = drop <= study.settings.max_drop + 1e-12
        if step["kept"]:
            self.model = parents.load(folder / "model.keras")
            del self.blocks[block.name]
            self.blocks = {
                name: _behind(other, block)
                for name, other in self.blocks.items()
                if not set(other.layers) & set(block.layers)
            }
        self.steps.append(step)
        reached = "failed" if step["accuracy"] is None else f"accuracy {step['accuracy']:.4f}"
        end = "kept" if step["kept"] else "undone"
        study.progress.say(f"compressing {block.name} as well: {reached}, {end}")

    def finish(self) -> Path | None:
        """Saves the compressed model and what was done, and returns the model's file."""
        study = self.study
        kept = [step for step in self.steps if step["kept"]]
        result = {
            "max_drop": study.settings.max_drop,
            "baseline_accuracy": study.parent_result["baseline_accuracy"],
            "accuracy": kept[-1]["accuracy"] if kept else None,
            "steps": self.steps,
            "parent_parameters": costs.parameters(study.parent),
            "parameters": costs.parameters(self.model),
            "parent_macs": costs.macs(study.parent),
            "macs": costs.macs(self.model),
        }
        file = self.folder / "model.keras"
        self.still_ours()
        if kept:
            parents.save(self.model, file)
            study.progress.say(_outcome(result, file))
        else:
            file.unlink(missing_ok=True)
            study.progress.say("compressing: no block stays within --max_drop")
        files.write_json(self.folder / "result.json", result)
        return file if kept else None

    def _determining(self, trial: Trial) -> dict[str, object]:
        names = (trial.method, trial.block.name, trial.seed)
        return self.study.identity.of_trial(*names, guards.weights_digest(self.model))

    def _finished(self, trial: Trial, folder: Path) -> dict[str, object] | None:
        """Returns the result of a step that an earlier run has finished, whole and the same."""
        try:
            result = results.read_result(folder)
            if result and result["status"] == "finished":
                results.check_files(folder, result)
                if result["settings"] == self._determining(trial):
                    return result
        except DamagedFile as error:
            self.study.progress.say(f"{error}; it is made again")
        if (folder / "result.json").exists():
            shutil.rmtree(folder)
        return None

    def _retrain(self, trial: Trial, folder: Path) -> dict[str, object]:
        study = self.study
        study.progress.expect(trial.epochs(study.settings))
        with memory.released():
            source = activations.from_images(study.dataset)
            return trials.run(
                trial,
                Retraining(self.model, trial.block, study.dataset, source, study.settings),
                folder,
                self._determining(trial),
                study.parent_result | {"weights_sha256": guards.weights_digest(self.model)},
                f"compressing {trial}",
                study.progress,
                self.still_ours,
            )


def _candidates(study: Study) -> list[BlockSummary]:
    """Returns the blocks that alone lose no more than may be lost, the best savings first."""
    settings = study.settings
    reached = verdict.reach(results.read_study(study.folder), settings.max_drop)
    within = [
        block
        for block in reached.ranking
        if block.best.difference >= -settings.max_drop - 1e-12 and block.macs_saved > 0
    ]
    return sorted(within, key=lambda block: -block.macs_saved)


def _behind(block: Block, compressed: Block) -> Block:
    """Returns a block as it is found where another one has been compressed."""
    if block.after not in compressed.layers:
        return block
    return dataclasses.replace(block, after=compressed.compressed_layers[-1])


def _outcome(result: dict[str, object], file: Path) -> str:
    blocks = ", ".join(step["block"] for step in result["steps"] if step["kept"])
    macs, parameters = (1 - result[n] / result[f"parent_{n}"] for n in ("macs", "parameters"))
    return (
        f"compressed {blocks}: accuracy {result['accuracy']:.4f} "
        f"({result['accuracy'] - result['baseline_accuracy']:+.4f}), {100 * macs:.1f} % of the "
        f"multiply-accumulates and {100 * parameters:.1f} % of the parameters saved: {file}"
    )
