"""Groups the channels of a network that can only be removed together.

Convolutions and dense layers produce channels. Other operations pass them on, and some tie
those of several layers: an addition ties channel i of one tensor to channel i of the other.
Each channel has a number, and tied channels share one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np

from deep_net_triage.network import layer_kinds

_layers = keras.layers
# Exact types: a user's subclass may compute something else.
_PRODUCERS = {_layers.Conv2D, _layers.Dense, _layers.SeparableConv2D}
_MERGES = {
    _layers.Add,
    _layers.Average,
    _layers.Maximum,
    _layers.Minimum,
    _layers.Multiply,
    _layers.Subtract,
}
# The same in `keras.ops`, whose classes are not in Keras 3.15's public API.
_MERGE_OPS = {"Add", "Divide", "Maximum", "Minimum", "Multiply", "Subtract", "TrueDivide"}
# Each channel that these layers return depends on the same channel of their input alone.
_CHANNELWISE = {
    _layers.Activation,
    _layers.ActivityRegularization,
    _layers.AlphaDropout,
    _layers.AveragePooling2D,
    _layers.BatchNormalization,
    _layers.Cropping2D,
    _layers.Dropout,
    _layers.ELU,
    _layers.GaussianDropout,
    _layers.GaussianNoise,
    _layers.GlobalAveragePooling2D,
    _layers.GlobalMaxPooling2D,
    _layers.Identity,
    _layers.LeakyReLU,
    _layers.MaxPooling2D,
    _layers.PReLU,
    _layers.ReLU,
    _layers.SpatialDropout2D,
    _layers.UpSampling2D,
    _layers.ZeroPadding2D,
}
_NORMALIZATIONS = {_layers.LayerNormalization, _layers.RMSNormalization}
_ACROSS_CHANNELS = (
    keras.activations.log_softmax,
    keras.activations.softmax,
    keras.activations.sparsemax,
)


@dataclass(frozen=True)
class Group:
    """All channels that the same layers produce.

    Attributes:
        channels: their numbers, in the order in which the layers produce them.
        producers: the names of the convolutions and dense layers that produce them.
        given: whether they include channels of the images or classes, so none can be removed.
        needed_by: an operation that works only with this number of them; None without one.
        mixed_by: an operation that computes a channel from several of them, such as layer
            normalisation, so that removing one changes all; None without one.
    """

    channels: np.ndarray
    producers: tuple[str, ...]
    given: bool
    needed_by: str | None
    mixed_by: str | None


@dataclass(frozen=True)
class Channels:
    """The channels of a flat model, numbered.

    Attributes:
        count: how many numbers there are.
        received: for each operation's name, the channels of the first tensor that it receives.
        returned: for each operation's name, the channels of the first tensor that it returns.
        groups: the groups that a convolution or dense layer produces, in their order.
    """

    count: int
    received: dict[str, np.ndarray]
    returned: dict[str, np.ndarray]
    groups: tuple[Group, ...]


def of(model: keras.Model) -> Channels:
    """Returns the channels of a flat functional model, as `flattening.flat` returns it."""
    trace = _Trace(model.inputs[0])

    def record(operation: keras.Operation, *args: object, **kwargs: object) -> object:
        """Traces an operation instead of calling it, and returns what it has returned."""
        arguments = keras.tree.flatten((args, kwargs))
        tensors = [value for value in arguments if isinstance(value, keras.KerasTensor)]
        constants = [value for value in arguments if not isinstance(value, keras.KerasTensor)]
        trace.add(operation, tensors, constants)
        return operation.output

    # This is the public way to see the constants that functions of `keras.ops` take.
    keras.models.clone_model(
        model,
        input_tensors=model.input,
        clone_function=lambda operation: operation,
        call_function=record,
    )
    return trace.result(model.outputs[0])


def is_depthwise(layer: keras.Operation) -> bool:
    """Returns whether each filter of a convolution sees one input channel alone."""
    if type(layer) is _layers.Conv2D:
        return 1 < layer.groups == layer.input.shape[-1]
    return type(layer) is _layers.DepthwiseConv2D


def produces(operation: keras.Operation) -> bool:
    """Returns whether an operation returns channels of its own: one for each filter or unit."""
    return type(operation) in _PRODUCERS and not is_depthwise(operation)


def scales_channels(operation: keras.Operation) -> bool:
    """Returns whether a layer is ConvNeXt's LayerScale, which Keras 3.15 does not export."""
    return type(operation).__name__ == "LayerScale" and hasattr(operation, "projection_dim")


def width(tensor: keras.KerasTensor) -> int:
    """Returns the length of a tensor's last axis; 0 for an open one."""
    return (tensor.shape[-1] or 0) if tensor.shape else 0


class _Trace:
    """Follows channels through a model, one operation after another."""

    def __init__(self, images: keras.KerasTensor) -> None:
        self._owners: list[str] = []
        self._producers: set[str] = set()
        self._ties: list[tuple[int, int]] = []
        self._given: set[int] = set()
        self._needed: dict[int, str] = {}
        self._mixed: dict[int, str] = {}
        self._received: dict[str, np.ndarray] = {}
        self._returned: dict[str, np.ndarray] = {}
        self._of_tensors = {id(images): self._new(images.shape[-1], images.name)}
        self._given.update(self._of_tensors[id(images)].tolist())

    def add(
        self,
        operation: keras.Operation,
        tensors: list[keras.KerasTensor],
        constants: list[object],
    ) -> None:
        """Follows the channels of the tensors that an operation takes to those it returns."""
        received = [self._of_tensors[id(tensor)] for tensor in tensors]
        outputs = keras.tree.flatten(operation.output)
        returned = self._followed(operation, received, constants)
        if returned is None or len(outputs) > 1 or len(returned) != width(outputs[0]):
            new = self._unknown(operation, received, outputs)
        else:
            new = [returned]
        self._received[operation.name], self._returned[operation.name] = received[0], new[0]
        self._of_tensors |= dict(zip(map(id, outputs), new, strict=True))

    def result(self, classes: keras.KerasTensor) -> Channels:
        """Returns all channels after the last operation, which returns the classes."""
        self._given.update(self._of_tensors[id(classes)].tolist())
        numbers = self._numbers()
        owners: dict[int, dict[str, None]] = {}
        for number, owner in zip(numbers.tolist(), self._owners, strict=True):
            owners.setdefault(number, {})[owner] = None
        members: dict[tuple[str, ...], list[int]] = {}
        for number, names in owners.items():
            members.setdefault(tuple(names), []).append(number)
        given = {int(numbers[channel]) for channel in self._given}
        needed, mixed = (
            {int(numbers[channel]): name for channel, name in marks.items()}
            for marks in (self._needed, self._mixed)
        )
        groups = [
            Group(
                channels=np.array(channels),
                producers=tuple(name for name in names if name in self._producers),
                given=not given.isdisjoint(channels),
                needed_by=next((needed[c] for c in channels if c in needed), None),
                mixed_by=next((mixed[c] for c in channels if c in mixed), None),
            )
            for names, channels in members.items()
        ]
        return Channels(
            count=len(numbers),
            received={name: numbers[channels] for name, channels in self._received.items()},
            returned={name: numbers[channels] for name, channels in self._returned.items()},
            groups=tuple(group for group in groups if group.producers),
        )

    def _numbers(self) -> np.ndarray:
        """Returns the number of each channel: the smallest of those that it is tied to."""
        smaller = list(range(len(self._owners)))

        def smallest(channel: int) -> int:
            while smaller[channel] != channel:
                smaller[channel] = smaller[smaller[channel]]
                channel = smaller[channel]
            return channel

        for tied in self._ties:
            first, second = map(smallest, tied)
            smaller[max(first, second)] = min(first, second)
        return np.array([smallest(channel) for channel in smaller])

    def _new(self, count: int, owner: str) -> np.ndarray:
        first = len(self._owners)
        self._owners += [owner] * count
        return np.arange(first, first + count)

    def _tie(self, tensors: Iterable[np.ndarray]) -> np.ndarray:
        """Ties the channels of tensors, one by one, and returns those of the widest."""
        *others, widest = sorted(tensors, key=len)
        for other in others:
            if len(other) == len(widest):
                self._ties += zip(other.tolist(), widest.tolist(), strict=True)
        return widest

    def _mix(self, channels: np.ndarray, operation: keras.Operation) -> np.ndarray:
        self._mixed |= dict.fromkeys(channels.tolist(), operation.name)
        return channels

    def _followed(
        self, operation: keras.Operation, received: list[np.ndarray], constants: list[object]
    ) -> np.ndarray | None:
        """Returns the channels that an operation returns; None if that is not known."""
        kind, first = type(operation), received[0]
        if produces(operation):
            return self._produced(operation, first)
        if is_depthwise(operation):
            return np.repeat(first, operation.output.shape[-1] // len(first))
        if kind in (_layers.Flatten, _layers.Reshape):
            return _reshaped(operation, first)
        if kind is _layers.Concatenate:
            last = operation.axis in (-1, len(operation.output.shape) - 1)
            return np.concatenate(received) if last else self._tie(received)
        if kind in _MERGES or (kind.__name__ in _MERGE_OPS and _are_scalars(constants)):
            return self._tie(received)
        if kind is _layers.GroupNormalization:
            return self._normalized_in_groups(operation, first)
        if layer_kinds.is_activation_function(operation):
            return first
        if kind in _CHANNELWISE or scales_channels(operation):
            return self._channelwise(operation, first)
        # A user's activation, for example. Whether it can be built with fewer channels is seen
        # when that is tried.
        if len(received) == 1 and (kind in _NORMALIZATIONS or not _has_weights(operation)):
            return self._mix(first, operation)
        return None

    def _unknown(
        self,
        operation: keras.Operation,
        received: list[np.ndarray],
        outputs: list[keras.KerasTensor],
    ) -> list[np.ndarray]:
        """Returns new channels. These and those that the operation receives must all stay.

        Channels that come from the images alone, as in preprocessing, count as given instead.
        """
        returned = [self._new(width(tensor), operation.name) for tensor in outputs]
        if all(self._given.issuperset(channels.tolist()) for channels in received):
            self._given.update(np.concatenate(returned).tolist())
        else:
            for channels in (*received, *returned):
                self._needed |= dict.fromkeys(channels.tolist(), operation.name)
        return returned

    def _produced(self, layer: keras.layers.Layer, received: np.ndarray) -> np.ndarray:
        self._producers.add(layer.name)
        returned = self._new(layer.output.shape[-1], layer.name)
        # A grouped convolution loses the same channels in each of its groups.
        groups = getattr(layer, "groups", 1)
        for channels in (received, returned):
            self._tie(channels.reshape(groups, -1))
        if _is_across_channels(layer.activation):
            self._mix(returned, layer)
        return returned

    def _channelwise(
        self, layer: keras.layers.Layer, received: np.ndarray
    ) -> np.ndarray | None:
        if isinstance(layer, _layers.BatchNormalization):
            last = layer.axis in (-1, len(layer.output.shape) - 1)
            return received if last else None
        if isinstance(layer, _layers.Activation) and _is_across_channels(layer.activation):
            self._mix(received, layer)
        return received

    def _normalized_in_groups(
        self, layer: keras.layers.Layer, received: np.ndarray
    ) -> np.ndarray | None:
        if layer.axis not in (-1, len(layer.output.shape) - 1):
            return None
        if layer.groups == len(received):
            return received
        self._tie(received.reshape(layer.groups, -1))
        return self._mix(received, layer)


def _are_scalars(values: list[object]) -> bool:
    return all(np.ndim(value) == 0 for value in values)


def _has_weights(operation: keras.Operation) -> bool:
    return bool(getattr(operation, "weights", ()))


def _is_across_channels(function: object) -> bool:
    """Returns whether an activation may compute a channel from several.

    A user's function, which Keras serialises as a dictionary, may.
    """
    named = isinstance(keras.activations.serialize(function), str)
    return not named or function in _ACROSS_CHANNELS


def _reshaped(layer: keras.layers.Layer, received: np.ndarray) -> np.ndarray | None:
    """Returns the channels of a tensor that becomes a vector or keeps its last axis."""
    before, after = layer.input.shape[1:], layer.output.shape[1:]
    if before[-1] == after[-1]:
        return received
    if len(after) == 1 and after[0] is not None:
        return np.tile(received, after[0] // len(received))
    return None
