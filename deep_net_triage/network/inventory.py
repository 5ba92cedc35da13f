"""The sizes and costs of a model's blocks, and why some are large."""

from collections.abc import Iterable

import keras

from deep_net_triage.network import costs, segments, surgery
from deep_net_triage.network.blocks import Block
from deep_net_triage.network.descriptions import BlockDescription
from deep_net_triage.network.graphs import Graph, by_name


def of_blocks(model: keras.Model, blocks: Iterable[Block]) -> tuple[BlockDescription, ...]:
    """Returns the size and cost of each block and of its replacement.

    Args:
        model: the parent.
        blocks: some of its blocks.
    """
    return tuple(_described(model, block) for block in blocks)


def undivided(model: keras.Model, blocks: Iterable[Block]) -> list[str]:
    """Returns a line for each block that spans several resolutions, with the reason.

    Args:
        model: the parent.
        blocks: some of its blocks.
    """
    graph, lines = Graph(model), []
    for block in blocks:
        part = segments.undivided(graph, list(block.layers))
        if part:
            lines.append(
                f"{block.name} can't be divided: between {part[0]} and {part[1]} there is no "
                "place at which a single tensor connects the layers before and behind it"
            )
    return lines


def _described(model: keras.Model, block: Block) -> BlockDescription:
    operations = by_name(model)
    own = [operations[name] for name in block.layers]
    replacement = surgery.replacement(model, block)
    return BlockDescription(
        name=block.name,
        first=block.layers[0],
        last=block.layers[-1],
        pool=block.pool,
        layers=len(block.layers),
        convolutions=len(block.convolutions),
        received=tuple(block.received_by(model).shape[1:]),
        returned=tuple(own[-1].output.shape[1:]),
        parameters=costs.parameters_of(own),
        macs=costs.macs_of(own),
        compressed_parameters=costs.parameters(replacement),
        compressed_macs=costs.macs(replacement),
    )
