"""What students take for a batch on this machine, measured once all of them are trained."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from deep_net_triage.learning import memory
from deep_net_triage.network import latency_timing, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.network.latency_timing import Timing
from deep_net_triage.progress import Progress
from deep_net_triage.records import results
from deep_net_triage.records.results import TrialResult
from deep_net_triage.steps import Step
from deep_net_triage.study.identity import Parent
from deep_net_triage.study.ledger import Ledger
from deep_net_triage.study.plan import Plan
from deep_net_triage.study.watching import held


def measure(plan: Plan, parent: Parent, ledger: Ledger, progress: Progress) -> None:
    """Adds latencies, if `--latency` asks for them, to finished trials that have none yet.

    Trials may run side by side, each on a share of the cores; this needs the whole machine.
    All students of a block have the same layers, so only one is timed.
    """
    if not plan.settings.latency:
        return
    trials = plan.settings.folder / "trials"
    images = plan.dataset.test.images
    with held(trials, progress, "latency: waiting for {}, which is measuring it"):
        for block in plan.blocks:
            lacking = dict(_without_latency(plan, ledger, block))
            if not lacking:
                continue
            progress.step("latency", Step(f"timing the parent and a student of {block.name}"))
            with memory.released():
                student = surgery.compress(
                    parent.model, block, initializer="glorot_uniform", seed=0
                )
                measured = _columns(latency_timing.compare(parent.model, student, images))
            for folder, result in lacking.items():
                row = dataclasses.replace(result.row, **measured)
                results.write_result(folder, dataclasses.replace(result, row=row))
    ledger.write_table()


def _columns(timings: list[list[Timing]]) -> dict[str, float]:
    """Returns the latencies of a parent and its student as columns of a row, in seconds.

    Args:
        timings: of both for one image, and of both for a large batch.
    """
    columns = {}
    for name, both in zip(("latency", "batch_latency"), timings, strict=True):
        for column, timing in zip((f"parent_{name}", name), both, strict=True):
            columns |= {column: timing.median, f"{column}_spread": timing.spread}
    return columns


def _without_latency(
    plan: Plan, ledger: Ledger, block: Block
) -> Iterator[tuple[Path, TrialResult]]:
    """Yields each finished trial of a block that has no latency: its folder and its result."""
    for trial in plan.trials:
        folder = ledger.folder_of(trial)
        result = ledger.result(folder)
        finished = trial.block == block and isinstance(result, TrialResult)
        if finished and result.row.latency is None:
            yield folder, result
