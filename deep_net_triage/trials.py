"""One trial: from its student's start to its files."""

import time
from dataclasses import dataclass
from pathlib import Path

from deep_net_triage import costs, parents, results, training
from deep_net_triage.blocks import Block
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.methods import METHODS
from deep_net_triage.progress import Progress, duration
from deep_net_triage.retraining import Retraining, Trained
from deep_net_triage.settings import Settings


@dataclass(frozen=True)
class Trial:
    """One (method, block, seed)."""

    method: str
    block: Block
    seed: int

    def __str__(self) -> str:
        """How progress lines name it."""
        return f"{self.block.name} {self.method} seed {self.seed}"

    def epochs(self, settings: Settings) -> int:
        """Returns how many epochs it takes, those of the student-teacher phase included."""
        return settings.epochs + METHODS[self.method].distil * settings.distill_epochs


def run(
    trial: Trial,
    retraining: Retraining,
    folder: Path,
    determining: dict[str, object],
    baseline: float,
    name: str,
    progress: Progress,
) -> dict[str, object]:
    """Retrains one student, leaves its folder finished or failed, and returns its result.

    Args:
        trial: which.
        retraining: that of its block.
        folder: where its files go; what is there is replaced.
        determining: the settings that its result records.
        baseline: the parent's accuracy.
        name: of the trial, in progress lines.
        progress: where a person watches.
    """
    started = time.perf_counter()
    settings = retraining.settings
    report = results.start_afresh(folder)
    of = {"train": settings.epochs, "distill": settings.distill_epochs}

    def record(line: training.Record) -> None:
        report(line)
        progress.epoch(name, line, of[line["phase"]])

    result = {"status": "failed", "reason": None, "settings": determining}
    try:
        trained = retraining.run(trial.method, trial.seed, record)
    except TrainingFailed as failure:
        result["reason"] = str(failure)
        progress.say(f"{name}  failed: {failure}")
    else:
        if settings.save_models:
            parents.save(trained.model, folder / "model.keras")
        row = _row(trial, retraining, trained, baseline, results.read_epochs(folder))
        row["seconds"] = time.perf_counter() - started
        result |= {"status": "finished", "row": row}
        progress.say(
            f"{name}  max {row['max_accuracy']:.4f} ({0 - row['accuracy_drop']:+.4f}), "
            f"99 % at epoch {row['epochs_to_99']}, {duration(row['seconds'])}"
        )
    results.write_json(folder / "result.json", result)
    return result


def _row(
    trial: Trial,
    retraining: Retraining,
    trained: Trained,
    baseline: float,
    epochs: list[training.Record],
) -> dict[str, object]:
    """Returns a trial's line of `results.csv`, its time apart."""
    summary = results.summarize(epochs)
    return {
        "dataset": retraining.dataset.name,
        "method": trial.method,
        "block": trial.block.name,
        "seed": trial.seed,
        "baseline_accuracy": baseline,
        "initial_accuracy": trained.initial_accuracy,
        "distilled_accuracy": trained.distilled_accuracy,
        **summary,
        "distill_epochs": sum(record["phase"] == "distill" for record in epochs),
        "accuracy_drop": round(baseline - summary["max_accuracy"], 12),
        "parent_parameters": costs.parameters(retraining.parent),
        "parameters": costs.parameters(trained.model),
        "parent_macs": costs.macs(retraining.parent),
        "macs": costs.macs(trained.model),
    }
