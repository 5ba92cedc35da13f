"""What a block is, and how it is found in a model: once, as a value, by layer names.

A block is a segment of a network that one convolution can replace: one tensor goes in, one
comes out, and between them are two convolutions or more. The paper's are the convolutions
before each pooling of VGG16 (2.2). In any other network a segment goes from one change of
resolution to the next, which for residual networks are their stages. Everything else in this
package speaks in blocks and never in a network's own layer names; since a block holds names
and no layers, it means the same in a parent and in every copy of it.
"""

from dataclasses import dataclass

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.network import segments
from deep_net_triage.network.descriptions import Refused
from deep_net_triage.network.graphs import Graph, by_name
from deep_net_triage.network.segments import Shape


@dataclass(frozen=True)
class Block:
    """A segment of a model that one convolution can replace.

    Attributes:
        name: `block1` for the first, `first_layer-last_layer` for one that was asked for so.
        after: the operation that returns what the block receives; None for the model's input,
            whose name is not the same in every copy.
        layers: the operations that are replaced, in order.
        convolutions: those of them that convolve.
        batchnorms: those of them that normalise over the batch.
        pool: the pooling behind them, whose output is what the block returns; None where none
            follows.
        shape: of the convolution in their place.
        activation: the operation whose activation ends the block; None where it ends without,
            as linear bottlenecks and sums of residuals do.
    """

    name: str
    after: str | None
    layers: tuple[str, ...]
    convolutions: tuple[str, ...]
    batchnorms: tuple[str, ...]
    pool: str | None
    shape: Shape
    activation: str | None

    @property
    def compressed_layers(self) -> tuple[str, str, str]:
        """Names of the convolution, batch normalisation and activation that replace it."""
        conv, bn, activation = (
            f"{self.name}_compressed_{kind}" for kind in ("conv", "bn", "activation")
        )
        return conv, bn, activation

    def convolutions_in(self, parent: keras.Model) -> list[keras.layers.Layer]:
        """Returns the block's convolutions in a model that holds it uncompressed."""
        return [parent.get_layer(name) for name in self.convolutions]

    def batchnorms_in(self, parent: keras.Model) -> list[keras.layers.BatchNormalization]:
        """Returns the block's batch norms in a model that holds it uncompressed."""
        return [parent.get_layer(name) for name in self.batchnorms]

    def received_by(self, model: keras.Model) -> keras.KerasTensor:
        """Returns the tensor that enters the block in a model, compressed or not."""
        return by_name(model)[self.after].output if self.after else model.inputs[0]

    def returned_by(self, model: keras.Model) -> keras.KerasTensor:
        """Returns the tensor that leaves the block, pooled, in a model, compressed or not."""
        operations = by_name(model)
        ends = (self.pool, self.compressed_layers[-1], self.layers[-1])
        return next(operations[name].output for name in ends if name in operations)


@dataclass(frozen=True)
class Survey:
    """What was found in a model, in its order.

    Attributes:
        blocks: what can be triaged.
        refused: and what can't.
    """

    blocks: tuple[Block, ...]
    refused: tuple[Refused, ...]


def survey(model: keras.Model) -> Survey:
    """Returns every segment of a model that holds a convolution, as a block or refused.

    Args:
        model: a functional model without models in it whose layers are each called once.

    Raises:
        InputError: if none is a block.
    """
    graph = Graph(model)
    blocks: list[Block] = []
    refused: list[Refused] = []
    for steps, pool in segments.runs(graph):
        steps, reason = _longest_that_fits(graph, steps, refused)
        names = [name for step in steps for name in step]
        if reason:
            refused.append(Refused(names[0], names[-1], reason))
        else:
            blocks.append(_block(graph, f"block{len(blocks) + 1}", names, pool))
    if not blocks:
        reasons = "".join(f"; {r.first} to {r.last}: {r.reason}" for r in refused)
        raise InputError(
            f"no block found in {model.name}: a block is a segment of two or more "
            "convolutions, with one tensor in and one out, that one 3x3 convolution can "
            f"replace{reasons}"
        )
    return Survey(tuple(blocks), tuple(refused))


def find_blocks(model: keras.Model) -> tuple[Block, ...]:
    """Returns a model's blocks in order.

    Args:
        model: a functional model without models in it whose layers are each called once.

    Raises:
        InputError: if there are none.
    """
    return survey(model).blocks


def named(model: keras.Model, first: str, last: str) -> Block:
    """Returns the block from one layer to another, both included.

    Raises:
        InputError: if a layer is not there, or the segment can't be triaged, with the reason.
    """
    graph = Graph(model)
    asked = f"--block={first}:{last}"
    for name in (first, last):
        if name not in graph.operations:
            raise InputError(
                f"{asked}: {model.name} has no layer {name}; --list_blocks shows some"
            )
    try:
        names = graph.between(first, last)
    except InputError as error:
        raise InputError(f"{asked} can't be cut out: {error}") from error
    reason = segments.refusal(graph, names)
    if reason:
        raise InputError(f"{asked} can't be triaged: {reason}")
    return _block(graph, f"{first}-{last}", names, segments.pooling_behind(graph, last))


def select(
    model: keras.Model, found: tuple[Block, ...], names: tuple[str, ...] | None
) -> tuple[Block, ...]:
    """Returns the blocks that names, numbers from 1 or `first:last` pick; all for None.

    They come in the order of the network.

    Raises:
        InputError: if one of them picks none.
    """
    if names is None:
        return found
    blocks = {block.name: block for block in found}
    blocks |= {str(number): block for number, block in enumerate(found, start=1)}
    chosen = set()
    for name in names:
        if ":" in name:
            chosen.add(named(model, *name.split(":", 1)))
        elif name in blocks:
            chosen.add(blocks[name])
        else:
            allowed = ", ".join(block.name for block in found)
            raise InputError(
                f"--block={name} is no block; allowed: 1 to {len(found)}, {allowed}, "
                "first_layer:last_layer, or all"
            )
    position = {name: number for number, name in enumerate(by_name(model))}
    return tuple(
        sorted(
            chosen, key=lambda block: (position[block.layers[0]], position[block.layers[-1]])
        )
    )


def largest(blocks: tuple[Block, ...]) -> Block:
    """Returns the first of the blocks with the most convolutions."""
    return max(blocks, key=lambda block: len(block.convolutions))


def _longest_that_fits(
    graph: Graph, steps: list[list[str]], refused: list[Refused]
) -> tuple[list[list[str]], str | None]:
    """Returns the longest end of a run that is a block, else the run and why it is none.

    What comes before that end is added to what is refused.
    """
    whole = segments.refusal(graph, [name for step in steps for name in step])
    for start in range(1, len(steps)) if whole else ():
        names = [name for step in steps[start:] for name in step]
        if not segments.refusal(graph, names):
            refused.append(Refused(steps[0][0], steps[start - 1][-1], whole))
            return steps[start:], None
    return steps, whole


def _block(graph: Graph, name: str, names: list[str], pool: str | None) -> Block:
    after = graph.received[names[0]][0]
    return Block(
        name=name,
        after=after if graph.received[after] else None,
        layers=tuple(names),
        convolutions=tuple(n for n in names if segments.convolves(graph.operations[n])),
        batchnorms=tuple(
            n for n in names if isinstance(graph.operations[n], keras.layers.BatchNormalization)
        ),
        pool=pool,
        shape=segments.replacement(graph, names),
        activation=segments.activation(graph, names),
    )
