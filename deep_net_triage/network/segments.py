"""Which segments of a network one convolution can replace, and the convolution's shape."""

import math
from collections.abc import Iterable

import keras

from deep_net_triage.network import activations, layer_kinds
from deep_net_triage.network.descriptions import Shape
from deep_net_triage.network.graphs import Graph
from deep_net_triage.network.initializers import KERNEL_SIZE
from deep_net_triage.wording import sides

HEAD = "it belongs to the classifier's head"

# Sides to try for a map with open sides: one for each remainder of a stride of 2 or 4.
_SIDES = (64, 65, 66, 67)


def runs(graph: Graph) -> list[tuple[list[list[str]], str | None]]:
    """Returns the steps of the trunk between changes of resolution, with their pooling.

    A step with a stride begins a run, and a pooling ends one. So does an operation that a
    convolution can't replace, such as preprocessing, dense layers and the classifier's head.

    Returns:
        For each run that holds a convolution its steps, and the name of the pooling after it
        or None.
    """
    ended: list[tuple[list[list[str]], str | None]] = []
    run: list[list[str]] = []
    in_head = head(graph)
    for step in steps(graph):
        operation = graph.operations[step[-1]]
        if isinstance(operation, layer_kinds.POOLINGS) and _pads(graph, step[:-1]):
            ended.append((run, step[-1]))
            run = []
        elif step[-1] in in_head or not _belongs(graph, step):
            ended.append((run, None))
            run = []
        elif _total_strides(graph, step) != (1, 1):
            kept = _before_widening(graph, run) if _strides_depthwise(graph, step) else len(run)
            ended.append((run[:kept], None))
            run = [*run[kept:], step]
        else:
            run.append(step)
    ended.append((run, None))
    return [
        (steps, pool)
        for steps, pool in ended
        if any(
            layer_kinds.is_convolution(graph.operations[name])
            for step in steps
            for name in step
        )
    ]


def steps(graph: Graph, names: Iterable[str] | None = None) -> list[list[str]]:
    """Returns the steps of the trunk, each zero padding joined with the step after it.

    Args:
        graph: of the whole model.
        names: of a segment's operations; None for the whole trunk.
    """
    joined: list[list[str]] = []
    padding: list[str] = []
    for step in graph.trunk(names):
        if _pads(graph, step):
            padding += step
        else:
            joined.append([*padding, *step])
            padding = []
    return joined


def head(graph: Graph) -> list[str]:
    """Returns the names of the operations of a classifier's head, in their order.

    A global pooling that all paths go through begins the head, or a convolution before it
    whose filters are the classes. Without either no names are returned.
    """
    alone = [step[0] for step in graph.trunk() if len(step) == 1]
    pooled = [
        name
        for name in alone
        if isinstance(graph.operations[name], layer_kinds.GLOBAL_POOLINGS)
    ]
    first = {*pooled[:1], _convolution_of_classes(graph)}
    names = list(graph.operations)
    starts = [number for number, name in enumerate(names) if name in first]
    return names[starts[0] :] if starts else []


def undivided(graph: Graph, names: list[str]) -> tuple[str, str] | None:
    """Returns the ends of a part of a segment that changes the resolution several times.

    Such a part can't be divided: no single tensor connects what comes before and after any
    of its operations.

    Returns:
        The names of the part's first and last operation; None without such a part.
    """
    for step in graph.trunk():
        if len(step) > 1 and set(step) <= set(names):
            largest = max(max(_strides(graph.operations[name])) for name in step)
            if max(_total_strides(graph, step)) > largest:
                return step[0], step[-1]
    return None


def refusal(graph: Graph, names: list[str], kind: str = "conv") -> str | None:
    """Returns why one convolution can't replace a segment; None if it can.

    Args:
        graph: of the whole model.
        names: the segment's operations in order; all of them depend on what the first receives.
        kind: of the convolution, one of `block.REPLACEMENTS`.
    """
    if sum(layer_kinds.is_convolution(graph.operations[name]) for name in names) < 2:
        return "it has fewer than two convolutions, so replacing it saves nothing"
    received, returned = _received(graph, names), graph.operations[names[-1]].output
    if len(received.shape) != 4 or len(returned.shape) != 4:
        return "its input or its output is not a set of feature maps"
    if not set(names).isdisjoint(head(graph)):
        return HEAD
    sizes = _sizes(graph, names)
    if not sizes:
        return "it takes maps of any size, but fails at some sizes"
    if _padding(graph, names) is None:
        before, after = sizes[0]
        return (
            f"it turns {sides(before)} pixels into {sides(after)}, which no 3x3 convolution "
            f"with stride {max(_total_strides(graph, names))} can do"
        )
    rows, columns = _total_strides(graph, names)
    if kind == "separable" and rows != columns:
        return (
            f"its stride is {rows} x {columns}, and TensorFlow's depthwise convolutions have "
            "the same along rows and columns; --replacement=conv can replace it"
        )
    return None


def stopped_by(graph: Graph, names: list[str]) -> str | None:
    """Returns the layer that ends a segment because no block can hold a layer of its kind.

    Returns:
        Its name and kind, such as `up, a Conv2DTranspose`; None if the segment ends otherwise.
    """
    following = graph.following[names[-1]]
    if len(following) != 1 or _belongs(graph, following) or following[0] in head(graph):
        return None
    operation = graph.operations[following[0]]
    returns_maps = len(getattr(operation.output, "shape", ())) == 4
    if isinstance(operation, layer_kinds.POOLINGS) or not returns_maps:
        return None
    return f"{operation.name}, a {type(operation).__name__}"


def shape_of(graph: Graph, names: list[str]) -> Shape:
    """Returns the shape of the convolution that replaces a segment which is not refused."""
    returned, strides = graph.operations[names[-1]].output, _total_strides(graph, names)
    return Shape(returned.shape[-1], strides, _padding(graph, names))


def pooling_behind(graph: Graph, name: str) -> str | None:
    """Returns the name of the pooling that alone receives an operation's output, or None."""
    following = graph.following[name]
    while len(following) == 1 and _pads(graph, following):
        following = graph.following[following[0]]
    if len(following) == 1 and isinstance(graph.operations[following[0]], layer_kinds.POOLINGS):
        return following[0]
    return None


def _convolution_of_classes(graph: Graph) -> str | None:
    """Returns the convolution whose filters are the classes that a model returns, or None."""
    name = list(graph.operations)[-1]
    returned = graph.operations[name].output
    while len(graph.received[name]) == 1 and not getattr(graph.operations[name], "weights", []):
        (name,) = graph.received[name]
    operation = graph.operations[name]
    of_classes = layer_kinds.is_convolution(operation) and len(returned.shape) == 2
    return name if of_classes and operation.output.shape[-1] == returned.shape[-1] else None


def _pads(graph: Graph, names: list[str]) -> bool:
    """Returns whether all operations are zero paddings."""
    return all(isinstance(graph.operations[name], keras.layers.ZeroPadding2D) for name in names)


def _belongs(graph: Graph, step: list[str]) -> bool:
    """Returns whether a step may be part of a segment: it takes and returns maps of pixels."""
    last = graph.operations[step[-1]]
    paths_part = len([name for name in step if not _pads(graph, [name])]) > 1
    known = (*layer_kinds.CONVOLUTIONS, *layer_kinds.BESIDE_CONVOLUTIONS)
    if not (paths_part or isinstance(last, known) or layer_kinds.is_activation(last)):
        return False
    # The first operation of the graph receives nothing.
    return bool(graph.received[step[0]]) and all(
        len(tensor.shape) == 4 for tensor in (_received(graph, step), last.output)
    )


def _received(graph: Graph, names: list[str]) -> keras.KerasTensor:
    """Returns the tensor that a segment receives."""
    return graph.operations[graph.received[names[0]][0]].output


def _total_strides(graph: Graph, names: list[str]) -> tuple[int, int]:
    """Returns a segment's total stride, (rows, columns), the largest over its paths."""
    strides = {graph.received[names[0]][0]: (1, 1)}
    for name in names:
        rows, columns = _strides(graph.operations[name])
        before = [strides[source] for source in graph.received[name]]
        strides[name] = (rows * max(b[0] for b in before), columns * max(b[1] for b in before))
    return strides[names[-1]]


def _strides(operation: keras.Operation) -> tuple[int, int]:
    return (
        operation.strides
        if isinstance(operation, (*layer_kinds.CONVOLUTIONS, *layer_kinds.POOLINGS))
        else (1, 1)
    )


def _padding(graph: Graph, names: list[str]) -> str | None:
    """Returns the padding with which a 3x3 convolution returns a segment's size, or None."""
    strides, sizes = _total_strides(graph, names), _sizes(graph, names)
    for padding, trimmed in (("same", 0), ("valid", KERNEL_SIZE - 1)):
        expected = [
            tuple(
                math.ceil((side - trimmed) / stride)
                for side, stride in zip(before, strides, strict=True)
            )
            for before, _ in sizes
        ]
        if sizes and expected == [after for _, after in sizes]:
            return padding
    return None


def _sizes(graph: Graph, names: list[str]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Returns the sizes of maps that a segment receives, each with the size that it returns.

    A size is (rows, columns). Open sides are tried out; nothing is returned if one fails.
    """
    received, returned = _received(graph, names), graph.operations[names[-1]].output
    if None not in (*received.shape[1:3], *returned.shape[1:3]):
        return [(tuple(received.shape[1:3]), tuple(returned.shape[1:3]))]
    segment, sizes = keras.Model(received, returned), []
    for side in _SIDES:
        before = tuple(known or side for known in received.shape[1:3])
        try:
            shape = segment.compute_output_shape((None, *before, received.shape[-1]))
        except (TypeError, ValueError):  # as Keras says that tensors can't be merged
            return []
        sizes.append((before, tuple(shape[1:3])))
    return sizes


def _strides_depthwise(graph: Graph, step: list[str]) -> bool:
    return isinstance(graph.operations[step[-1]], keras.layers.DepthwiseConv2D)


def _before_widening(graph: Graph, run: list[list[str]]) -> int:
    """Returns how many steps of a run come before the widening convolution at its end.

    An inverted bottleneck widens a linear tensor by a pointwise convolution, then convolves it
    depthwise. Both are one unit, which must not be cut where it is widest. Without such an end
    the number of all steps is returned.
    """
    for number in range(len(run) - 1, 0, -1):
        operation = graph.operations[run[number][-1]]
        if len(run[number]) > 1:
            break
        if isinstance(operation, keras.layers.Conv2D):
            widens = operation.kernel_size == (1, 1) and (
                operation.filters > _received(graph, run[number]).shape[-1]
            )
            before = [name for step in run[:number] for name in step]
            linear = activations.of_end(graph.operations, graph.received, before) is None
            return number if widens and linear else len(run)
        if not (
            isinstance(operation, layer_kinds.NORMALIZATIONS)
            or layer_kinds.is_activation(operation)
        ):
            break
    return len(run)
