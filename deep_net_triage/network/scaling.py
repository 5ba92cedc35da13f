"""A network with all its widths scaled down: the same architecture, untrained."""

import bisect
from fractions import Fraction

import keras
import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.network import channels, narrowing
from deep_net_triage.network.channels import Channels


def scaled_to(model: keras.Model, macs: int, *, seed: int) -> keras.Model:
    """Returns the widest model of the same architecture within some multiply-accumulates.

    It is freshly initialised. The filters of each convolution and the units of each hidden
    dense layer are multiplied by one factor and rounded, halves up, to one at least. Depthwise
    convolutions follow their input. Layers whose outputs are added or multiplied have the same
    channels, and grouped convolutions the same number in each group. The classes stay.

    Args:
        model: a flat functional model, as `flattening.flat` returns it; it is not changed.
        macs: the most multiply-accumulates that the scaled model may have for one image.
        seed: of the layers' own initializers, and of layers that draw at random.

    Raises:
        InputError: if a layer works with its present channels only, such as one that shuffles
            channels by a Reshape, and the message names it; or if one channel for each layer
            takes more, and the message gives the number that can be reached.
    """
    found = channels.of(model)

    def needed(factor: Fraction) -> int:
        return narrowing.macs(model, found, _kept(model, found, factor))

    # A width changes where the factor times the whole width ends in a half.
    factors = sorted(
        {
            Fraction(2 * width - 1, 2 * len(group.channels))
            for group in found.groups
            for width in range(1, len(group.channels) + 1)
        }
    )
    if not factors:
        raise InputError(
            f"{model.name} has no convolution or dense layer of Keras whose width can change"
        )
    number = bisect.bisect_right(factors, macs, key=needed)
    if number == 0:
        raise InputError(
            f"{macs:,} multiply-accumulates can't be reached by scaling the widths of "
            f"{model.name}; allowed: {needed(factors[0]):,} or more"
        )
    return _scaled(model, found, factors[number - 1], seed)


def _scaled(model: keras.Model, found: Channels, factor: Fraction, seed: int) -> keras.Model:
    small = narrowing.narrowed(model, found, _kept(model, found, factor), seed=seed)
    small.name = f"{model.name}_scaled"
    return small


def _kept(model: keras.Model, found: Channels, factor: Fraction) -> np.ndarray:
    """Returns for each channel's number whether it stays: the first ones of each group."""
    kept = np.ones(found.count, bool)
    for group in found.groups:
        width = max(1, int(factor * len(group.channels) + Fraction(1, 2)))
        if group.given or width == len(group.channels):
            continue
        if group.needed_by:
            raise InputError(narrowing.cannot_lose_channels(model, group.needed_by))
        kept[group.channels[width:]] = False
    return kept
