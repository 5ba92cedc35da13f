"""A network as a graph: its edges, where it can be cut, and how its operations are copied.

The nodes are operations, which in Keras are layers and the functions of `keras.ops`.
"""

from collections.abc import Iterable, Mapping

import keras

from deep_net_triage.errors import InputError

_INPUTS = keras.layers.InputLayer


def copy_weights(original: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Sets the weights of a layer to those of another one with the same configuration."""
    copy.set_weights(original.get_weights())
    for layer in with_held(copy):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # otherwise it keeps the statistics that it was built with


def with_held(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer and the layers that it holds, as a Pipeline or a wrapper does."""
    # Keras 3.15 has no public list of what any layer holds. A test holds this one.
    return list(layer._flatten_layers())


def copied(
    operation: keras.Operation,
    name: str | None = None,
    changes: Mapping[str, object] | None = None,
) -> keras.Operation:
    """Returns a trainable operation with the same configuration and new weights.

    Args:
        operation: a layer, or a function of `keras.ops` in a model.
        name: of the copy; None for the same name.
        changes: entries of the configuration that differ in the copy; None for none.

    Raises:
        InputError: if the operation's class can't be built from its own configuration.
    """
    name = name or operation.name
    try:
        config = {**operation.get_config(), "name": name, **(changes or {})}
        copy = type(operation).from_config(config)
    # A layer written by a user may raise anything here.
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{operation.name} can't be copied from its configuration ({reason}); its class "
            f"{type(operation).__name__} needs a get_config and an __init__ that fit"
        ) from error
    if isinstance(copy, keras.layers.Layer):
        copy.trainable = True  # not every layer takes it as an argument
    return copy


def first_tensor(*arguments: object) -> keras.KerasTensor:
    """Returns the first tensor among the arguments of a call, by position or by keyword."""
    flat_arguments = keras.tree.flatten(arguments)
    return next(value for value in flat_arguments if isinstance(value, keras.KerasTensor))


def by_name(model: keras.Model) -> dict[str, keras.Operation]:
    """Returns a model's operations in their order, by name."""
    return {operation.name: operation for operation in model.operations}


def cut(model: keras.Model, start: keras.KerasTensor, end: keras.KerasTensor) -> keras.Model:
    """Returns the part of a model from one of its tensors to another, sharing its weights.

    If both are the same, the part returns its input.
    """
    if start is end:
        start = end = keras.Input(start.shape[1:], dtype=start.dtype)
    return keras.Model(start, end)


class Graph:
    """The edges of a flat model: which operation receives the output of which.

    Args:
        model: as `flattening.flat` returns it.

    Attributes:
        operations: by name, each one after all that it receives from.
        received: for each operation's name, the names of those whose output it receives.
        following: for each operation's name, the names of those that receive its output.
    """

    def __init__(self, model: keras.Model) -> None:
        self.operations = by_name(model)
        producers = {
            id(tensor): operation.name
            for operation in model.operations
            for tensor in keras.tree.flatten(operation.output)
        }
        self.received = {
            operation.name: []
            if isinstance(operation, _INPUTS)
            else [producers[id(tensor)] for tensor in keras.tree.flatten(operation.input)]
            for operation in model.operations
        }
        self.following: dict[str, list[str]] = {name: [] for name in self.operations}
        for name, sources in self.received.items():
            for source in sources:
                self.following[source].append(name)

    def trunk(self, names: Iterable[str] | None = None) -> list[list[str]]:
        """Returns the names of the operations in steps, all paths meeting at the end of each.

        A step is one operation, or several where paths part and meet again. Behind the last
        operation of each step, one tensor connects the two parts of the network.

        Args:
            names: of a segment's operations, to divide that alone; None for all operations.
        """
        within = set(self.operations if names is None else names)
        position = {name: n for n, name in enumerate(self.operations) if name in within}
        steps: list[list[str]] = [[]]
        # What enters a segment may also go around its first operations.
        reaches = max(
            (position[name] for name in within if not within.issuperset(self.received[name])),
            default=0,
        )
        for name in position:
            alone = reaches <= position[name]
            steps[-1].append(name)
            users = within.intersection(self.following[name])
            reaches = max([reaches, *(position[user] for user in users)])
            if alone and isinstance(self.operations[name].output, keras.KerasTensor):
                steps.append([])
        return [step for step in steps if step]

    def between(self, first: str, last: str) -> list[str]:
        """Returns the names of the operations on the paths from one operation to another.

        Args:
            first: the only one of them that receives from outside, and one tensor only.
            last: the only one of them whose output is received outside.

        Raises:
            InputError: if no path leads from the first to the last, or if another operation,
                which the message names, connects the paths with the rest of the network.
        """
        within = self.on_paths(first, last)
        if not within:
            raise InputError(f"no path leads from {first} to {last}")
        entry = self.received[first]
        if len(set(entry)) != 1:
            raise InputError(f"{first} receives {len(entry)} tensors; a block receives one")
        for name in (entry[0], last):
            if not isinstance(self.operations[name].output, keras.KerasTensor):
                raise InputError(f"{name} returns several tensors; a block has one at each end")
        for name in within:
            for source in self.received[name]:
                if source not in within and source != entry[0]:
                    raise InputError(f"{name} also receives what {source} returns")
            for user in self.following[name] if name != last else ():
                if user not in within:
                    raise InputError(f"{user} also receives what {name} returns")
        return [name for name in self.operations if name in within]

    def on_paths(self, first: str, last: str) -> set[str]:
        """Returns the names of the operations on any path from one operation to another."""
        return self._reached([first], self.following) & self._reached([last], self.received)

    @staticmethod
    def _reached(start: Iterable[str], edges: dict[str, list[str]]) -> set[str]:
        """Returns the names that the edges lead to from some others, those included."""
        reached, ahead = set(), list(start)
        while ahead:
            name = ahead.pop()
            if name not in reached:
                reached.add(name)
                ahead += edges[name]
        return reached
