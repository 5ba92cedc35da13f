"""A network as a graph: how to flatten it, and where it can be cut.

The nodes are operations, which in Keras are layers and the functions of `keras.ops`.
"""

import itertools
from collections.abc import Iterable, Mapping

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.wording import sides

_INPUTS = keras.layers.InputLayer


def flat(model: keras.Model, image: tuple[int | None, ...] | None = None) -> keras.Model:
    """Returns a copy of a model as one graph of operations that are each called once.

    Models inside it are replaced by their layers, a Sequential model becomes functional, and
    open sides of the image are fixed. Layers keep their names. Where two have the same, the
    second one gets the name of the model that holds it in front, or else a number.

    Args:
        model: Sequential or functional.
        image: (height, width, channels) of an image; None for the model's own input shape.

    Raises:
        InputError: if the model does not take one image and return one tensor, or if it holds
            a layer that can't be triaged: a subclassed model, a Lambda layer, or one that is
            called twice, has channels first, can't be copied, or changes its output's size in
            training only.
    """
    own = image_shape(model)
    entry = model.inputs[0]
    images = keras.Input(own if image is None else image, dtype=entry.dtype, name=entry.name)
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
    returned = _applied(model, images, copies, {images.name}, set(), ())
    graph = keras.Model(images, keras.tree.flatten(returned)[0], name=model.name)
    for layer in graph.layers:
        _check_size_in_inference(layer)
    for original, copy in copies:
        copy_weights(original, copy)
    return graph


def image_shape(model: keras.Model) -> tuple[int | None, int | None, int]:
    """Returns the shape of an image as a model takes it; None for a side of any length.

    Raises:
        InputError: if it is not a built Sequential or functional model that takes one image,
            channels last, and returns one tensor.
    """
    _check_is_graph(model)
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if len(tensors) != 1:
            raise InputError(f"{model.name} has {len(tensors)} {what}; allowed: one")
    shape = model.inputs[0].shape[1:]
    if len(shape) != 3:
        raise InputError(
            f"{model.name} takes tensors of shape {shape}; allowed: images, as (height, width, "
            "channels)"
        )
    _check_channels_last(model)
    return shape


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
        model: as `flat` returns it.

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


def _applied(
    model: keras.Model,
    inputs: keras.KerasTensor,
    copies: list[tuple[keras.layers.Layer, keras.layers.Layer]],
    names: set[str],
    called: set[int],
    within: tuple[str, ...],
) -> keras.KerasTensor:
    """Applies copies of a model's operations to a tensor, and returns the output.

    Args:
        model: Sequential or functional.
        inputs: the tensor.
        copies: each layer and its copy are appended to it.
        names: those of the copies so far; the new ones are added.
        called: the ids of the original operations so far; the new ones are added.
        within: the names of the models that hold this one, outermost first.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)

    def unused(name: str) -> str:
        names.add(free := _unused(name, within, names))
        return free

    def opened(operation: keras.Model, tensor: keras.KerasTensor) -> keras.KerasTensor:
        _check_is_graph(operation)
        holders = (*within, operation.name)
        taken = operation.inputs[0].dtype
        # Keras casts what a model in a model receives; its layers cast no integers.
        if "int" in tensor.dtype and "float" in taken:
            cast = keras.layers.Rescaling(1.0, dtype=taken, name=unused("cast"))
            tensor = cast(tensor)
        return _applied(operation, tensor, copies, names, called, holders)

    def callable_for(operation: keras.Operation) -> object:
        if id(operation) in called:
            raise InputError(f"{operation.name} is called twice; allowed: once per layer")
        called.add(id(operation))
        if isinstance(operation, keras.Model):
            return lambda *args, **kwargs: opened(operation, first_tensor(args, kwargs))
        _check_is_no_lambda(operation)
        copy = copied(operation, unused(operation.name))
        if isinstance(operation, keras.layers.Layer):
            copies.append((operation, copy))
        return copy

    # Keras 3.15 has no public way to walk through a model with one's own functions that also
    # opens the models inside it: `clone_model` keeps those whole. A test holds this one.
    try:
        return model._run_through_graph(inputs, operation_fn=callable_for)
    except InputError:
        raise
    except ValueError as error:  # branches that fit each other for other sides only
        reason = " ".join(str(error).split())
        raise InputError(
            f"{model.name} does not take images of {sides(inputs.shape[1:])} ({reason[:160]})"
        ) from error


def _unused(name: str, within: tuple[str, ...], names: set[str]) -> str:
    """Returns a name that is not among others: itself, with its holders, or with a number."""
    if name in names:
        name = "_".join((*within, name))
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in names)


def _check_is_graph(model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        raise InputError(
            f"a {type(model).__name__} is not a model; allowed: a Sequential or functional "
            "keras.Model"
        )
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise InputError(
                f"{model.name} is not built; give it a keras.Input with the shape of an image"
            )
    # What `keras.Model(inputs, outputs)` makes has no class of its own in the public API.
    elif not hasattr(model, "operations"):
        raise InputError(
            f"{model.name} is a subclassed model ({type(model).__name__}), whose layers can't "
            "be listed; rebuild it as a functional one"
        )


def _check_is_no_lambda(operation: keras.Operation) -> None:
    held = with_held(operation) if isinstance(operation, keras.layers.Layer) else ()
    if any(isinstance(layer, keras.layers.Lambda) for layer in held):
        raise InputError(
            f"{operation.name} is or holds a Lambda layer, whose code is not trusted when the "
            "model is loaded; replace it with one of Keras's layers"
        )


def _check_channels_last(model: keras.Model) -> None:
    for layer in model.layers:
        if getattr(layer, "data_format", None) == "channels_first":
            raise InputError(
                f"{layer.name} has data_format channels_first; allowed: channels_last, so "
                "rebuild the model with it"
            )
        if isinstance(layer, keras.Model):
            _check_channels_last(layer)


def _check_size_in_inference(layer: keras.layers.Layer) -> None:
    # The model is built for the cropped size, but in inference the layer passes on the image.
    crops = any(isinstance(one, keras.layers.RandomCrop) for one in with_held(layer))
    if crops and layer.input.shape != layer.output.shape:
        before, after = (sides(t.shape[1:3]) for t in (layer.input, layer.output))
        raise InputError(
            f"{layer.name} crops {before} pixels to {after} in training only; "
            "use CenterCrop in the model, or crop the images beforehand"
        )
