from deep_net_triage.findings import looks, structures
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import find_blocks


def test_the_block_stands_in_its_network_beside_the_layer_that_replaces_it(parent):
    blocks = find_blocks(parent)
    student = surgery.compress(parent, blocks[1], initializer="mean", seed=0)
    (axes,) = structures.draw(parent, student, blocks[1], blocks).axes
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("Conv 3×3, 4") == 3 + 1
    assert texts.count("Max pool") == 2
    assert texts.count("4 × 4 × 3") == texts.count("2 × 2 × 4") == 2
    titles = [text for text in texts if text in ("input", "Block 1", "Block 2", "output")]
    assert titles == ["input", "Block 1", "Block 2", "output", "Block 2"]


def test_names_of_blocks_in_figures():
    assert looks.block_title("block12") == "Block 12"
    assert looks.block_title("block3_first") == "Block 3, first half"
    for name in ("blocker", "block3_x", "conv1:conv2", "no-block"):
        assert looks.block_title(name) == name
