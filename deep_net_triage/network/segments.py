"""Which segments of a network one convolution can replace, and by what shape of one."""

import math
from dataclasses import dataclass

import keras

from deep_net_triage.network.graphs import Graph
from deep_net_triage.network.initializers import KERNEL_SIZE

_layers = keras.layers
_CONVOLUTIONS = (_layers.Conv2D, _layers.DepthwiseConv2D, _layers.SeparableConv2D)
_POOLINGS = (_layers.MaxPooling2D, _layers.AveragePooling2D)
_NORMALIZATIONS = (
    _layers.BatchNormalization,
    _layers.GroupNormalization,
    _layers.LayerNormalization,
)
_ACTIVATIONS = (
    _layers.Activation,
    _layers.ELU,
    _layers.LeakyReLU,
    _layers.PReLU,
    _layers.ReLU,
)
_DROPOUTS = (_layers.Dropout, _layers.SpatialDropout2D)
_BESIDE_CONVOLUTIONS = (*_NORMALIZATIONS, *_ACTIVATIONS, *_DROPOUTS, _layers.ZeroPadding2D)


@dataclass(frozen=True)
class Shape:
    """The one 3x3 convolution that makes of a segment's input a tensor like its output.

    Attributes:
        filters: the segment's output channels.
        strides: the segment's total stride, (rows, columns).
        padding: `same`, or `valid` where the segment trims the map's edge by one pixel.
    """

    filters: int
    strides: tuple[int, int]
    padding: str


def convolves(operation: keras.Operation) -> bool:
    """Says whether an operation is a convolution, depthwise and separable ones included."""
    return isinstance(operation, _CONVOLUTIONS)


def runs(graph: Graph) -> list[tuple[list[list[str]], str | None]]:
    """Returns the steps of the trunk between changes of resolution, with their pooling.

    A step that strides begins a run, a pooling ends one. So does what no convolution stands
    for, such as preprocessing and dense layers. Only runs that hold a convolution count.

    Returns:
        For each run its steps, and the name of the pooling behind it or None.
    """
    found: list[tuple[list[list[str]], str | None]] = []
    run: list[list[str]] = []
    for step in _with_paddings(graph):
        operation = graph.operations[step[-1]]
        if isinstance(operation, _POOLINGS) and _pads(graph, step[:-1]):
            found.append((run, step[-1]))
            run = []
        elif not _belongs(graph, step):
            found.append((run, None))
            run = []
        elif _total_strides(graph, step) != (1, 1):
            kept = _before_widening(graph, run) if _strides_depthwise(graph, step) else len(run)
            found.append((run[:kept], None))
            run = [*run[kept:], step]
        else:
            run.append(step)
    found.append((run, None))
    return [
        (steps, pool)
        for steps, pool in found
        if any(convolves(graph.operations[name]) for step in steps for name in step)
    ]


def refusal(graph: Graph, names: list[str]) -> str | None:
    """Returns why a segment can't be replaced by one convolution; None where it can.

    Args:
        graph: of the whole model.
        names: its operations in order, of which the first receives all that they depend on.
    """
    if sum(convolves(graph.operations[name]) for name in names) < 2:
        return "it has fewer than two convolutions, so that there is nothing to replace by one"
    received, returned = _received(graph, names), graph.operations[names[-1]].output
    if len(received.shape) != 4 or len(returned.shape) != 4:
        return f"{names[-1]} returns no map of pixels"
    strides = _total_strides(graph, names)
    if _padding(graph, names) is None:
        if None in (*received.shape[1:3], *returned.shape[1:3]):
            return f"what {names[0]} receives has no fixed size, and its edge is trimmed"
        before, after = (" x ".join(map(str, t.shape[1:3])) for t in (received, returned))
        return (
            f"it makes {after} pixels of {before}, and no 3x3 convolution of stride "
            f"{max(strides)} does"
        )
    return None


def replacement(graph: Graph, names: list[str]) -> Shape:
    """Returns the shape of the convolution that replaces a segment which is not refused."""
    returned, strides = graph.operations[names[-1]].output, _total_strides(graph, names)
    return Shape(returned.shape[-1], strides, _padding(graph, names))


def activation(graph: Graph, names: list[str]) -> str | None:
    """Returns the operation whose activation a segment ends with, normalised after it or not.

    None where it ends without: what comes next expects negative values then.
    """
    for name in reversed(names):
        operation = graph.operations[name]
        if isinstance(operation, _ACTIVATIONS):
            return name
        if convolves(operation) and operation.activation is not keras.activations.linear:
            return name
        if not isinstance(operation, (*_NORMALIZATIONS, *_DROPOUTS)):
            return None
    return None


def pooling_behind(graph: Graph, name: str) -> str | None:
    """Returns the pooling that alone receives what an operation returns; None without one."""
    following = graph.following[name]
    while len(following) == 1 and _pads(graph, following):
        following = graph.following[following[0]]
    if len(following) == 1 and isinstance(graph.operations[following[0]], _POOLINGS):
        return following[0]
    return None


def _with_paddings(graph: Graph) -> list[list[str]]:
    """Returns the steps of the trunk, each padding in one with the step it is made for."""
    joined: list[list[str]] = []
    padding: list[str] = []
    for step in graph.trunk():
        if _pads(graph, step):
            padding += step
        else:
            joined.append([*padding, *step])
            padding = []
    return joined


def _pads(graph: Graph, names: list[str]) -> bool:
    return all(isinstance(graph.operations[name], _layers.ZeroPadding2D) for name in names)


def _belongs(graph: Graph, step: list[str]) -> bool:
    """Says whether a step may stand in a segment: maps of pixels go in and come out."""
    last = graph.operations[step[-1]]
    paths_part = len([name for name in step if not _pads(graph, [name])]) > 1
    if not (paths_part or isinstance(last, (*_CONVOLUTIONS, *_BESIDE_CONVOLUTIONS))):
        return False
    # Before the first operation of the graph comes none whose output could be asked for.
    return bool(graph.received[step[0]]) and all(
        len(tensor.shape) == 4 for tensor in (_received(graph, step), last.output)
    )


def _received(graph: Graph, names: list[str]) -> keras.KerasTensor:
    return graph.operations[graph.received[names[0]][0]].output


def _total_strides(graph: Graph, names: list[str]) -> tuple[int, int]:
    """Returns by how much a segment thins out rows and columns, along its longest path."""
    strides = {graph.received[names[0]][0]: (1, 1)}
    for name in names:
        operation = graph.operations[name]
        strided = isinstance(operation, (*_CONVOLUTIONS, *_POOLINGS))
        rows, columns = operation.strides if strided else (1, 1)
        before = [strides[source] for source in graph.received[name]]
        strides[name] = (rows * max(b[0] for b in before), columns * max(b[1] for b in before))
    return strides[names[-1]]


def _padding(graph: Graph, names: list[str]) -> str | None:
    """Returns the padding by which a 3x3 convolution gives a segment's sides, or None."""
    received, returned = _received(graph, names), graph.operations[names[-1]].output
    strides = _total_strides(graph, names)
    if None in (*received.shape[1:3], *returned.shape[1:3]):
        operations = [graph.operations[name] for name in names]
        padded = all(
            getattr(operation, "padding", "same") == "same" for operation in operations
        )
        return "same" if padded else None
    for padding, trimmed in (("same", 0), ("valid", KERNEL_SIZE - 1)):
        sides = [
            math.ceil((side - trimmed) / stride)
            for side, stride in zip(received.shape[1:3], strides, strict=True)
        ]
        if sides == list(returned.shape[1:3]):
            return padding
    return None


def _strides_depthwise(graph: Graph, step: list[str]) -> bool:
    return isinstance(graph.operations[step[-1]], _layers.DepthwiseConv2D)


def _before_widening(graph: Graph, run: list[list[str]]) -> int:
    """Returns how many steps of a run come before the pointwise convolution at its end.

    An inverted bottleneck widens a linear tensor, then convolves it depthwise: both are one
    unit, which must not be cut where it is widest.
    """
    for number in range(len(run) - 1, 0, -1):
        operation = graph.operations[run[number][-1]]
        if len(run[number]) > 1:
            break
        if isinstance(operation, _layers.Conv2D):
            widens = operation.kernel_size == (1, 1) and (
                operation.filters > _received(graph, run[number]).shape[-1]
            )
            linear = activation(graph, [name for step in run[:number] for name in step]) is None
            return number if widens and linear else len(run)
        if not isinstance(operation, (*_NORMALIZATIONS, *_ACTIVATIONS)):
            break
    return len(run)
