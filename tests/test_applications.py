"""The networks of Keras Applications, untrained, at 96 pixels."""

import keras
import pytest

from deep_net_triage.network import graphs, surgery
from deep_net_triage.network.blocks import survey

# What must be found at least, and the first layer of the last block.
NETWORKS = {
    "VGG16": (5, "block5_conv1"),
    "VGG19": (5, "block5_conv1"),
    "ResNet50": (4, None),
    "ResNet50V2": (4, None),
    "DenseNet121": (4, None),
    "MobileNetV2": (4, None),
    "EfficientNetB0": (4, None),
    "InceptionV3": (4, None),
    "Xception": (4, None),
}


def network(name):
    build = getattr(keras.applications, name)
    return build(weights=None, input_shape=(96, 96, 3), classes=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_found_and_each_can_be_replaced(name):
    parent = graphs.flat(network(name))
    found = survey(parent)
    least, _ = NETWORKS[name]
    assert len(found.blocks) >= least
    covered = [layer for block in found.blocks for layer in block.layers]
    assert len(covered) == len(set(covered))
    convolutions = {
        layer.name
        for layer in parent.layers
        if isinstance(
            layer,
            keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D,
        )
    }
    named = {name for block in found.blocks for name in block.convolutions}
    # What is in no block is the stem, or is refused.
    assert len(convolutions - named) <= 3
    for block in found.blocks:
        received, returned = block.received_by(parent), block.returned_by(parent)
        student = surgery.compress(parent, block, initializer="mean", seed=0)
        assert block.received_by(student).shape == received.shape
        assert block.returned_by(student).shape == returned.shape
        assert student.output_shape == (None, 10)
