"""What a model costs: parameters and multiply-accumulates."""

import math

import keras


def parameters(model: keras.Model) -> int:
    """Returns how many numbers a model stores, batch normalisation's statistics included."""
    return model.count_params()


def macs(model: keras.Model) -> int:
    """Returns the multiply-accumulates of one image through convolutions and dense layers.

    Biases, normalisation, activations and poolings are not counted: they are below one in a
    hundred, and usually computed together with the layer before them.
    """
    return sum(_layer_macs(layer) for layer in model.layers)


def _layer_macs(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Conv2D):
        _, height, width, _ = layer.output.shape
        return height * width * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0
