"""The halves of a block: what can be replaced where the whole block costs too much accuracy."""

import itertools
from collections.abc import Iterator

import keras

from deep_net_triage.network import blocks, costs, layer_kinds, segments, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.network.graphs import Graph


def halves(model: keras.Model, block: Block) -> tuple[Block, ...]:
    """Returns the halves of a block that one convolution can replace, each a block itself.

    A block can be divided in front of a residual unit or of a convolution, but not where it is
    wider than at its ends, as inside an inverted bottleneck. A place where both parts are
    blocks is preferred to one where a single part is, then the one closest to half of the
    multiply-accumulates.

    Args:
        model: a flat functional model of fixed sides that holds the block uncompressed. Other
            blocks of it may be compressed.
        block: one of its blocks.

    Returns:
        `<block>_first`, `<block>_last`, or both. A half is left out if it has fewer than two
        convolutions, or if its replacement would save nothing.

    Raises:
        InputError: if the block is not one of this model.
    """
    blocks.check_belongs(model, block)
    graph = Graph(model)
    # A copy of the model may list parallel branches in another order.
    names = [name for name in graph.operations if name in block.layers]
    total = costs.macs_of(graph.operations[name] for name in names)
    best: tuple[Block, ...] = ()
    least = total
    for first, last in _divisions(graph, names):
        parts = _half(model, graph, block, first), _half(model, graph, block, last)
        found = tuple(part for part in parts if part)
        apart = abs(total - 2 * costs.macs_of(graph.operations[name] for name in first))
        if (-len(found), apart) < (-len(best), least):
            best, least = found, apart
    return best


def _divisions(graph: Graph, names: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yields the layers before and after each place at which a segment can be divided."""
    ends = graph.operations[graph.received[names[0]][0]], graph.operations[names[-1]]
    widest = max(operation.output.shape[-1] for operation in ends)
    for before, step in itertools.pairwise(segments.steps(graph, names)):
        begins = len(step) > 1 or layer_kinds.is_convolution(graph.operations[step[0]])
        if begins and graph.operations[before[-1]].output.shape[-1] <= widest:
            cut = names.index(step[0])
            yield names[:cut], names[cut:]


def _half(model: keras.Model, graph: Graph, block: Block, names: list[str]) -> Block | None:
    """Returns a part of a block as a block; None if it isn't one, or saves nothing."""
    if segments.refusal(graph, names, block.replacement):
        return None
    which, pool = ("last", block.pool) if block.layers[-1] in names else ("first", None)
    name = _unused_name(graph, f"{block.name}_{which}")
    half = blocks.of_layers(graph, name, names, pool, block.replacement)
    own = [graph.operations[name] for name in names]
    replacement = surgery.replacement_model(model, half)
    saves = costs.macs(replacement) < costs.macs_of(own)
    saves |= costs.parameters(replacement) < costs.parameters_of(own)
    return half if saves else None


def _unused_name(graph: Graph, name: str) -> str:
    """Returns a name that no layer has, and no block that is named by its layers."""
    numbered = itertools.chain([name], (f"{name}{number}" for number in itertools.count(2)))
    return next(
        free
        for free in numbered
        if not any(f"-{free}".endswith(f"-{layer}") for layer in graph.operations)
    )
