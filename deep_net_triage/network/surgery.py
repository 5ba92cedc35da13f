"""Surgery on a network: replacing a block by one convolution (2.2), and copying."""

from collections.abc import Callable

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.network import graphs, initializers
from deep_net_triage.network.block import Block
from deep_net_triage.network.blocks import check_belongs
from deep_net_triage.network.initializers import KERNEL_SIZE

_INITIALIZERS = ("glorot_uniform", "mean")


def compress(
    parent: keras.Model,
    block: Block,
    *,
    initializer: str,
    seed: int,
    batchnorm_momentum: float = 0.9,
) -> keras.Model:
    """Returns a student: a copy of the parent with a block replaced by one convolution (Eq. 1).

    The replacement is a 3x3 Conv2D, or a SeparableConv2D for a block with `separable` as its
    replacement, with the block's output channels as filters and its total stride,
    BatchNormalization, and the activation that ends the block. The pooling after the block
    stays. All other layers have copies of the parent's weights.

    Args:
        parent: a flat functional model, as `flattening.flat` returns it; it is not changed.
        block: one of its blocks.
        initializer: `glorot_uniform`, or `mean` for the averages over the block (Eq. 2).
        seed: of the random initialisation.
        batchnorm_momentum: of the compressed block's moving statistics.

    Raises:
        InputError: if the block is not one of this model, or for another initializer.
    """
    check_belongs(parent, block)
    compressed = _new_layers(parent, block, batchnorm_momentum)

    def call_compressed(tensor: keras.KerasTensor) -> keras.KerasTensor:
        for layer in compressed:
            tensor = layer(tensor)
        return tensor

    student = replace(parent, block, call_compressed)
    student.name = f"{parent.name}_{block.name}_compressed"
    initialize(student, parent, block, initializer=initializer, seed=seed)
    return student


def replace(
    parent: keras.Model,
    block: Block,
    replacement: Callable[[keras.KerasTensor], keras.KerasTensor],
) -> keras.Model:
    """Returns a copy of the parent, with new weights, in which a function replaces a block.

    Args:
        parent: a flat functional model.
        block: one of its blocks.
        replacement: takes the tensor that the block receives, and returns one of the shape that
            the block's last layer returns.
    """
    received, originals = {}, graphs.by_name(parent)

    def call(operation: keras.Operation, *args: object, **kwargs: object) -> object:
        """Calls a copy, and the replacement in place of the block's last layer."""
        if operation.name not in block.layers:
            return operation(*args, **kwargs)
        inputs = graphs.first_tensor(args, kwargs)
        if operation.name == block.layers[0]:
            received["tensor"] = inputs
        if operation.name != block.layers[-1]:
            # Only layers of the block read it, and they are not called.
            return keras.tree.map_structure(lambda _: inputs, originals[operation.name].output)
        return replacement(received["tensor"])

    return keras.models.clone_model(parent, clone_function=graphs.copied, call_function=call)


def bypass(parent: keras.Model, block: Block) -> keras.Model | None:
    """Returns a copy of the parent in which a block returns what it receives.

    The pooling after the block stays, and so do the weights of all other layers.

    Args:
        parent: a flat functional model; it is not changed.
        block: one of its blocks.

    Returns:
        The copy; None if the block changes the shape, as by a stride or by another number of
        channels.
    """
    last = graphs.by_name(parent)[block.layers[-1]]
    if block.received_by(parent).shape != last.output.shape:
        return None
    rest = replace(parent, block, lambda tensor: tensor)
    copy_around(parent, rest, block)
    rest.name = f"{parent.name}_without_{block.name}"
    return rest


def copy_around(parent: keras.Model, model: keras.Model, block: Block) -> None:
    """Copies the parent's weights to a model's layers outside a block and its replacement."""
    outside = {layer.name: layer for layer in parent.layers if layer.name not in block.layers}
    for layer in model.layers:
        if layer.weights and layer.name in outside:
            graphs.copy_weights(outside[layer.name], layer)


def replacement_model(parent: keras.Model, block: Block) -> keras.Model:
    """Returns the layers that replace a block as an untrained model of their own."""
    x = received = keras.Input(block.received_by(parent).shape[1:])
    for layer in _new_layers(parent, block):
        x = layer(x)
    return keras.Model(received, x)


def initialize(
    student: keras.Model,
    parent: keras.Model,
    block: Block,
    *,
    initializer: str,
    seed: int,
    mean_over: str = "block",
) -> None:
    """Sets a student's weights and random states to those that its training starts from.

    Args:
        student: as `compress` returns it, trained or not.
        parent: the model that it was made from.
        block: the compressed block.
        initializer: `glorot_uniform`, or `mean` for the averages over the block (Eq. 2).
        seed: of the random initialisation, and of layers that draw at random.
        mean_over: `block` or `channel`, as `initializers.mean` takes it.

    Raises:
        InputError: for another initializer.
    """
    if initializer not in _INITIALIZERS:
        raise InputError(f"initializer={initializer}: allowed: {', '.join(_INITIALIZERS)}")
    new = graphs.by_name(student)
    convolution, batchnorm, activation = (new[name] for name in block.compressed_layers)
    copy_around(parent, student, block)
    if getattr(activation, "weights", None):  # of a PReLU
        graphs.copy_weights(_own_activation(parent, block), activation)
    shapes = [tuple(kernel.shape) for kernel in block.kernels_in(student)]
    if initializer == "mean":
        layers = block.convolutions_in(parent), block.batchnorms_in(parent)
        whole = (*shapes[0][:3], block.shape.filters)
        weights = initializers.mean(*layers, whole, mean_over)
        if block.replacement == "separable":
            weights = initializers.separated(weights)
    else:
        weights = initializers.glorot_uniform(shapes, seed)
    weights.assign_to(convolution, batchnorm)
    reseed(student, seed)


def copy(model: keras.Model) -> keras.Model:
    """Returns a functional model of the same layers with new weights."""
    return keras.models.clone_model(model, clone_function=graphs.copied)


def copy_weights_and_reseed(model: keras.Model, original: keras.Model, seed: int) -> None:
    """Sets a copy's weights to its original's, and its random states by a seed."""
    for layer in model.layers:
        graphs.copy_weights(original.get_layer(layer.name), layer)
    reseed(model, seed)


def reseed(model: keras.Model, seed: int) -> None:
    """Sets the random states of a model's layers, such as dropout, by a seed."""
    weights = {id(variable) for variable in model.weights}
    generators = [v for v in model.variables if id(v) not in weights]
    # A state is (seed, draws so far). The shift gives each layer random numbers of its own.
    for number, state in enumerate(generators):
        state.assign([seed, number << 16])


def segment(model: keras.Model, block: Block) -> keras.Model:
    """Returns the part of a model that is a block, from its input to its pooled output."""
    return graphs.cut(model, block.received_by(model), block.returned_by(model))


def synchronize(model: keras.Model, over_replicas: bool) -> None:
    """Sets whether a model's batch norms take the statistics of the batch of all replicas.

    Otherwise each replica normalizes by its own share of the batch. It counts when a step is
    next traced.
    """
    for layer in graphs.with_held(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = over_replicas


def set_trainable(student: keras.Model, block: Block, updates: str) -> None:
    """Sets which of a student's layers are trainable; it counts when a step is next traced.

    A frozen layer keeps its weights and its moving statistics (2.3.1).

    Args:
        student: as `compress` returns it.
        block: the compressed block.
        updates: `block` for the compressed block alone, `model` for all layers.
    """
    for layer in student.layers:
        layer.trainable = updates == "model" or layer.name in block.compressed_layers


def _new_layers(
    parent: keras.Model, block: Block, batchnorm_momentum: float = 0.9
) -> tuple[keras.Operation, ...]:
    conv_name, bn_name, activation_name = block.compressed_layers
    shape = block.shape
    separable = block.replacement == "separable"
    kind = keras.layers.SeparableConv2D if separable else keras.layers.Conv2D
    return (
        kind(shape.filters, KERNEL_SIZE, shape.strides, padding=shape.padding, name=conv_name),
        keras.layers.BatchNormalization(momentum=batchnorm_momentum, name=bn_name),
        _activation(parent, block, activation_name),
    )


def _activation(parent: keras.Model, block: Block, name: str) -> keras.Operation:
    """Returns a layer with the activation that ends the block, or a function if it is one."""
    if block.activation is None:
        return keras.layers.Activation("linear", name=name)
    own = _own_activation(parent, block)
    if isinstance(own, keras.Operation):
        return graphs.copied(own, name)
    return keras.layers.Activation(own, name=name)


def _own_activation(parent: keras.Model, block: Block) -> keras.Operation | Callable:
    """Returns the activation that ends a block, an operation of its own or what one applies."""
    own = graphs.by_name(parent)[block.activation]
    # Of a convolution, or of an Activation layer; it may itself be a layer, such as a PReLU.
    return getattr(own, "activation", None) or own
