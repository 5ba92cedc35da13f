"""The kinds of operations that convolutional networks consist of."""

import keras

_layers = keras.layers
CONVOLUTIONS = (_layers.Conv2D, _layers.DepthwiseConv2D, _layers.SeparableConv2D)
POOLINGS = (_layers.MaxPooling2D, _layers.AveragePooling2D)
NORMALIZATIONS = (
    _layers.BatchNormalization,
    _layers.GroupNormalization,
    _layers.LayerNormalization,
)
ACTIVATIONS = (
    _layers.Activation,
    _layers.ELU,
    _layers.LeakyReLU,
    _layers.PReLU,
    _layers.ReLU,
)
# Functions such as `keras.ops.relu`. Their classes are not in Keras 3.15's public API, so they
# are recognised by their names; a test guards the list.
_FUNCTIONS = frozenset(
    ("Celu", "Elu", "Gelu", "HardSilu", "LeakyRelu", "ReLU", "Relu", "Relu6", "Selu")
    + ("Sigmoid", "Silu", "Softplus", "Softsign", "Tanh")
)
GLOBAL_POOLINGS = (_layers.GlobalAveragePooling2D, _layers.GlobalMaxPooling2D)
DROPOUTS = (_layers.Dropout, _layers.SpatialDropout2D)
BESIDE_CONVOLUTIONS = (*NORMALIZATIONS, *ACTIVATIONS, *DROPOUTS, _layers.ZeroPadding2D)


def is_convolution(operation: keras.Operation) -> bool:
    """Returns whether an operation is a convolution, which may be depthwise or separable."""
    return isinstance(operation, CONVOLUTIONS)


def is_activation(operation: keras.Operation) -> bool:
    """Returns whether an operation is an activation, as a layer or as a function."""
    return isinstance(operation, ACTIVATIONS) or is_activation_function(operation)


def is_activation_function(operation: keras.Operation) -> bool:
    """Returns whether an operation is an activation, as a function."""
    is_layer = isinstance(operation, keras.layers.Layer)
    return not is_layer and type(operation).__name__ in _FUNCTIONS
