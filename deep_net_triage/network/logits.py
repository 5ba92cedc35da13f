"""Whether a network returns logits or probabilities, decided by its graph.

The cross-entropy differs between the two, and the last layer alone does not tell: a
convolution with a softmax may be followed by Flatten, and a softmax may be a layer of its own.
"""

import math

import keras

from deep_net_triage.errors import InputError

# Functions whose values are neither logits nor a softmax's probabilities.
_REJECTED = {
    "exp",
    "exponential",
    "hardsigmoid",
    "hardtanh",
    "logsigmoid",
    "sigmoid",
    "softsign",
    "sparsemax",
    "sparsesigmoid",
    "tanh",
}
# The logarithm of probabilities serves as logits: their softmax is the probabilities again.
_LOGARITHMS = {"log", "logsoftmax"}
# Operations that pass on the same numbers; the mean of several probabilities is one as well.
_SAME_NUMBERS = {
    "activityregularization",
    "alphadropout",
    "average",
    "averagepooling2d",
    "cast",
    "dropout",
    "expanddims",
    "flatten",
    "globalaveragepooling2d",
    "identity",
    "linear",
    "mean",
    "permute",
    "reshape",
    "spatialdropout2d",
    "squeeze",
    "transpose",
}
# These pass on the same numbers where they pass on all of them, as on a map of one pixel.
_SAME_IF_ALL = {"getitem", "globalmaxpooling2d", "maxpooling2d"}
_ALLOWED = "allowed: logits, or one softmax over all classes"


def returns_logits(model: keras.Model) -> bool:
    """Returns True if a model returns logits, and False if it returns probabilities.

    Operations that keep values, such as Flatten, Dropout and a cast, are looked through.

    Args:
        model: a classifier that returns one number per class, (batch, classes): a Sequential or
            functional one without models in it, or the end of one, as `graphs.cut` returns it.

    Raises:
        InputError: if it returns neither, because it ends in a sigmoid or another function of
            `_REJECTED`, in a softmax over an axis other than the classes, or because
            an operation changes the probabilities. The message names the layer.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    producers = {
        id(tensor): operation
        for operation in model.operations
        for tensor in keras.tree.flatten(operation.output)
    }
    last, classes = model.operations[-1], model.outputs[0].shape[-1]
    return _returns_logits(producers, last, classes, None)


def _returns_logits(
    producers: dict[int, keras.Operation],
    operation: keras.Operation,
    classes: int,
    changed_by: str | None,
) -> bool:
    """Returns whether an operation returns logits; False for probabilities.

    Args:
        producers: the operation that returns a tensor, by the tensor's id. Tensors that enter a
            cut network have none.
        operation: the operation.
        classes: the number of classes.
        changed_by: the name of an operation between this one and the model's output that
            changes values; None without one.
    """
    name, function = operation.name, _function(operation)
    if function == "softmax":
        _check_softmax(operation, classes, changed_by)
        return False
    if function in _REJECTED and changed_by is None:
        raise InputError(f"{name} applies {function}, not a softmax; {_ALLOWED}")
    received = [id(tensor) for tensor in keras.tree.flatten(operation.input)]
    sources = [producers[tensor] for tensor in dict.fromkeys(received) if tensor in producers]
    ends = function in _LOGARITHMS | _REJECTED or getattr(operation, "weights", None)
    if ends or not sources:
        return True
    if not _keeps_values(operation, function):
        changed_by = changed_by or name
    answers = {_returns_logits(producers, source, classes, changed_by) for source in sources}
    if len(answers) > 1:
        raise InputError(f"{name} mixes logits with probabilities; {_ALLOWED}")
    return answers.pop()


def _function(operation: keras.Operation) -> str:
    """Returns the name of the function that an operation ends with, such as `softmax`.

    It is the layer's activation, or else the operation's own class; for a wrapper it is that of
    the wrapped layer. The classes behind `keras.ops` are not in Keras 3.15's public API, so
    they are told by their names.
    """
    operation = _wrapped(operation)
    activation = getattr(operation, "activation", None)
    if activation is None or activation is keras.activations.linear:
        name = type(operation).__name__
        if isinstance(operation, keras.layers.Activation):
            name = "linear"
    else:
        name = getattr(activation, "__name__", type(activation).__name__)
    return name.replace("_", "").lower()


def _wrapped(operation: keras.Operation) -> keras.Operation:
    """Returns the layer within a wrapper, or within several; any other operation as it is."""
    while isinstance(operation, keras.layers.Wrapper):
        operation = operation.layer
    return operation


def _keeps_values(operation: keras.Operation, function: str) -> bool:
    if function in _SAME_NUMBERS:
        return True
    sizes = [
        None if None in tensor.shape[1:] else math.prod(tensor.shape[1:])
        for tensor in keras.tree.flatten((operation.input, operation.output))
    ]
    return function in _SAME_IF_ALL and None not in sizes and len(set(sizes)) == 1


def _check_softmax(operation: keras.Operation, classes: int, changed_by: str | None) -> None:
    """Raises an InputError unless a softmax gives the probabilities that the model returns."""
    name = operation.name
    if changed_by:
        raise InputError(
            f"{changed_by} changes the probabilities that {name} returns; {_ALLOWED}"
        )
    inner = _wrapped(operation)
    softmax = getattr(inner, "activation", inner)
    axes = getattr(softmax, "axis", -1)
    axes = axes if isinstance(axes, tuple | list) else (axes,)
    if isinstance(operation, keras.layers.TimeDistributed):  # the layer has one axis less
        axes = [axis + 1 if axis > 0 else axis for axis in axes]
    values = math.prod(operation.output.shape[axis] or 0 for axis in axes)
    if values != classes:
        raise InputError(
            f"{name} takes the softmax of {values} values for {classes} classes; {_ALLOWED}"
        )
