"""What a model costs: parameters and multiply-accumulates."""

import math
from collections.abc import Iterable

import keras


def parameters(model: keras.Model) -> int:
    """Returns how many numbers a model stores, batch normalisation's statistics included."""
    return model.count_params()


def macs(model: keras.Model) -> int:
    """Returns the multiply-accumulates of one image through convolutions and dense layers.

    Biases, normalisation, activations and poolings are not counted: they are below one in a
    hundred, and usually computed together with the layer before them.
    """
    return macs_of(model.layers)


def macs_of(operations: Iterable[keras.Operation]) -> int:
    """Returns the same of some of a model's operations."""
    return sum(map(_macs, operations))


def parameters_of(operations: Iterable[keras.Operation]) -> int:
    """Returns how many numbers some of a model's operations store."""
    layers = (o for o in operations if isinstance(o, keras.layers.Layer))
    return sum(layer.count_params() for layer in layers)


def _macs(operation: keras.Operation) -> int:
    """Counts each number of a kernel once for each place that it is multiplied at.

    A grouped or depthwise kernel holds only what its channels are multiplied by.
    """
    if isinstance(operation, keras.layers.SeparableConv2D):
        kernels = (operation.depthwise_kernel, operation.pointwise_kernel)
    elif isinstance(
        operation, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    ):
        kernels = (operation.kernel,)
    elif isinstance(operation, keras.layers.Conv2DTranspose):
        return math.prod(operation.input.shape[1:3]) * math.prod(operation.kernel.shape)
    else:
        return 0
    places = math.prod(operation.output.shape[1:-1])
    return places * sum(math.prod(kernel.shape) for kernel in kernels)
