"""A parent and a block become a student: the same network with the block compressed (2.2)."""

import keras

from deep_net_triage import initializers
from deep_net_triage.blocks import Block

_KERNEL_SIZE = 3


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

    In place of the block stand one 3x3 Conv2D with as many filters as the block returns,
    BatchNormalization and ReLU, before the block's own pooling. Everything else carries the
    parent's weights; the parent itself does not change, and no variable is shared with it.

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
    conv_name, bn_name, relu_name = block.compressed_layers
    compressed = (
        keras.layers.Conv2D(block.filters, _KERNEL_SIZE, padding="same", name=conv_name),
        keras.layers.BatchNormalization(
            momentum=batchnorm_momentum, synchronized=synchronized, name=bn_name
        ),
        keras.layers.ReLU(name=relu_name),
    )
    received = {}

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        return _copy(layer, synchronized)

    def call(
        layer: keras.layers.Layer, inputs: keras.KerasTensor, **arguments: object
    ) -> keras.KerasTensor:
        """Calls a copied layer, and the compressed block in place of the block's last one."""
        if layer.name == block.layers[0]:
            received["tensor"] = inputs
        if layer.name == block.layers[-1]:
            tensor = received["tensor"]
            for replacement in compressed:
                tensor = replacement(tensor)
            return tensor
        return inputs if layer.name in block.layers else layer(inputs, **arguments)

    student = keras.models.clone_model(parent, clone_function=copy, call_function=call)
    student.name = f"{parent.name}_{block.name}_compressed"
    start(student, parent, block, initializer=initializer, seed=seed, mean_over=mean_over)
    return student


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
    convolution, batchnorm, _ = (student.get_layer(name) for name in block.compressed_layers)
    for layer in student.layers:
        if layer.weights and layer.name not in block.compressed_layers:
            layer.set_weights(parent.get_layer(layer.name).get_weights())
    shape = tuple(convolution.kernel.shape)
    if initializer == "mean":
        weights = initializers.mean(parent, block, shape, mean_over)
    else:
        weights = initializers.glorot_uniform(shape, seed)
    weights.assign_to(convolution, batchnorm)
    weights_of_layers = {id(variable) for variable in student.weights}
    generators = [v for v in student.variables if id(v) not in weights_of_layers]
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


def _copy(layer: keras.layers.Layer, synchronized: bool) -> keras.layers.Layer:
    """Returns a layer of the same configuration, open to training, with new weights."""
    config = layer.get_config() | {"trainable": True}
    if isinstance(layer, keras.layers.BatchNormalization):
        config["synchronized"] = synchronized
    return type(layer).from_config(config)
