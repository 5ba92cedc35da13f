"""A model as one flat graph: which models can be triaged, and models inside them opened."""

import itertools
from collections.abc import Callable

import keras

from deep_net_triage.errors import InputError
from deep_net_triage.network.graphs import copied, copy_weights, first_tensor, with_held
from deep_net_triage.wording import sides


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
    copier = _Copier(taken={images.name})
    returned = copier.apply(model, images)
    graph = keras.Model(images, keras.tree.flatten(returned)[0], name=model.name)
    for layer in graph.layers:
        _check_size_in_inference(layer)
    for original, copy in copier.copies:
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


class _Copier:
    """Applies copies of a model's operations, and of those of the models inside it.

    Args:
        taken: the names that no copy may have.

    Attributes:
        copies: each layer that has been called, and its copy.
    """

    def __init__(self, taken: set[str]) -> None:
        self.copies: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
        self._names = taken
        self._called: set[int] = set()

    def apply(
        self, model: keras.Model, inputs: keras.KerasTensor, within: tuple[str, ...] = ()
    ) -> keras.KerasTensor:
        """Applies copies of a model's operations to a tensor, and returns the output.

        Args:
            model: Sequential or functional.
            inputs: the tensor.
            within: the names of the models that hold this one, outermost first.
        """
        if isinstance(model, keras.Sequential):
            model = keras.Model(model.inputs, model.outputs, name=model.name)
        # Keras 3.15 has no public way to walk through a model with one's own functions that
        # also opens the models inside it: `clone_model` keeps those whole. A test holds this
        # one.
        try:
            return model._run_through_graph(
                inputs, operation_fn=lambda operation: self._callable(operation, within)
            )
        except InputError:
            raise
        except ValueError as error:  # branches that fit each other for other sides only
            reason = " ".join(str(error).split())
            raise InputError(
                f"{model.name} does not take images of {sides(inputs.shape[1:])} "
                f"({reason[:160]})"
            ) from error

    def _callable(
        self, operation: keras.Operation, within: tuple[str, ...]
    ) -> Callable[..., object]:
        """Returns what is called in place of an operation: its copy, or copies of a model's."""
        if id(operation) in self._called:
            raise InputError(f"{operation.name} is called twice; allowed: once per layer")
        self._called.add(id(operation))
        if isinstance(operation, keras.Model):
            return lambda *args, **kwargs: self._opened(
                operation, first_tensor(args, kwargs), within
            )
        _check_is_no_lambda(operation)
        copy = copied(operation, self._unused(operation.name, within))
        if isinstance(operation, keras.layers.Layer):
            self.copies.append((operation, copy))
        return copy

    def _opened(
        self, model: keras.Model, tensor: keras.KerasTensor, within: tuple[str, ...]
    ) -> keras.KerasTensor:
        """Applies copies of the operations of a model inside another one."""
        _check_is_graph(model)
        if len(model.inputs) != 1:
            raise InputError(
                f"{model.name}, a model inside another, takes {len(model.inputs)} tensors; "
                "allowed: one"
            )
        taken = model.inputs[0].dtype
        # Keras casts what a model in a model receives; its layers cast no integers.
        if "int" in tensor.dtype and "float" in taken:
            name = self._unused("cast", within)
            tensor = keras.layers.Rescaling(1.0, dtype=taken, name=name)(tensor)
        return self.apply(model, tensor, (*within, model.name))

    def _unused(self, name: str, within: tuple[str, ...]) -> str:
        """Returns a name for a copy: the same, with its holders, or with a number."""
        if name in self._names:
            name = "_".join((*within, name))
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        free = next(n for n in itertools.chain([name], numbered) if n not in self._names)
        self._names.add(free)
        return free


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
    plain = keras.Model(model.inputs, model.outputs)
    if type(model).call not in (type(plain).call, keras.Sequential.call):
        raise InputError(
            f"{model.name} is a subclassed model ({type(model).__name__}) with a call of its "
            "own; rebuild it as a functional one"
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
