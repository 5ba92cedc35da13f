"""A block as a value: a segment of a network that one convolution can replace.

It receives one tensor, returns one, and holds two convolutions or more. A block names its
layers and does not hold them, so that it fits a parent and every copy of it.
"""

from dataclasses import dataclass

import keras

from deep_net_triage.network.descriptions import Shape
from deep_net_triage.network.graphs import by_name

# One 3x3 convolution, or a depthwise 3x3 convolution and a pointwise one in a SeparableConv2D.
REPLACEMENTS = ("conv", "separable")


@dataclass(frozen=True)
class Block:
    """A segment of a model that one convolution can replace.

    Attributes:
        name: `block1` for the first one that is found in a model, `first_layer-last_layer` for
            one that is named by its layers.
        after: the operation whose output the block receives; None for the model's input, which
            has another name in every copy.
        layers: the operations that are replaced, in order.
        convolutions: those of the layers that are convolutions.
        batchnorms: those of the layers that are batch norms.
        pool: the pooling after them, whose output the block returns; None without one.
        shape: of the convolution that replaces them.
        activation: the operation whose activation ends the block; None without one, as after
            linear bottlenecks and sums of residuals.
        compressed_layers: the names of the convolution, batch norm and activation that replace
            the layers, such as `block1_compressed_conv`; no other layer of the model has them.
        replacement: the kind of that convolution, one of `REPLACEMENTS`.
    """

    name: str
    after: str | None
    layers: tuple[str, ...]
    convolutions: tuple[str, ...]
    batchnorms: tuple[str, ...]
    pool: str | None
    shape: Shape
    activation: str | None
    compressed_layers: tuple[str, str, str]
    replacement: str = "conv"

    def convolutions_in(self, parent: keras.Model) -> list[keras.layers.Layer]:
        """Returns the block's convolutions in a model that holds it uncompressed."""
        return [parent.get_layer(name) for name in self.convolutions]

    def overlaps(self, other: "Block") -> bool:
        """Returns whether two blocks share a layer; the pooling after a block is one of it."""
        own, others = ({*block.layers, block.pool} - {None} for block in (self, other))
        return not own.isdisjoint(others)

    def batchnorms_in(self, parent: keras.Model) -> list[keras.layers.BatchNormalization]:
        """Returns the block's batch norms in a model that holds it uncompressed."""
        return [parent.get_layer(name) for name in self.batchnorms]

    def kernels_in(self, student: keras.Model) -> list[keras.Variable]:
        """Returns the kernels of the convolution that replaces the block in a student.

        These are one of shape (3, 3, input channels, filters), or those of a separable
        convolution: (3, 3, input channels, 1) and (1, 1, input channels, filters).
        """
        convolution = student.get_layer(self.compressed_layers[0])
        if self.replacement == "separable":
            return [convolution.depthwise_kernel, convolution.pointwise_kernel]
        return [convolution.kernel]

    def received_by(self, model: keras.Model) -> keras.KerasTensor:
        """Returns the tensor that enters the block in a model, compressed or not."""
        return by_name(model)[self.after].output if self.after else model.inputs[0]

    def returned_by(self, model: keras.Model) -> keras.KerasTensor:
        """Returns the tensor that leaves the block, pooled, in a model, compressed or not."""
        operations = by_name(model)
        ends = (self.pool, self.compressed_layers[-1], self.layers[-1])
        return next(operations[name].output for name in ends if name in operations)
