"""Estimates the cost of the paper's experiment at 224 pixels: operations, bytes, GPU hours.

python -m benchmarks.scaling [--sustained=50] [--efficiency=0.85]

Multiply-accumulates and sizes are those of the networks that this package builds. Two numbers
are assumed: the sustained TFLOP/s of a GPU (training in bfloat16), and the efficiency of eight
GPUs that share each batch; that of two is its square root. The gradient of a layer's input
costs as much as its forward pass, and so does the gradient of its weights, which frozen layers
don't need. `docs/scaling.md` has these tables.
"""

import argparse
import functools
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import keras

from deep_net_triage.commands import command_line, settings
from deep_net_triage.methods import METHODS, Method
from deep_net_triage.network import blocks, costs, graphs, surgery, vgg16

# Section 3: classes, training and test images.
DATASETS = {
    "MNIST": (10, 60_000, 10_000),
    "CIFAR-10": (10, 50_000, 10_000),
    "CIFAR-100": (100, 50_000, 10_000),
    "Stanford Dogs": (120, 12_000, 8_580),
}
BYTES = 2  # of an activation in bfloat16
KIB, GIB = 2**10, 2**30


@dataclass(frozen=True)
class Place:
    """A block's costs for one image.

    Attributes:
        name: the block's name.
        before: multiply-accumulates of the layers before the block.
        block: multiply-accumulates of the block.
        compressed: multiply-accumulates of its replacement.
        behind: multiply-accumulates of the layers after the block.
        received: number of values in the block's input.
        returned: number of values in its pooled output.
    """

    name: str
    before: int
    block: int
    compressed: int
    behind: int
    received: int
    returned: int

    def trial(self, method: Method, train: int, test: int, options: settings.Settings) -> float:
        """Returns the multiply-accumulates of a trial that reads activations where it can."""
        judged = self.compressed + self.behind
        step = 2 * judged
        if method.updates == "model":
            step = 3 * (self.before + judged)
            judged += self.before
        distilling = (
            2 * self.compressed * train * options.distill_epochs
            if method.student_teacher
            else 0
        )
        return options.epochs * (step * train + judged * test) + distilling


@functools.cache
def places(classes: int) -> tuple[list[Place], keras.Model]:
    """Returns the blocks of VGG16 at 224 pixels and full width, and the network."""
    parent = vgg16.VGG16(
        input_shape=(224, 224, 3),
        classes=classes,
        image_size=224,
        mean=[0.0] * 3,
        deviation=[1.0] * 3,
    ).build()
    total, found = costs.macs(parent), []
    for block in blocks.find_blocks(parent):
        start, end = block.received_by(parent), block.returned_by(parent)
        before = costs.macs(graphs.cut(parent, parent.inputs[0], start))
        own = costs.macs(graphs.cut(parent, start, end))
        compressed = costs.macs(surgery.replacement_model(parent, block))
        values = [
            tensor.shape[1] * tensor.shape[2] * tensor.shape[3] for tensor in (start, end)
        ]
        found.append(Place(block.name, before, own, compressed, total - before - own, *values))
    return found, parent


def longest(durations: list[float], slots: int) -> float:
    """Returns the duration of trials that each start as soon as one of the slots is free."""
    free = [0.0] * slots
    for duration in sorted(durations, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


def row(cells: Iterable[str]) -> str:
    """Returns a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def head(*titles: str) -> Iterator[str]:
    """Yields the first two lines of a Markdown table."""
    yield row(titles)
    yield f"|{'---|' * len(titles)}"


def costs_of_blocks() -> Iterator[str]:
    """Yields the lines of a Markdown table: what each block costs for one image."""
    work = ("before the block", "block", "replacement", "after the block")
    yield from head("block", *work, "input per image (bfloat16)", "output per image")
    found, _ = places(10)
    for place in found:
        macs = (place.before, place.block, place.compressed, place.behind)
        sizes = (BYTES * values / KIB for values in (place.received, place.returned))
        cells = [f"{number / 1e9:.1f} G" for number in macs]
        yield row([place.name, *cells, *(f"{size:,.0f} KiB" for size in sizes)])


def plan(sustained: float, efficiency: float) -> Iterator[str]:
    """Yields the lines of the estimate, as Markdown tables."""
    options = command_line.parse(["--recipe=paper"])
    rate = sustained * 1e12 * 3600 / 2  # multiply-accumulates per hour
    # So many times as fast as one GPU.
    eight, two = 8 * efficiency, 2 * efficiency**0.5
    trials_of = ("15 whole-model trials", "15 layer-only trials", "control")
    yield from head("data set (training / test images)", "parent", *trials_of, "all, one GPU")
    divided, kept = [], []
    for name, (classes, train, test) in DATASETS.items():
        found, parent = places(classes)
        epoch = costs.macs(parent) * (3 * train + test) / rate  # of the whole network
        of_parent, control = options.parent_epochs * epoch, options.epochs * epoch
        whole, only = (
            [
                place.trial(method, train, test, options) / rate
                for place in found
                for method in METHODS.values()
                if method.updates == updates and not method.taught
            ]
            for updates in ("model", "block")
        )
        trials = [*whole, *only, control]
        everything = of_parent + sum(trials)
        columns = (of_parent, sum(whole), sum(only), control, everything)
        yield row([f"{name} ({train:,} / {test:,})", *(f"{h:.1f} h" for h in columns)])
        ways = (
            everything / eight,
            of_parent / eight + longest(trials, 8),
            of_parent / eight + longest(trials, 64),
            # With --replicas=2 the parent has two GPUs as well.
            (of_parent + longest(trials, 32)) / two,
        )
        divided.append(row([name, *(f"{h:.1f} h" for h in ways)]))
        values = [place.received for place in found[1:]] + [found[-1].returned]
        activations = sum(values) * BYTES * (train + test)
        models = (1 + len(trials)) * 4 * costs.parameters(parent)
        kept.append(row([name, *(f"{size / GIB:.0f} GiB" for size in (activations, models))]))
    yield ""
    yield from head(
        "data set",
        "8 GPUs share each batch",
        "8 GPUs, one trial per GPU",
        "8 machines of 8, one trial per GPU",
        "8 machines of 8, one trial per two GPUs",
    )
    yield from divided
    yield ""
    yield from head("data set", "stored activations", "models")
    yield from kept


def main() -> None:
    """Prints the estimate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sustained", type=float, default=50.0)
    parser.add_argument("--efficiency", type=float, default=0.85)
    given = parser.parse_args()
    for line in (*costs_of_blocks(), "", *plan(given.sustained, given.efficiency)):
        print(line)


if __name__ == "__main__":
    main()
