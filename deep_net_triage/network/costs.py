"""The cost of a model: parameters and multiply-accumulates."""

import math
from collections.abc import Iterable

import keras

_layers = keras.layers
# Each number of the kernel is used once for each position of the output.
_BY_OUTPUT = (
    _layers.Conv1D,
    _layers.Conv2D,
    _layers.Conv3D,
    _layers.Dense,
    _layers.DepthwiseConv1D,
    _layers.DepthwiseConv2D,
)
_SEPARABLE = (_layers.SeparableConv1D, _layers.SeparableConv2D)
# Here it is used once for each position of the input.
_BY_INPUT = (_layers.Conv1DTranspose, _layers.Conv2DTranspose, _layers.Conv3DTranspose)
# Layers with weights that only shift, scale or look up: a few operations for each value.
_ELEMENTWISE = (
    _layers.BatchNormalization,
    _layers.Embedding,
    _layers.GroupNormalization,
    _layers.LayerNormalization,
    _layers.Normalization,
    _layers.PReLU,
    _layers.RMSNormalization,
)
# Operations without weights that multiply two tensors with each other.
_PRODUCTS = (_layers.AdditiveAttention, _layers.Attention, _layers.Dot)
# The same in `keras.ops`, whose classes are not in Keras 3.15's public API.
_PRODUCT_OPS = {
    "Conv",
    "ConvTranspose",
    "DepthwiseConv",
    "Dot",
    "DotProductAttention",
    "Einsum",
    "Matmul",
    "SeparableConv",
    "Tensordot",
}


def parameters(model: keras.Model) -> int:
    """Returns how many numbers a model stores, including batch norm's moving statistics."""
    return model.count_params()


def macs(model: keras.Model) -> int:
    """Returns the multiply-accumulates of a model for one image.

    Convolutions, dense layers and attention count, also inside SpectralNormalization and
    TimeDistributed. Biases, normalisation, activations and poolings do not: they account for
    less than 1 %, and are usually computed together with the layer before them.
    `uncounted` names what is missing.
    """
    return macs_of(model.layers)


def macs_of(operations: Iterable[keras.Operation]) -> int:
    """Returns the multiply-accumulates of some of a model's operations for one image."""
    return sum(_macs_in_model(operation) or 0 for operation in operations)


def uncounted(model: keras.Model) -> tuple[str, ...]:
    """Returns the names of the operations whose multiply-accumulates `macs` can't count.

    These are products of tensors, and layers of an unknown kind with matrices as weights, such
    as recurrent layers and a user's own.
    """
    return tuple(
        operation.name for operation in model.operations if _macs_in_model(operation) is None
    )


def parameters_of(operations: Iterable[keras.Operation]) -> int:
    """Returns how many numbers some of a model's operations store."""
    layers = (o for o in operations if isinstance(o, keras.layers.Layer))
    return sum(layer.count_params() for layer in layers)


def _macs_in_model(operation: keras.Operation) -> int | None:
    if not isinstance(operation, _layers.Layer):
        return None if type(operation).__name__ in _PRODUCT_OPS else 0
    if isinstance(operation, _layers.MultiHeadAttention):
        return _macs_of_attention(operation)
    return _macs(operation, operation.input, operation.output)


def _macs(layer: _layers.Layer, received: object, returned: object) -> int | None:
    """Returns the multiply-accumulates of a layer for one image; None if they are not known."""
    if isinstance(layer, _layers.SpectralNormalization):
        return _macs(layer.layer, received, returned)
    if isinstance(layer, _layers.TimeDistributed):
        inner = [
            keras.KerasTensor((tensor.shape[0], *tensor.shape[2:]), tensor.dtype)
            for tensor in (received, returned)
        ]
        once = _macs(layer.layer, *inner)
        return None if once is None else received.shape[1] * once
    if isinstance(layer, _SEPARABLE):
        kernels = layer.depthwise_kernel, layer.pointwise_kernel
        return _positions(returned) * sum(math.prod(kernel.shape) for kernel in kernels)
    if isinstance(layer, _BY_OUTPUT):
        return _positions(returned) * math.prod(layer.kernel.shape)
    if isinstance(layer, _BY_INPUT):
        return _positions(received) * math.prod(layer.kernel.shape)
    if isinstance(layer, _layers.EinsumDense):
        return _macs_of_einsum(layer, received)
    # A vector, such as a user's scale per channel, is no kernel.
    kernels = [w for w in layer.weights if math.prod(w.shape) > max(w.shape, default=1)]
    multiplies = kernels and not isinstance(layer, _ELEMENTWISE)
    return None if multiplies or isinstance(layer, _PRODUCTS) else 0


def _positions(tensor: keras.KerasTensor) -> int:
    return math.prod(tensor.shape[1:-1])


def _macs_of_einsum(layer: _layers.EinsumDense, received: keras.KerasTensor) -> int | None:
    """Returns the product of the sizes of all axes, those of the kernel and all others."""
    indices, kernel = layer.equation.split("->")[0].split(",")
    before, _, behind = indices.partition("...")
    unnamed = len(received.shape) - len(before) - len(behind)
    axes = [*before, *"." * unnamed, *behind]
    others = [
        size
        for axis, size in list(zip(axes, received.shape, strict=True))[1:]
        if axis not in kernel
    ]
    return None if None in others else math.prod(others) * math.prod(layer.kernel.shape)


def _macs_of_attention(layer: _layers.MultiHeadAttention) -> int | None:
    """Returns the projections' multiply-accumulates, and those of the two matrix products."""
    query, value, *key = keras.tree.flatten(layer.input)
    keyed = (*value.shape[1:-1], layer.key_dense.kernel.shape[0])
    if len(key) > 1 or any(tensor.shape[1:] != keyed for tensor in key):
        return None  # a mask is among them
    queries, keys = (math.prod(tensor.shape[1:-1]) for tensor in (query, *(key or [value])))
    projections = {
        layer.query_dense: queries,
        layer.key_dense: keys,
        layer.value_dense: keys,
        layer.output_dense: queries,
    }
    over_all = tuple(layer.attention_axes) == tuple(range(1, len(query.shape) - 1))
    counted = sum(len(projection.weights) for projection in projections)
    if not over_all or counted != len(layer.weights):
        return None
    config = layer.get_config()
    heads, depths = config["num_heads"], config["key_dim"] + config["value_dim"]
    return queries * keys * heads * depths + sum(
        positions * math.prod(projection.kernel.shape)
        for projection, positions in projections.items()
    )
