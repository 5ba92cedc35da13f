"""Filters pruned by their L1 norm (Li et al. 2017, "Pruning Filters for Efficient ConvNets").

In each convolution the filters with the smallest sum of absolute kernel weights are removed,
and with them the channels that the layers after it receive.
"""

import bisect
from collections.abc import Iterable
from fractions import Fraction

import keras
import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.network import channels, narrowing
from deep_net_triage.network.block import Block
from deep_net_triage.network.blocks import check_belongs
from deep_net_triage.network.channels import Channels, Group


def pruned_to(model: keras.Model, blocks: Iterable[Block], macs: int) -> keras.Model:
    """Returns a copy of a model whose blocks have fewer filters, with the weights of the rest.

    The same fraction of filters is removed in all convolutions and dense layers of the blocks:
    the smallest fraction, rounded down for each, that meets `macs`. One filter stays at least.

    Layers whose outputs are added or multiplied lose the same channels, those with the smallest
    sum of norms over all these layers. Sparing them would leave residual stages almost
    intact, and nearly all filters would have to come from inside their units. If one of
    these layers is outside the blocks, none is pruned. Neither are layers whose
    channels are normalised together (layer and group normalisation, softmax) or enter an
    operation of an unknown kind, since the channels that stay would then change.

    Args:
        model: a flat functional model, as `flattening.flat` returns it; it is not changed.
        blocks: some of its blocks.
        macs: the most multiply-accumulates that the pruned model may have for one image.

    Raises:
        InputError: if a block is not one of this model, or the blocks can't be pruned so far;
            the message gives the number that can be reached.
    """
    blocks = tuple(blocks)
    for block in blocks:
        check_belongs(model, block)
    found = channels.of(model)
    inside = {name for block in blocks for name in block.layers}
    weakest_first = [
        group.channels[np.argsort(_norms(model, found, group), kind="stable")]
        for group in found.groups
        if _can_be_pruned(group, inside)
    ]

    def left(fraction: Fraction) -> int:
        return narrowing.macs(model, found, _kept(found, weakest_first, fraction))

    fractions = sorted(
        {Fraction(n, len(group)) for group in weakest_first for n in range(len(group))}
        | {Fraction(0)}
    )
    number = bisect.bisect_left(fractions, -macs, key=lambda fraction: -left(fraction))
    if number == len(fractions):
        names = ", ".join(block.name for block in blocks)
        raise InputError(
            f"{macs:,} multiply-accumulates can't be reached by pruning {names} of "
            f"{model.name}; allowed: {left(fractions[-1]):,} or more"
        )
    kept = _kept(found, weakest_first, fractions[number])
    pruned = narrowing.narrowed(model, found, kept, seed=0)
    narrowing.copy_kept(model, pruned, found, kept)
    pruned.name = f"{model.name}_pruned"
    return pruned


def _can_be_pruned(group: Group, inside: set[str]) -> bool:
    stays = group.given or group.needed_by or group.mixed_by
    return not stays and inside.issuperset(group.producers)


def _norms(model: keras.Model, found: Channels, group: Group) -> np.ndarray:
    """Returns the sum of absolute kernel weights that produce each channel of a group."""
    norms = np.zeros(found.count)
    for name in group.producers:
        layer = model.get_layer(name)
        separable = isinstance(layer, keras.layers.SeparableConv2D)
        kernel = layer.pointwise_kernel if separable else layer.kernel
        magnitudes = np.abs(keras.ops.convert_to_numpy(kernel).astype(np.float64))
        of_filters = magnitudes.reshape(-1, magnitudes.shape[-1]).sum(axis=0)
        np.add.at(norms, found.returned[name], of_filters)
    return norms[group.channels]


def _kept(found: Channels, weakest_first: list[np.ndarray], fraction: Fraction) -> np.ndarray:
    """Returns for each channel's number whether it stays."""
    kept = np.ones(found.count, bool)
    for group in weakest_first:
        kept[group[: int(fraction * len(group))]] = False
    return kept
