"""How blocks are found in a model, by the layers they are named after or by their numbers.

The paper's blocks are the convolutions before each pooling of VGG16 (2.2). In other networks a
block reaches from one change of resolution to the next, which makes the stages of a residual
network its blocks.
"""

import itertools
from dataclasses import dataclass

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.network import activations, layer_kinds, segments
from deep_net_triage.network.block import REPLACEMENTS, Block
from deep_net_triage.network.descriptions import Refused
from deep_net_triage.network.graphs import Graph, by_name


@dataclass(frozen=True)
class Survey:
    """Every segment of a model that holds a convolution, in the order of the network.

    Attributes:
        model: that the segments belong to.
        replacement: of the blocks, one of `REPLACEMENTS`.
        blocks: the segments that one convolution can replace.
        refused: the others.
    """

    model: keras.Model
    replacement: str
    blocks: tuple[Block, ...]
    refused: tuple[Refused, ...]

    def select(self, names: tuple[str, ...] | None) -> tuple[Block, ...]:
        """Returns the chosen blocks in the order of the network.

        Args:
            names: names of blocks, their numbers from 1, or `first:last` layers; None for all
                blocks.

        Raises:
            InputError: if a name fits no block, or if there are none.
        """
        by_layers = bool(names) and all(":" in name for name in names)
        if not (self.blocks or by_layers):
            reasons = "".join(f"; {r.first} to {r.last}: {r.reason}" for r in self.refused)
            raise InputError(
                f"no block found in {self.model.name}: a block is a segment of two or more "
                "convolutions, with one tensor in and one out, that one 3x3 convolution can "
                f"replace{reasons}"
            )
        if names is None:
            return self.blocks
        blocks = {block.name: block for block in self.blocks}
        blocks |= {str(number): block for number, block in enumerate(self.blocks, start=1)}
        chosen = set()
        for name in names:
            if ":" in name:
                chosen.add(named(self.model, *name.split(":", 1), self.replacement))
            elif name in blocks:
                chosen.add(blocks[name])
            else:
                allowed = ", ".join(block.name for block in self.blocks)
                raise InputError(
                    f"--block={name} is not a block; allowed: 1 to {len(self.blocks)}, "
                    f"{allowed}, or first_layer:last_layer"
                )
        position = {name: number for number, name in enumerate(by_name(self.model))}
        return tuple(
            sorted(
                chosen,
                key=lambda block: (position[block.layers[0]], position[block.layers[-1]]),
            )
        )


def survey(model: keras.Model, replacement: str = "conv") -> Survey:
    """Returns every segment of a model that holds a convolution, as a block or refused.

    Args:
        model: a flat functional model, as `flattening.flat` returns it.
        replacement: of the blocks, one of `REPLACEMENTS`.

    Raises:
        InputError: for another replacement.
    """
    if replacement not in REPLACEMENTS:
        raise InputError(f"replacement={replacement}: allowed: {', '.join(REPLACEMENTS)}")
    graph = Graph(model)
    blocks: list[Block] = []
    refused: list[Refused] = []
    for steps, pool in segments.runs(graph):
        steps, reason = _longest_that_fits(graph, steps, refused, replacement)
        names = [name for step in steps for name in step]
        if reason:
            layer = segments.stopped_by(graph, names)
            reason += f"; it stops before {layer}, which no block can hold" if layer else ""
            refused.append(Refused(names[0], names[-1], reason))
        else:
            name = f"block{len(blocks) + 1}"
            blocks.append(of_layers(graph, name, names, pool, replacement))
    in_head = [
        n for n in segments.head(graph) if layer_kinds.is_convolution(graph.operations[n])
    ]
    if in_head:
        refused.append(Refused(in_head[0], in_head[-1], segments.HEAD))
    return Survey(model, replacement, tuple(blocks), tuple(refused))


def find_blocks(model: keras.Model, replacement: str = "conv") -> tuple[Block, ...]:
    """Returns a model's blocks in order.

    Args:
        model: a flat functional model, as `flattening.flat` returns it.
        replacement: of the blocks, one of `REPLACEMENTS`.

    Raises:
        InputError: if there are none, or for another replacement.
    """
    return survey(model, replacement).select(None)


def named(model: keras.Model, first: str, last: str, replacement: str = "conv") -> Block:
    """Returns the block from one layer to another, both included.

    Raises:
        InputError: if the model has no such layer, or one convolution can't replace the
            segment; the message gives the reason.
    """
    graph = Graph(model)
    flag = f"--block={first}:{last}"
    for name in (first, last):
        if name not in graph.operations:
            some = ", ".join([name for name in graph.operations if graph.received[name]][:3])
            raise InputError(
                f"{flag}: {model.name} has no layer {name}; allowed: its layers {some}, ..."
            )
    try:
        names = graph.between(first, last)
    except InputError as error:
        raise InputError(f"{flag} can't be cut out: {error}") from error
    reason = segments.refusal(graph, names, replacement)
    if reason:
        raise InputError(f"{flag} can't be triaged: {reason}")
    pool = segments.pooling_behind(graph, last)
    return of_layers(graph, f"{first}-{last}", names, pool, replacement)


def largest(blocks: tuple[Block, ...]) -> Block:
    """Returns the first of the blocks with the most convolutions."""
    return max(blocks, key=lambda block: len(block.convolutions))


def check_belongs(model: keras.Model, block: Block) -> None:
    """Checks that a block describes a segment of a model.

    Raises:
        InputError: if the model does not hold its layers, or connects them differently.
    """
    graph = Graph(model)
    missing = [name for name in block.layers if name not in graph.operations]
    if missing:
        raise InputError(
            f"{block.name} is not a block of {model.name}, which has no layer {missing[0]}; "
            "allowed: blocks that find_blocks returns for this model"
        )
    if not _is_segment(graph, block):
        raise InputError(
            f"{block.name} is not a block of {model.name}, which connects its layers "
            "differently; allowed: blocks that find_blocks returns for this model"
        )


def _is_segment(graph: Graph, block: Block) -> bool:
    """Returns whether a block's layers have its one tensor in and its one tensor out."""
    # A copy of the model may list parallel branches in another order.
    names = [name for name in graph.operations if name in block.layers]
    sources = {source for name in names for source in graph.received[name]}.difference(names)
    entries = {source if graph.received[source] else None for source in sources}
    exits = {name for name in names if not set(graph.following[name]) <= set(names)}
    return (
        entries == {block.after}
        and exits <= {block.layers[-1]}
        and segments.shape_of(graph, names) == block.shape
    )


def _longest_that_fits(
    graph: Graph, steps: list[list[str]], refused: list[Refused], replacement: str
) -> tuple[list[list[str]], str | None]:
    """Returns the longest tail of a run that is a block, or the run and why it is refused.

    The steps before that tail are added to the refused ones.
    """
    whole = segments.refusal(graph, [name for step in steps for name in step], replacement)
    for start in range(1, len(steps)) if whole else ():
        names = [name for step in steps[start:] for name in step]
        if not segments.refusal(graph, names, replacement):
            refused.append(Refused(steps[0][0], steps[start - 1][-1], whole))
            return steps[start:], None
    return steps, whole


def of_layers(
    graph: Graph, name: str, names: list[str], pool: str | None, replacement: str
) -> Block:
    """Returns a segment that is not refused as a block.

    Args:
        graph: of the whole model.
        name: of the block.
        names: the segment's operations in order.
        pool: the pooling after it; None without one.
        replacement: one of `REPLACEMENTS`.
    """
    after = graph.received[names[0]][0]
    return Block(
        name=name,
        after=after if graph.received[after] else None,
        layers=tuple(names),
        convolutions=tuple(n for n in names if layer_kinds.is_convolution(graph.operations[n])),
        batchnorms=tuple(
            n for n in names if isinstance(graph.operations[n], keras.layers.BatchNormalization)
        ),
        pool=pool,
        shape=segments.shape_of(graph, names),
        activation=activations.of_end(graph.operations, graph.received, names),
        compressed_layers=_compressed_names(graph, name),
        replacement=replacement,
    )


def _compressed_names(graph: Graph, name: str) -> tuple[str, str, str]:
    """Returns names for the layers that replace a block, numbered where they are taken.

    The parent may itself be a student of an earlier round, and hold `block1_compressed_conv`.
    """
    stems = (
        f"{name}_compressed{number}" for number in itertools.chain([""], itertools.count(2))
    )
    return next(
        names
        for names in ((f"{stem}_conv", f"{stem}_bn", f"{stem}_activation") for stem in stems)
        if graph.operations.keys().isdisjoint(names)
    )
