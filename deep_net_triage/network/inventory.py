"""The sizes and costs of a model's blocks, and why some are large."""

from collections.abc import Iterable
from dataclasses import replace

import keras

from deep_net_triage.network import costs, segments, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.network.descriptions import BlockDescription
from deep_net_triage.network.graphs import Graph, by_name


def of_blocks(model: keras.Model, blocks: Iterable[Block]) -> tuple[BlockDescription, ...]:
    """Returns the size and cost of each block and of its replacement."""
    return tuple(_described(model, block) for block in blocks)


def share_layers(model: keras.Model, blocks: Iterable[BlockDescription]) -> bool:
    """Returns whether a layer of a model belongs to several of some blocks.

    Blocks that were found in a model never share one; blocks that a user names may.
    """
    graph, layers = Graph(model), []
    for block in blocks:
        # Some of its layers may lie beside the first, as in a branch around it.
        (received,) = set(graph.received[block.first])
        layers += graph.on_paths(received, block.last) - {received}
    return len(layers) > len(set(layers))


def recommended(model: keras.Model, blocks: Iterable[Block]) -> list[str]:
    """Returns a line that recommends the separable replacement, if it suits some of the blocks.

    These are blocks whose multiply-accumulates are fewer than those of one 3x3 convolution, and
    more than those of a separable one, such as depthwise stages.
    """
    better = [block.name for block in blocks if _is_better_separable(model, block)]
    if not better:
        return []
    return [
        "--replacement=separable is recommended: a 3x3 convolution costs more than what it "
        f"would replace ({', '.join(better)}); a separable one costs less"
    ]


def undivided(model: keras.Model, blocks: Iterable[Block]) -> list[str]:
    """Returns a line for each block that spans several resolutions, with the reason."""
    graph, lines = Graph(model), []
    for block in blocks:
        part = segments.undivided(graph, list(block.layers))
        if part:
            lines.append(
                f"{block.name} can't be divided: between {part[0]} and {part[1]} there is no "
                "place at which a single tensor connects the layers before and after it"
            )
    return lines


def _is_better_separable(model: keras.Model, block: Block) -> bool:
    rows, columns = block.shape.strides
    if block.replacement == "separable" or rows != columns:
        return False
    separable = _described(model, replace(block, replacement="separable")).compressed_macs
    whole = _described(model, block)
    return separable < whole.macs < whole.compressed_macs


def _described(model: keras.Model, block: Block) -> BlockDescription:
    operations = by_name(model)
    own = [operations[name] for name in block.layers]
    replacement = surgery.replacement_model(model, block)
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
