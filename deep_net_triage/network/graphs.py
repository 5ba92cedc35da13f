"""A network as a graph: made flat, and asked where it can be cut.

Everything here is about operations, Keras's word for what stands at a node: layers, and the
functions of `keras.ops` between them.
"""

from collections.abc import Iterable

import keras

from deep_net_triage.errors import InputError

_INPUTS = keras.layers.InputLayer


def flat(model: keras.Model, image: tuple[int | None, ...] | None = None) -> keras.Model:
    """Returns the same network as one graph of operations that are each called once.

    Models within it are taken apart, a Sequential one becomes functional, and sides of the
    image that the model leaves open are set. It carries copies of the weights, and the names
    of its layers, those of a model within it after that model's name where they would clash.

    Args:
        model: Sequential or functional.
        image: (height, width, channels) of an image; None for the model's own.

    Raises:
        InputError: if it does not take one image and return one tensor, or the message's layer
            is a subclassed model, is called twice, or has channels first.
    """
    own = image_shape(model)
    entry = model.inputs[0]
    images = keras.Input(own if image is None else image, dtype=entry.dtype, name=entry.name)
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
    graph = keras.Model(
        images, _applied(model, images, copies, {images.name}, ()), name=model.name
    )
    for original, copy in copies:
        copy_weights(original, copy)
    return graph


def image_shape(model: keras.Model) -> tuple[int | None, int | None, int]:
    """Returns the shape of an image as a model takes it; None for a side of any length.

    Raises:
        InputError: if it does not take one image and return one tensor.
    """
    _check_is_graph(model)
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise InputError(f"it has {len(tensors)} {what}; a parent has one")
    shape = model.inputs[0].shape[1:]
    if len(shape) != 3:
        raise InputError(f"it takes tensors of {len(shape)} sides; an image has three")
    return shape


def copy_weights(original: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Gives a layer the weights of another of the same configuration."""
    copy.set_weights(original.get_weights())
    if isinstance(copy, keras.layers.Normalization):
        copy.finalize_state()  # else it goes on with what it was built with


def copied(operation: keras.Operation, name: str | None = None) -> keras.Operation:
    """Returns an operation of the same configuration, open to training, with new weights."""
    config = operation.get_config()
    if isinstance(operation, keras.layers.Layer):
        config |= {"trainable": True, "name": name or operation.name}
    return type(operation).from_config(config)


def by_name(model: keras.Model) -> dict[str, keras.Operation]:
    """Returns a model's operations by their names."""
    return {operation.name: operation for operation in model.operations}


class Graph:
    """Which operation of a flat model receives what another one returns.

    Args:
        model: as `flat` returns it.

    Attributes:
        operations: in an order in which each comes after all that it receives from.
        received: by an operation's name, the names of those whose output it receives.
        following: and of those that receive its output.
    """

    def __init__(self, model: keras.Model) -> None:
        self.operations = {operation.name: operation for operation in model.operations}
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

    def trunk(self) -> list[list[str]]:
        """Returns the operations in steps: all paths meet in the last one of each step.

        A step is one operation, or several where paths part and meet again; its last one is
        where the network can be cut in two at one tensor.
        """
        position = {name: number for number, name in enumerate(self.operations)}
        steps: list[list[str]] = [[]]
        reaches = 0
        for name, operation in self.operations.items():
            alone = reaches <= position[name]
            steps[-1].append(name)
            reaches = max([reaches, *(position[user] for user in self.following[name])])
            if alone and isinstance(operation.output, keras.KerasTensor):
                steps.append([])
        return [step for step in steps if step]

    def between(self, first: str, last: str) -> list[str]:
        """Returns the operations from one to another, where they can be cut out.

        Args:
            first: receives the one tensor that all of them depend on.
            last: returns the one tensor by which they act on the rest.

        Raises:
            InputError: if no path leads from the first to the last, or another operation, which
                the message names, reads what is computed within or brings in what is not.
        """
        behind = self._reached([first], self.following)
        within = behind & self._reached([last], self.received)
        if not within:
            raise InputError(f"no path leads from {first} to {last}")
        entry = self.received[first]
        if len(set(entry)) != 1:
            raise InputError(f"{first} receives {len(entry)} tensors; a block receives one")
        for name in within:
            for source in self.received[name]:
                if source not in within and source != entry[0]:
                    raise InputError(f"{name} also receives what {source} returns")
            for user in self.following[name] if name != last else ():
                if user not in within:
                    raise InputError(f"{user} also receives what {name} returns")
        return [name for name in self.operations if name in within]

    @staticmethod
    def _reached(start: Iterable[str], edges: dict[str, list[str]]) -> set[str]:
        found, ahead = set(), list(start)
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += edges[name]
        return found


def _applied(
    model: keras.Model,
    inputs: keras.KerasTensor,
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]],
    names: set[str],
    within: tuple[str, ...],
) -> keras.KerasTensor:
    """Returns what a model makes of a tensor, by copies of its operations.

    Args:
        model: Sequential or functional.
        inputs: what it receives.
        copies: gets each layer and its copy.
        names: of the copies so far.
        within: the names of the models that hold this one, outermost first.
    """
    _check_is_graph(model)
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    called: set[str] = set()

    def callable_for(operation: keras.Operation) -> object:
        if operation.name in called:
            raise InputError(
                f"{operation.name} is called twice; a layer of a parent is called once"
            )
        called.add(operation.name)
        if getattr(operation, "data_format", None) == "channels_first":
            raise InputError(
                f"{operation.name} has channels first; build the model with them last"
            )
        if isinstance(operation, keras.Model):
            holders = (*within, operation.name)
            return lambda tensor, **_: _applied(operation, tensor, copies, names, holders)
        name = operation.name
        if name in names:
            name = "_".join((*within, name))
        names.add(name)
        copy = copied(operation, name)
        if isinstance(operation, keras.layers.Layer):
            copies.append((operation, copy))
        return copy

    # Keras 3.15 has no public way to walk through a model with functions of one's own that
    # also opens the models within it: `clone_model` keeps those whole. A test holds this one.
    return model._run_through_graph(inputs, operation_fn=callable_for)


def _check_is_graph(model: keras.Model) -> None:
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise InputError(f"{model.name} was never told the shape of its images")
    # What `keras.Model(inputs, outputs)` makes has no class of its own in the public API.
    elif not hasattr(model, "operations"):
        raise InputError(
            f"{model.name} is a subclassed model ({type(model).__name__}), whose layers can't "
            "be told; rebuild it as a functional one"
        )
