"""The network as its blocks are compressed one after another, and the steps taken."""

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.learning import guards
from deep_net_triage.network import exports
from deep_net_triage.network.block import Block
from deep_net_triage.records import models
from deep_net_triage.records.compressions import Step


@dataclass(frozen=True)
class _Kept:
    """A step that was not undone.

    Attributes:
        block: that was compressed.
        number: of the step, from 0.
        folder: of its files.
    """

    block: Block
    number: int
    folder: Path


class NetworkSoFar:
    """A network of which some blocks are compressed.

    Attributes:
        network: the parent with the steps that were kept.
        steps: all that were taken, in order, also those that were undone.
    """

    def __init__(self, parent: keras.Model) -> None:
        self.network = parent
        self.steps: list[Step] = []
        self._parent = parent
        self._kept: list[_Kept] = []

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks that are compressed, in the order of the steps."""
        return tuple(one.block for one in self._kept)

    @property
    def last(self) -> Step:
        """The last step that is kept; there must be one."""
        return self.steps[self._kept[-1].number]

    def overlaps(self, block: Block) -> bool:
        """Returns whether some layer of a block has been compressed."""
        return any(block.overlaps(one) for one in self.blocks)

    def as_it_is_now(self, block: Block) -> Block:
        """Returns a block as it is found in the network compressed so far."""
        for before in self.blocks:
            if block.after in before.layers:
                return dataclasses.replace(block, after=before.compressed_layers[-1])
        return block

    def take(self, step: Step, block: Block, folder: Path) -> None:
        """Adds a step, and goes on with its network if the step is kept."""
        self.steps.append(step)
        if step.kept:
            self.network = models.load(folder / "model.keras")
            self._kept.append(_Kept(block, len(self.steps) - 1, folder))

    def undo(self) -> None:
        """Undoes the last step that is kept; there must be one."""
        undone = self._kept.pop()
        self.steps[undone.number] = dataclasses.replace(self.steps[undone.number], kept=False)
        self.network = self._parent
        if self._kept:
            self.network = models.load(self._kept[-1].folder / "model.keras")


def save(network: keras.Model, file: Path) -> None:
    """Saves a compressed network, and removes the exports of another one from its folder."""
    with contextlib.suppress(InputError):
        if guards.weights_digest(models.load(file)) == guards.weights_digest(network):
            return
    exports.remove(file.parent)
    models.save(network, file)
