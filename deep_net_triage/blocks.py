"""What a block is, and how it is found in a model: once, as a value, by layer names.

A block is a run of 3x3 convolutions, with their batch normalisations and activations, before a
pooling (2.2). Everything else in this package speaks in blocks and never in a network's own
layer names; since a block holds names and no layers, it means the same in a parent and in
every copy of it.
"""

from dataclasses import dataclass

import keras

from deep_net_triage.errors import InputError

_POOLINGS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
_ACTIVATIONS = (keras.layers.Activation, keras.layers.ReLU)


@dataclass(frozen=True)
class Block:
    """A segment of a model that one convolution can replace.

    Attributes:
        name: `block1` for the first.
        layers: the layers that are replaced, in order.
        convolutions: those of them that convolve.
        batchnorms: those of them that normalise.
        pool: the pooling behind them, whose output is what the block returns.
        filters: channels of what the block returns.
    """

    name: str
    layers: tuple[str, ...]
    convolutions: tuple[str, ...]
    batchnorms: tuple[str, ...]
    pool: str
    filters: int

    @property
    def compressed_layers(self) -> tuple[str, str, str]:
        """Names of the convolution, batch normalisation and activation that replace it."""
        conv, bn, relu = (f"{self.name}_compressed_{kind}" for kind in ("conv", "bn", "relu"))
        return conv, bn, relu

    def received_by(self, model: keras.Model) -> keras.KerasTensor:
        """Returns the tensor that enters the block in a model, compressed or not."""
        first = {self.layers[0], self.compressed_layers[0]}
        return next(layer.input for layer in model.layers if layer.name in first)

    def returned_by(self, model: keras.Model) -> keras.KerasTensor:
        """Returns the tensor that leaves the block, pooled, in a model, compressed or not."""
        return model.get_layer(self.pool).output


def find_blocks(model: keras.Model) -> tuple[Block, ...]:
    """Returns a model's blocks in order: two or more convolutions before a pooling.

    Only convolutions that keep height and width count, as the one in their place does: 3x3,
    with stride 1 and same padding.

    Args:
        model: a functional model whose layers are each called once.

    Raises:
        InputError: if there are none.
    """
    following = _following(model)
    blocks: list[Block] = []
    run: list[keras.layers.Layer] = []
    for layer in model.layers:
        if isinstance(layer, _POOLINGS) and run and following.get(run[-1].name) == [layer.name]:
            if len(_of(run, keras.layers.Conv2D)) > 1:
                blocks.append(_block(f"block{len(blocks) + 1}", run, layer))
            run = []
        elif _continues(run, layer, following):
            run.append(layer)
        else:
            run = [layer] if _is_convolution(layer) else []
    if not blocks:
        raise InputError(
            f"no block found in {model.name}: a block is two or more 3x3 Conv2D layers of "
            "stride 1 and same padding in a row before a pooling"
        )
    return tuple(blocks)


def select(blocks: tuple[Block, ...], names: tuple[str, ...] | None) -> tuple[Block, ...]:
    """Returns the blocks that names or numbers from 1 pick; all for None.

    Raises:
        InputError: if a name or number picks none.
    """
    if names is None:
        return blocks
    by_name = {block.name: block for block in blocks}
    by_name |= {str(number): block for number, block in enumerate(blocks, start=1)}
    for name in names:
        if name not in by_name:
            allowed = ", ".join(block.name for block in blocks)
            raise InputError(
                f"--block={name} is no block; allowed: 1 to {len(blocks)}, {allowed}, or all"
            )
    chosen = {by_name[name] for name in names}
    return tuple(block for block in blocks if block in chosen)


def largest(blocks: tuple[Block, ...]) -> Block:
    """Returns the first of the blocks with the most convolutions."""
    return max(blocks, key=lambda block: len(block.convolutions))


def _following(model: keras.Model) -> dict[str, list[str]]:
    """Maps each layer's name to the names of the layers that receive its output."""
    producers = {
        id(tensor): layer.name
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.output)
    }
    following: dict[str, list[str]] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        for tensor in keras.tree.flatten(layer.input):
            # A layer that is a model returns tensors of its own, which this one does not know.
            if id(tensor) in producers:
                following.setdefault(producers[id(tensor)], []).append(layer.name)
    return following


def _continues(
    run: list[keras.layers.Layer], layer: keras.layers.Layer, following: dict[str, list[str]]
) -> bool:
    """Says whether a layer belongs to the run before it, and to nothing else."""
    replaceable = (keras.layers.BatchNormalization, *_ACTIVATIONS)
    fits = _is_convolution(layer) or isinstance(layer, replaceable)
    return bool(run) and fits and following.get(run[-1].name) == [layer.name]


def _is_convolution(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.kernel_size == (3, 3)
        and layer.strides == layer.dilation_rate == (1, 1)
        and layer.padding == "same"
        and layer.groups == 1
    )


def _block(name: str, run: list[keras.layers.Layer], pool: keras.layers.Layer) -> Block:
    convolutions = _of(run, keras.layers.Conv2D)
    return Block(
        name=name,
        layers=tuple(layer.name for layer in run),
        convolutions=tuple(layer.name for layer in convolutions),
        batchnorms=tuple(layer.name for layer in _of(run, keras.layers.BatchNormalization)),
        pool=pool.name,
        filters=convolutions[-1].filters,
    )


def _of(run: list[keras.layers.Layer], kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in run if isinstance(layer, kind)]
