"""Estimates the cost of the paper's experiment at 224 pixels: operations, bytes, GPU hours.

python -m benchmarks.scaling [--sustained=50] [--efficiency=0.85]

Multiply-accumulates and sizes are those of the networks that this package builds. Two numbers
are assumed: the sustained TFLOP/s of a GPU (training in bfloat16), and the efficiency of eight
GPUs that share each batch. The gradient of a layer's input costs as much as its forward pass,
and so does the gradient of its weights, which frozen layers don't need.
"""

import argparse
import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from deep_net_triage.commands import command_line, settings
from deep_net_triage.methods import METHODS
from deep_net_triage.network import blocks, costs, surgery, vgg16

# Section 3: classes, training and test images.
DATASETS = {
    "mnist": (10, 60_000, 10_000),
    "cifar10": (10, 50_000, 10_000),
    "cifar100": (100, 50_000, 10_000),
    "stanford_dogs": (120, 12_000, 8_580),
}
BYTES = 2  # of an activation in bfloat16
GIB = 2**30


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

    def trial(
        self, updates: str, distil: bool, train: int, test: int, options: settings.Settings
    ) -> float:
        """Returns the multiply-accumulates of a trial that reads activations where it can."""
        judged = self.compressed + self.behind
        step = 2 * judged
        if updates == "model":
            step = 3 * (self.before + judged)
            judged += self.before
        distilling = 2 * self.compressed * train * options.distill_epochs if distil else 0
        return options.epochs * (step * train + judged * test) + distilling


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
        before = costs.macs(surgery.cut(parent, parent.inputs[0], start))
        own = costs.macs(surgery.cut(parent, start, end))
        compressed = costs.macs(surgery.replacement(parent, block))
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


def plan(sustained: float, efficiency: float) -> Iterator[str]:
    """Yields the lines of the estimate, as Markdown tables."""
    options = command_line.parse(["--recipe=paper"])
    rate = sustained * 1e12 * 3600 / 2  # multiply-accumulates per hour
    yield "| data set | parent | 15 whole-model trials | 15 layer-only trials | all, one GPU |"
    yield "|---|---|---|---|---|"
    tables = []
    for name, (classes, train, test) in DATASETS.items():
        found, parent = places(classes)
        total = costs.macs(parent)
        of_parent = options.parent_epochs * total * (3 * train + test) / rate
        hours = {
            (place.name, method): place.trial(row.updates, row.distil, train, test, options)
            / rate
            for place in found
            for method, row in METHODS.items()
            if not row.taught
        }
        whole = [h for (_, m), h in hours.items() if METHODS[m].updates == "model"]
        only = [h for (_, m), h in hours.items() if METHODS[m].updates == "block"]
        everything = of_parent + sum(whole) + sum(only)
        yield (
            f"| {name} | {of_parent:.1f} h | {sum(whole):.1f} h | {sum(only):.1f} h "
            f"| {everything:.1f} h |"
        )
        shared = of_parent / (8 * efficiency)
        eight = shared + longest([*whole, *only], 8)
        mirrored = everything / (8 * efficiency)
        sixty_four = shared + longest([h / (2 * efficiency**0.5) for h in (*whole, *only)], 32)
        kept = [place.received for place in found[1:]] + [found[-1].returned]
        size = sum(kept) * BYTES * (train + test) / GIB
        weights = 31 * 4 * costs.parameters(parent) / GIB
        tables.append(
            f"| {name} | {mirrored:.1f} h | {eight:.1f} h | {sixty_four:.1f} h "
            f"| {size:.0f} GiB | {weights:.0f} GiB |"
        )
    yield ""
    yield (
        "| data set | 8 GPUs, sharing each batch | 8 GPUs, a trial each | 8 machines of 8, a "
        "trial on 2 GPUs | activations kept | models |"
    )
    yield "|---|---|---|---|---|---|"
    yield from tables


def main() -> None:
    """Prints the estimate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sustained", type=float, default=50.0)
    parser.add_argument("--efficiency", type=float, default=0.85)
    given = parser.parse_args()
    for line in plan(given.sustained, given.efficiency):
        print(line)


if __name__ == "__main__":
    main()
