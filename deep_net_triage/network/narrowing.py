"""A network with fewer channels in its layers: its graph, its weights and its arithmetic."""

import math

import keras
import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.network import costs, graphs, surgery
from deep_net_triage.network.channels import (
    Channels,
    is_depthwise,
    produces,
    scales_channels,
    width,
)

_layers = keras.layers


def narrowed(
    model: keras.Model, channels: Channels, kept: np.ndarray, *, seed: int
) -> keras.Model:
    """Returns a copy of a model with fewer channels, freshly initialised.

    Layers keep their names, dtype policies and initializers; `Normalization` layers, which
    hold statistics of the images, keep their weights.

    Args:
        model: a flat functional model; it is not changed.
        channels: of the model.
        kept: for each channel's number, whether it stays.
        seed: of the initializers, and of layers that draw at random.

    Raises:
        InputError: if an operation can't take fewer channels; the message names it.
    """
    generator = np.random.default_rng(seed)

    def copy(operation: keras.Operation) -> keras.Operation:
        widths = _widths(operation, *_masks(operation, channels, kept))
        return graphs.copied(operation, changes=_seeded(operation, generator) | widths)

    def call(operation: keras.Operation, *args: object, **kwargs: object) -> object:
        refusal = cannot_lose_channels(model, operation.name)
        try:
            returned = operation(*args, **kwargs)
        except (TypeError, ValueError) as error:  # as Keras says that shapes do not fit
            raise InputError(refusal) from error
        expected = np.sum(kept[channels.returned[operation.name]])
        if width(keras.tree.flatten(returned)[0]) != expected:
            raise InputError(refusal)
        return returned

    narrow = keras.models.clone_model(model, clone_function=copy, call_function=call)
    _keep_statistics(model, narrow)
    surgery.reseed(narrow, seed)
    return narrow


def redrawn(model: keras.Model, seed: int) -> keras.Model:
    """Returns a copy of a model, freshly initialised.

    `Normalization` layers keep their weights. Other seeds give other weights, even if the
    initializers have seeds of their own.

    Args:
        model: a flat functional model; it is not changed.
        seed: of the initializers.
    """
    keras.utils.set_random_seed(seed)
    generator = np.random.default_rng(seed)

    def copy(operation: keras.Operation) -> keras.Operation:
        changes = _seeded(operation, generator, if_fixed=True)
        return graphs.copied(operation, changes=changes)

    drawn = keras.models.clone_model(model, clone_function=copy)
    _keep_statistics(model, drawn)
    return drawn


def _keep_statistics(model: keras.Model, copy: keras.Model) -> None:
    """Copies the statistics of the images, which `Normalization` layers hold as weights."""
    for layer in copy.layers:
        for number, held in enumerate(graphs.with_held(layer)):
            if isinstance(held, _layers.Normalization):
                original = graphs.with_held(model.get_layer(layer.name))
                graphs.copy_weights(original[number], held)


def cannot_lose_channels(model: keras.Model, name: str) -> str:
    """Returns the message on an operation that works with its present channels only."""
    kind = type(graphs.by_name(model)[name]).__name__
    return (
        f"{model.name} can't be made narrower: {name} ({kind}) only works with its current "
        "number of channels; allowed: Keras layers that accept any number"
    )


def copy_kept(
    model: keras.Model, narrow: keras.Model, channels: Channels, kept: np.ndarray
) -> None:
    """Sets the weights of a narrowed model to those of the model's kept channels."""
    for layer in narrow.layers:
        if layer.weights:
            original = model.get_layer(layer.name)
            received, returned = _masks(original, channels, kept)
            if received.all() and returned.all():
                graphs.copy_weights(original, layer)
            else:
                layer.set_weights(_kept_weights(original, received, returned))


def macs(model: keras.Model, channels: Channels, kept: np.ndarray) -> int:
    """Returns the multiply-accumulates for one image that a model has once narrowed.

    They are counted from the shapes, without a narrowed model.
    """
    counted = [operation for operation in model.operations if costs.macs_of([operation])]
    return sum(
        _kept_macs(operation, *_masks(operation, channels, kept)) for operation in counted
    )


def _masks(
    operation: keras.Operation, channels: Channels, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns masks of the channels that stay: of an operation's input, and of its output."""
    name = operation.name
    if name not in channels.returned:  # the input layer
        return np.ones(0, bool), np.ones(0, bool)
    return kept[channels.received[name]], kept[channels.returned[name]]


def _widths(
    operation: keras.Operation, received: np.ndarray, returned: np.ndarray
) -> dict[str, object]:
    """Returns the changes to an operation's configuration."""
    kind, left = type(operation), int(returned.sum())
    if returned.all() and received.all():
        return {}
    if kind is _layers.Dense:
        return {"units": left}
    if kind is _layers.Conv2D and is_depthwise(operation):
        return {"filters": left, "groups": int(received.sum())}
    if produces(operation):
        return {"filters": left}
    if kind is _layers.Reshape and operation.target_shape[-1] != -1:
        return {"target_shape": (*operation.target_shape[:-1], left)}
    if kind is _layers.GroupNormalization and operation.groups == len(received):
        return {"groups": left}
    return {"projection_dim": left} if scales_channels(operation) else {}


def _seeded(
    operation: keras.Operation, generator: np.random.Generator, *, if_fixed: bool = False
) -> dict[str, object]:
    """Returns an operation's initializers, as its configuration has them, with new seeds.

    With `if_fixed`, only those whose seed the configuration fixes.
    """
    if not getattr(operation, "weights", ()):
        return {}
    seeded = {}
    for key, value in operation.get_config().items():
        is_initializer = key.endswith("_initializer") and isinstance(value, dict)
        if not is_initializer or "seed" not in value["config"]:
            continue
        if not if_fixed or value["config"]["seed"] is not None:
            drawn = int(generator.integers(2**31))
            seeded[key] = {**value, "config": {**value["config"], "seed": drawn}}
    return seeded


def _kept_weights(
    layer: keras.layers.Layer, received: np.ndarray, returned: np.ndarray
) -> list[np.ndarray]:
    """Returns a layer's weights for the channels that stay."""
    weights = layer.get_weights()
    if isinstance(layer, _layers.DepthwiseConv2D):
        depthwise, *vectors = weights
        kernels = [depthwise[..., received, :]]
    elif isinstance(layer, _layers.SeparableConv2D):
        depthwise, pointwise, *vectors = weights
        widened = np.repeat(received, depthwise.shape[-1])
        kernels = [depthwise[..., received, :], pointwise[..., widened, :][..., returned]]
    elif isinstance(layer, _layers.Conv2D | _layers.Dense):
        kernel, *vectors = weights
        # All groups of a convolution lose the same channels.
        of_group = [True] if is_depthwise(layer) else received[: kernel.shape[-2]]
        kernels = [kernel[..., of_group, :][..., returned]]
    else:
        kernels, vectors = [], weights
    # A PReLU that shares its slopes between channels has one in all.
    return kernels + [w[..., returned] if w.shape[-1] == len(returned) else w for w in vectors]


def _kept_macs(operation: keras.Operation, received: np.ndarray, returned: np.ndarray) -> int:
    whole = costs.macs_of([operation])
    if received.all() and returned.all():
        return whole
    if is_depthwise(operation):
        return _part(whole, returned)
    if not isinstance(operation, _layers.SeparableConv2D):
        return _part(_part(whole, received), returned)
    depthwise, pointwise = (
        math.prod(kernel.shape)
        for kernel in (operation.depthwise_kernel, operation.pointwise_kernel)
    )
    positions = whole // (depthwise + pointwise)
    return positions * _part(depthwise + _part(pointwise, returned), received)


def _part(whole: int, mask: np.ndarray) -> int:
    """Returns a number that is proportional to the channels, for those that stay."""
    return whole * int(mask.sum()) // len(mask)
