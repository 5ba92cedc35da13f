"""A parent and a block become a student: the same network with the block compressed (2.2)."""

from collections.abc import Callable

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.network import graphs, initializers
from deep_net_triage.network.blocks import Block, check_belongs
from deep_net_triage.network.initializers import KERNEL_SIZE

_INITIALIZERS = ("glorot_uniform", "mean")


def compress(
    parent: keras.Model,
    block: Block,
    *,
    initializer: str,
    seed: int,
    mean_over: str = "block",
    batchnorm_momentum: float = 0.9,
    synchronized: bool = False,
) -> keras.Model:
    """Returns a new model: the parent with a block replaced by one convolution (Eq. 1).

    In place of the block stand one 3x3 Conv2D with as many filters as the block returns and
    its total stride, BatchNormalization, and the activation it ends with, before the block's
    own pooling. Everything else carries the parent's weights; the parent itself does not
    change, and no variable is shared with it.

    Args:
        parent: a functional model.
        block: one of its blocks.
        initializer: `glorot_uniform`, or the `mean` of the parent's block.
        seed: of the random initialisation.
        mean_over: what the mean is taken over: `block` or `channel`.
        batchnorm_momentum: of the compressed block's moving statistics.
        synchronized: whether batch normalisation takes the statistics of the global batch,
            which under several replicas alone keeps theirs equal.
    """
    check_belongs(parent, block)
    compressed = _compressed_layers(parent, block, batchnorm_momentum, synchronized)

    def call_compressed(tensor: keras.KerasTensor) -> keras.KerasTensor:
        for layer in compressed:
            tensor = layer(tensor)
        return tensor

    student = replace(parent, block, call_compressed, synchronized=synchronized)
    student.name = f"{parent.name}_{block.name}_compressed"
    start(student, parent, block, initializer=initializer, seed=seed, mean_over=mean_over)
    return student


def replace(
    parent: keras.Model,
    block: Block,
    replacement: Callable[[keras.KerasTensor], keras.KerasTensor],
    *,
    synchronized: bool = False,
) -> keras.Model:
    """Returns a new model: the parent with something else in the place of a block's layers.

    Args:
        parent: a functional model; its weights are not copied.
        block: one of its blocks.
        replacement: makes of what the block receives what it returns, its pooling apart.
        synchronized: whether batch normalisation takes the statistics of the global batch.
    """
    received = {}

    def copy(operation: keras.Operation) -> keras.Operation:
        return _copied(operation, synchronized)

    def call(operation: keras.Operation, *args: object, **kwargs: object) -> object:
        """Calls a copy, and the replacement in place of the block's last layer."""
        if operation.name not in block.layers:
            return operation(*args, **kwargs)
        inputs = keras.tree.flatten(args)[0]
        if operation.name == block.layers[0]:
            received["tensor"] = inputs
        if operation.name != block.layers[-1]:
            return inputs  # which nothing but the block reads
        return replacement(received["tensor"])

    return keras.models.clone_model(parent, clone_function=copy, call_function=call)


def copy_around(parent: keras.Model, model: keras.Model, block: Block) -> None:
    """Gives a model the parent's weights everywhere but in a block and what replaces it."""
    outside = {layer.name: layer for layer in parent.layers if layer.name not in block.layers}
    for layer in model.layers:
        if layer.weights and layer.name in outside:
            graphs.copy_weights(outside[layer.name], layer)


def replacement(parent: keras.Model, block: Block) -> keras.Model:
    """Returns the layers that take a block's place, alone and untrained."""
    x = received = keras.Input(block.received_by(parent).shape[1:])
    for layer in _compressed_layers(parent, block):
        x = layer(x)
    return keras.Model(received, x)


def start(
    student: keras.Model,
    parent: keras.Model,
    block: Block,
    *,
    initializer: str,
    seed: int,
    mean_over: str = "block",
) -> None:
    """Takes a student back to where its training starts, whatever it was trained to.

    Args:
        student: the parent with the block compressed.
        parent: whose weights it gets everywhere else.
        block: the block.
        initializer: `glorot_uniform`, or the `mean` of the parent's block.
        seed: of the random initialisation, and of what the student's layers draw at random.
        mean_over: what the mean is taken over: `block` or `channel`.
    """
    if initializer not in _INITIALIZERS:
        raise InputError(f"initializer={initializer}: allowed: {', '.join(_INITIALIZERS)}")
    convolution, batchnorm, activation = (
        student.get_layer(name) for name in block.compressed_layers
    )
    copy_around(parent, student, block)
    if activation.weights:  # of a PReLU
        graphs.copy_weights(parent.get_layer(block.activation), activation)
    shape = tuple(convolution.kernel.shape)
    if initializer == "mean":
        layers = block.convolutions_in(parent), block.batchnorms_in(parent)
        weights = initializers.mean(*layers, shape, mean_over)
    else:
        weights = initializers.glorot_uniform(shape, seed)
    weights.assign_to(convolution, batchnorm)
    reseed(student, seed)


def copy(model: keras.Model, *, synchronized: bool = False) -> keras.Model:
    """Returns a model of the same layers with variables of its own, not their values yet.

    Args:
        model: a functional model.
        synchronized: whether batch normalisation takes the statistics of the global batch.
    """
    return keras.models.clone_model(
        model, clone_function=lambda operation: _copied(operation, synchronized)
    )


def restart(model: keras.Model, original: keras.Model, seed: int) -> None:
    """Gives a copy the weights of its original, and takes its random draws to a start."""
    for layer in model.layers:
        graphs.copy_weights(original.get_layer(layer.name), layer)
    reseed(model, seed)


def reseed(model: keras.Model, seed: int) -> None:
    """Takes what a model's layers draw at random to where a seed begins."""
    weights = {id(variable) for variable in model.weights}
    generators = [v for v in model.variables if id(v) not in weights]
    for number, state in enumerate(generators):  # of dropout layers, as (seed, draws so far)
        state.assign([seed, number << 16])


def cut(model: keras.Model, start: keras.KerasTensor, end: keras.KerasTensor) -> keras.Model:
    """Returns the part of a model between two of its tensors, which shares its weights.

    Where they are the same, it returns what it receives.
    """
    if start is end:
        start = end = keras.Input(start.shape[1:], dtype=start.dtype)
    return keras.Model(start, end)


def segment(model: keras.Model, block: Block) -> keras.Model:
    """Returns the model cut to a block: from what it receives to what it returns pooled."""
    return cut(model, block.received_by(model), block.returned_by(model))


def set_trainable(student: keras.Model, block: Block, updates: str) -> None:
    """Opens the compressed block alone (`block`) or every layer (`model`) to training.

    A frozen layer keeps its weights and its moving statistics (2.3.1). It takes effect when
    the student is next compiled.
    """
    for layer in student.layers:
        layer.trainable = updates == "model" or layer.name in block.compressed_layers


def _compressed_layers(
    parent: keras.Model,
    block: Block,
    batchnorm_momentum: float = 0.9,
    synchronized: bool = False,
) -> tuple[keras.layers.Layer, ...]:
    conv_name, bn_name, activation_name = block.compressed_layers
    shape = block.shape
    return (
        keras.layers.Conv2D(
            shape.filters, KERNEL_SIZE, shape.strides, padding=shape.padding, name=conv_name
        ),
        keras.layers.BatchNormalization(
            momentum=batchnorm_momentum, synchronized=synchronized, name=bn_name
        ),
        _activation(parent, block, activation_name),
    )


def _activation(parent: keras.Model, block: Block, name: str) -> keras.layers.Layer:
    """Returns a layer that activates as the block does at its end."""
    if block.activation is None:
        return keras.layers.Activation("linear", name=name)
    own = parent.get_layer(block.activation)
    # A convolution's own, or that of an Activation layer.
    function = getattr(own, "activation", None)
    if function is not None:
        return keras.layers.Activation(function, name=name)
    return graphs.copied(own, name)


def _copied(operation: keras.Operation, synchronized: bool) -> keras.Operation:
    copy = graphs.copied(operation)
    if isinstance(copy, keras.layers.BatchNormalization):
        copy.synchronized = synchronized
    return copy
