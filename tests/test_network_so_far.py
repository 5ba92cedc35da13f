"""A network whose blocks are compressed one after another, and steps that are undone."""

import keras
import pytest

from deep_net_triage.network import blocks, surgery
from deep_net_triage.records import models
from deep_net_triage.records.compressions import Step
from deep_net_triage.study.network_so_far import NetworkSoFar, save


@pytest.fixture
def parent():
    """Four convolutions in a row, so that nothing lies between two blocks of two."""
    x = images = keras.Input((6, 6, 3))
    for number in (1, 2, 3, 4):
        x = keras.layers.Conv2D(3, 3, padding="same", name=f"c{number}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(2)(x))


@pytest.fixture
def taken(parent, tmp_path):
    """The network with its first block compressed, and both blocks."""
    first, second = blocks.survey(parent).select(("c1:c2", "c3:c4"))
    student = surgery.compress(parent, first, initializer="mean", seed=0)
    models.save(student, tmp_path / "model.keras")
    so_far = NetworkSoFar(parent)
    so_far.take(Step(first.name, "cm_mw", kept=True), first, tmp_path)
    return so_far, first, second


def test_a_block_behind_a_compressed_one_receives_what_that_returns(taken):
    so_far, first, second = taken
    found = so_far.as_it_is_now(second)
    both = surgery.compress(so_far.network, found, initializer="mean", seed=0)
    for block in (first, second):
        assert both.get_layer(block.compressed_layers[0])
    assert so_far.overlaps(first)
    assert not so_far.overlaps(second)


def test_a_step_that_is_undone_leaves_the_network_before_it(parent, taken, tmp_path):
    so_far, first, second = taken
    so_far.take(Step(second.name, "cm_mw"), second, tmp_path)  # failed, so never kept
    assert so_far.blocks == (first,)
    assert so_far.last.block == first.name
    so_far.undo()
    assert so_far.network is parent
    assert so_far.blocks == ()
    assert [(step.block, step.kept) for step in so_far.steps] == [
        (first.name, False),
        (second.name, False),
    ]


def test_exports_stay_beside_the_network_that_they_are_of_and_no_other(parent, tmp_path):
    file = tmp_path / "model.keras"
    save(parent, file)
    (tmp_path / "model.tflite").touch()
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "result.json").touch()
    save(parent, file)
    assert (tmp_path / "model.tflite").exists()
    parent.layers[-1].kernel.assign(parent.layers[-1].kernel + 1)
    save(parent, file)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["model.keras", "result.json"]
    file.write_bytes(b"damage")
    save(parent, file)
    assert models.load(file).count_params() == parent.count_params()
