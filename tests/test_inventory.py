import keras

from deep_net_triage.network import blocks, costs, inventory, surgery
from deep_net_triage.network.blocks import find_blocks


def test_a_block_is_described_by_its_size_and_cost(parent):
    first, second = inventory.of_blocks(parent, find_blocks(parent))
    assert (second.name, second.first, second.last) == (
        "block2",
        "b2_conv1",
        "b2_relu3",
    )
    assert (second.convolutions, second.layers, second.pool) == (3, 9, "b2_pool")
    assert (second.received, second.returned) == ((4, 4, 3), (4, 4, 4))
    # Kernels and biases of 3 to 4 and twice 4 to 4 channels; four numbers a batch norm channel.
    assert second.parameters == (9 * 3 * 4 + 4) + 2 * (9 * 4 * 4 + 4) + 3 * 16
    assert second.macs == 16 * 9 * (12 + 16 + 16)
    assert second.compressed_parameters == 9 * 3 * 4 + 4 + 16
    assert second.compressed_macs == 16 * 9 * 12
    block = find_blocks(parent)[1]
    student = surgery.compress(parent, block, initializer="mean", seed=0)
    for name, count in (("parameters", costs.parameters), ("macs", costs.macs)):
        saved = getattr(second, name) - getattr(second, f"compressed_{name}")
        assert count(parent) - count(student) == saved
    assert first.received == (8, 8, 2)


def crossing():
    """Two cells that each receive what the two before them return, as in NASNet."""
    layers = keras.layers
    x = images = keras.Input((16, 16, 3))
    before = here = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    for cell in "ab":
        halved = layers.Conv2D(4, 1, strides=2, name=f"{cell}_skip")(before)
        if cell == "b":
            halved = layers.Conv2D(4, 1, strides=2, name="b_again")(halved)
        down = layers.Conv2D(4, 3, strides=2, padding="same", name=f"{cell}_conv")(here)
        before, here = here, layers.Add(name=f"{cell}_add")([halved, down])
    x = layers.Flatten()(here)
    return keras.Model(images, layers.Dense(2)(x))


def test_blocks_share_layers_where_one_is_named_within_another(parent):
    found = find_blocks(parent)
    named = blocks.named(parent, found[0].layers[0], found[0].layers[-1])
    assert not inventory.share_layers(parent, inventory.of_blocks(parent, found))
    assert inventory.share_layers(parent, inventory.of_blocks(parent, [*found, named]))


def test_a_block_across_several_resolutions_says_why():
    model = crossing()
    (block,) = find_blocks(model)
    assert block.shape.strides == (4, 4)
    (line,) = inventory.undivided(model, [block])
    assert line.startswith("block1 can't be divided: between a_")
    assert " and b_add there is no place at which a single tensor" in line


def test_blocks_of_one_resolution_need_no_explanation(parent):
    assert inventory.undivided(parent, find_blocks(parent)) == []
