"""Trains other small networks to compare a compressed one with, for as many epochs.

The alternatives are those of `records.alternatives.KINDS`. Each starts from other weights or
another architecture. Each has no more multiply-accumulates than the compressed network, except
perhaps `left_out`. Each is trained once per seed, on the same images and for as many epochs as
the compressed network was trained after the parent.
"""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.learning.whole_network import NetworkTraining
from deep_net_triage.network import scaling, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.network.halves import halves
from deep_net_triage.network.narrowing import redrawn
from deep_net_triage.network.pruning import pruned_to
from deep_net_triage.progress import Progress
from deep_net_triage.records import alternatives, compressions, models
from deep_net_triage.records.alternatives import FOLDER, KINDS
from deep_net_triage.records.compressions import Compression
from deep_net_triage.study.identity import Parent
from deep_net_triage.study.outcomes import rates_of_alternatives
from deep_net_triage.study.plan import Plan
from deep_net_triage.study.trials import LaterTrainings
from deep_net_triage.study.watching import held
from deep_net_triage.wording import listed


def run(plan: Plan, parent: Parent, progress: Progress, begins: Callable[[str], None]) -> None:
    """Trains the alternatives to a study's compressed network.

    Args:
        plan: of the study, whose compression has ended.
        parent: of the study.
        progress: shows messages, and how far the work has come.
        begins: called with the name of each training that begins.

    Raises:
        InputError: if another command has compressed other blocks meanwhile.
    """
    study = plan.settings.folder
    folder = study / FOLDER
    with held(folder, progress, "alternatives: waiting for {}, which is training them") as lock:
        # Read under the lock: without it another process may compress the parent anew.
        compression = compressions.read(study)
        if not compression or not compression.blocks:
            progress.say("alternatives: none, as there is no compressed network to compare")
            return
        folder.mkdir(exist_ok=True)
        trainings = LaterTrainings(
            plan.identity, plan.dataset, parent, progress, lock.check, begins
        )
        networks = _Networks(plan, parent.model, compression)
        refused: dict[str, str] = {}
        alternatives.write_refusals(study, refused)
        # All kinds are trained from one seed before any is from the next.
        for seed, kind in itertools.product(plan.settings.final_seeds, KINDS):
            if kind in refused:
                continue
            try:
                network = networks.make(kind, seed)
            except InputError as reason:
                refused[kind] = str(reason)
                alternatives.write_refusals(study, refused)
                progress.say(f"alternatives: {KINDS[kind].title}: not possible: {reason}")
            else:
                _train(kind, seed, network, compression.epochs, trainings)


def _train(
    kind: str,
    seed: int,
    network: keras.Model,
    epochs: int,
    trainings: LaterTrainings,
) -> None:
    """Trains an alternative from one seed."""
    settings = trainings.identity.settings
    rate = rates_of_alternatives(settings)[kind]
    teacher = trainings.parent.model if KINDS[kind].taught else None
    folder = alternatives.folder_of(settings.folder, kind, seed)
    name = f"alternative {KINDS[kind].title}, seed {seed}"
    lesson = NetworkTraining(rate, epochs, seed, teacher=teacher)
    result = trainings.run_network(lesson, name, network, folder)
    # Tables take the mean over seeds, which must not mix settings.
    for other in alternatives.remove_others(settings.folder, kind, result.settings):
        trainings.progress.say(f"{other} is removed: it was trained with other settings")


class _Networks:
    """Makes the networks with which the alternatives start.

    Raises:
        InputError: if one of its blocks is not of this plan.
    """

    def __init__(self, plan: Plan, parent: keras.Model, compression: Compression) -> None:
        self.parent = parent
        self.macs = compression.macs
        self.compressed: Path = plan.settings.folder / compressions.FOLDER / "model.keras"
        known = {block.name: block for block in plan.blocks}
        for block in plan.blocks:
            known |= {half.name: half for half in halves(plan.network, block)}
        if unknown := [name for name in compression.blocks if name not in known]:
            raise InputError(
                f"another command has compressed {listed(unknown)}; run this one again"
            )
        self.blocks: list[Block] = [known[name] for name in compression.blocks]

    def make(self, kind: str, seed: int) -> keras.Model:
        """Returns the network of a kind.

        Raises:
            InputError: if there is none for this parent and these blocks.
        """
        makers = {
            "scratch": self._fresh,
            "scratch_taught": self._fresh,
            "left_out": self._without,
            "narrow": self._narrow,
            "pruned": self._pruned,
        }
        return makers[kind](seed)

    def _fresh(self, seed: int) -> keras.Model:
        return redrawn(models.load(self.compressed), seed)

    def _without(self, seed: int) -> keras.Model:
        """Returns the parent without those of the compressed blocks that keep the shape."""
        network, entered = self.parent, {}
        for block in self.blocks:
            # If the block before is removed, this one receives that block's input.
            after = entered.get(block.after, block.after)
            rest = surgery.bypass(network, dataclasses.replace(block, after=after))
            if rest:
                network = rest
                entered = {k: after if v in block.layers else v for k, v in entered.items()}
                entered[block.layers[-1]] = after
        if network is self.parent:
            names = listed([block.name for block in self.blocks])
            raise InputError(f"{names} can't be left out: the shape of the maps changes there")
        return network

    def _narrow(self, seed: int) -> keras.Model:
        return scaling.scaled_to(self.parent, self.macs, seed=seed)

    def _pruned(self, seed: int) -> keras.Model:
        return pruned_to(self.parent, self.blocks, self.macs)
