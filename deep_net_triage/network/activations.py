"""The activation that a segment of a network ends with."""

from collections.abc import Mapping, Sequence

import keras

from deep_net_triage.network import layer_kinds


def of_end(
    operations: Mapping[str, keras.Operation],
    received: Mapping[str, Sequence[str]],
    names: list[str],
) -> str | None:
    """Returns the name of the operation whose activation a segment ends with.

    Normalisation and dropout may follow it. Branches that are concatenated must end with the
    same one. None without one: the next layer then expects negative values as well.

    Args:
        operations: of the network, by name.
        received: for each operation's name, the names of those whose outputs it receives.
        names: of the segment's operations, in their order.
    """
    name = names[-1] if names else None
    while name in names:
        operation = operations[name]
        if layer_kinds.is_activation(operation):
            return name
        if (
            layer_kinds.is_convolution(operation)
            and operation.activation is not keras.activations.linear
        ):
            return name
        if isinstance(operation, keras.layers.Concatenate):
            return _of_all(operations, received, received[name], names)
        if not isinstance(operation, (*layer_kinds.NORMALIZATIONS, *layer_kinds.DROPOUTS)):
            return None
        name = received[name][0]
    return None


def _of_all(
    operations: Mapping[str, keras.Operation],
    received: Mapping[str, Sequence[str]],
    ends: Sequence[str],
    names: list[str],
) -> str | None:
    """Returns the first of the activations that branches end with, if all are the same."""
    found = [
        of_end(operations, received, names[: names.index(end) + 1]) if end in names else None
        for end in ends
    ]
    if None in found:
        return None
    functions = [_function(operations[name]) for name in found]
    agree = all(function == functions[0] for function in functions)
    return found[0] if agree and functions[0] is not None else None


def _function(operation: keras.Operation) -> object:
    """Returns what is equal for operations with the same activation.

    Returns None for an activation with weights of its own, such as a PReLU.
    """
    if layer_kinds.is_activation(operation) and getattr(operation, "weights", ()):
        return None
    own = getattr(operation, "activation", None)
    return own or (type(operation), {**operation.get_config(), "name": None})
