"""The networks of Keras Applications, untrained, at 96 pixels."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import deep_net_triage as dnt
import run_triage
from deep_net_triage.network import costs, flattening, inventory, logits, surgery
from deep_net_triage.network.blocks import survey
from deep_net_triage.network.descriptions import Refused
from deep_net_triage.records import study_results
from tests.conftest import REPOSITORY
from tests.test_datasets import REAL

PAGE = (REPOSITORY / "docs" / "networks.md").read_text(encoding="utf-8")
# The numbers of blocks that the page states.
BLOCKS = {
    name: int(count)
    for names, count in re.findall(r"^\| (\w+(?:, \w+)*) \| (\d) \|", PAGE, re.MULTILINE)
    for name in names.split(", ")
}
NEWER = ("MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny", "NASNetMobile")
NETWORKS = sorted(BLOCKS.keys() - set(NEWER))


def test_the_page_states_the_blocks_of_all_these_networks():
    assert len(NETWORKS) == 9
    assert BLOCKS.keys() >= set(NEWER)


def network(name):
    build = getattr(keras.applications, name)
    return build(weights=None, input_shape=(96, 96, 3), classes=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_found_and_each_can_be_replaced(name):
    parent = flattening.flat(network(name))
    assert not logits.returns_logits(parent)
    assert costs.uncounted(parent) == ()
    found = survey(parent)
    assert len(found.blocks) == BLOCKS[name]
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


@pytest.mark.slow
def test_the_convolutions_of_a_classifier_are_no_block():
    found = survey(flattening.flat(network("MobileNetV3Small")))
    assert len(found.blocks) == BLOCKS["MobileNetV3Small"]
    assert found.refused[-1] == Refused(
        "conv_2", "logits", "it belongs to the classifier's head"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetV2B0", "ConvNeXtTiny"])
def test_newer_networks_have_as_many_blocks_as_the_page_states(name):
    assert len(survey(flattening.flat(network(name))).blocks) == BLOCKS[name]


@pytest.mark.slow
def test_one_block_across_all_resolutions_says_why():
    parent = flattening.flat(network("NASNetMobile"))
    (block,) = survey(parent).blocks
    assert len(block.convolutions) == 195
    (line,) = inventory.undivided(parent, [block])
    assert line.startswith("block1 can't be divided: between activation")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "block", "replacement"),
    [
        ("MobileNetV3Small", "2", "conv"),
        ("MobileNetV3Small", "1", "separable"),
        ("EfficientNetV2B0", "2", "conv"),
        ("ConvNeXtTiny", "2", "conv"),
        ("NASNetMobile", "1", "conv"),
    ],
)
def test_newer_networks_go_through_a_study(name, block, replacement, tmp_path):
    build = getattr(keras.applications, name)
    generator = np.random.default_rng(0)
    images = generator.uniform(0, 255, (6, 32, 32, 3)).astype(np.float32)
    examples = images, np.arange(6) % 3
    study = dnt.triage(
        build(weights=None, input_shape=(32, 32, 3), classes=3),
        examples,
        examples,
        block=block,
        replacement=replacement,
        method="cl_mw",
        recipe="paper",
        control=False,
        epochs=1,
        batch_size=3,
        output_dir=tmp_path,
    )
    (row,) = study.rows
    assert row.macs < row.parent_macs
    (file,) = tmp_path.glob("study/trials/*/model.keras")
    code = f"import keras; assert keras.models.load_model({str(file)!r}).count_params()"
    subprocess.run([sys.executable, "-I", "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_six_methods_on_one_block_of_real_images(name, tmp_path):
    if not REAL.is_dir():
        pytest.skip(f"no real images in {REAL}")
    network(name).save(tmp_path / "parent.keras")
    arguments = [
        f"--parent={tmp_path}/parent.keras",
        "--dataset=cifar10",
        f"--data_dir={REAL}",
        f"--output_dir={tmp_path}/runs",
        "--train_examples=40",
        "--test_examples=20",
        "--batch_size=20",
        "--epochs=1",
        "--distill_epochs=1",
        "--warmup_epochs=0",
    ]
    assert run_triage.main([*arguments, "--list_blocks"]) == 0
    assert run_triage.main([*arguments, "--method=all", "--block=2"]) == 0
    study = tmp_path / "runs" / "cifar10"
    assert len(study_results.read_study(study).rows) == 6
    for file in study.glob("trials/*/model.keras"):
        assert keras.models.load_model(file).output_shape == (None, 10)
