import numpy as np
import pytest

from deep_net_triage.errors import TrainingFailed
from deep_net_triage.images import splits
from deep_net_triage.learning import guards, predictions
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import find_blocks
from tests.test_training import independent_accuracy
from tests.toys import dtype_policy, toy_parent


@pytest.fixture
def student(parent):
    return surgery.compress(parent, find_blocks(parent)[0], initializer="mean", seed=0)


def test_a_parent_that_changed(parent):
    digest = guards.weights_digest(parent)
    guards.check_parent(parent, digest)
    variance = parent.get_layer("b2_bn1").moving_variance
    variance.assign(np.nextafter(variance.numpy(), 2))  # by one bit
    with pytest.raises(TrainingFailed, match="the parent's weights have changed"):
        guards.check_parent(parent, digest)


def test_a_frozen_layer_that_changed(parent, student):
    block = find_blocks(parent)[0]
    student.get_layer(block.compressed_layers[0]).kernel.assign_add(
        np.ones(student.get_layer(block.compressed_layers[0]).kernel.shape)
    )
    guards.check_frozen(student, parent, block)  # which is not frozen
    mean = student.get_layer("b2_bn2").moving_mean
    mean.assign(np.nextafter(mean.numpy(), 9))
    with pytest.raises(TrainingFailed, match="the frozen layer b2_bn2 has changed"):
        guards.check_frozen(student, parent, block)


def test_a_block_that_did_not_learn():
    kernel = np.ones((3, 3, 2, 2))
    other = np.zeros((1, 1, 2, 2))
    guards.check_learned([kernel, other], [kernel + 1e-9, other + 1])
    for after in ([kernel.copy(), other + 1], [kernel + 1, other.copy()]):
        with pytest.raises(TrainingFailed, match="has not changed in training"):
            guards.check_learned([kernel, other], after)
    with pytest.raises(TrainingFailed, match="not finite"):
        guards.check_learned([kernel, other], [kernel + 1, other * np.nan])


def test_a_saved_model_that_is_another(tmp_path, toy_dataset, monkeypatch):
    model, file = toy_parent(), tmp_path / "model.keras"
    model.save(file)
    test, accuracy = toy_dataset.test, independent_accuracy(model, toy_dataset.test)
    for pixels in (2**20, 130):  # all images at once, and two by two
        monkeypatch.setattr(predictions, "PIXELS_AT_ONCE", pixels)
        guards.check_saved(file, model, test, accuracy)
    # One image may be a tie, two are not.
    guards.check_saved(file, model, test, accuracy + 0.1)
    with pytest.raises(TrainingFailed, match=r"accuracy is \d\.\d{4}, where \d\.\d{4} was"):
        guards.check_saved(file, model, test, accuracy + 0.2)
    bias = model.layers[-1].bias
    bias.assign(np.nextafter(bias.numpy(), 1))
    with pytest.raises(TrainingFailed, match="weights are not those that were trained"):
        guards.check_saved(file, model, test, accuracy)


def test_ties_are_counted_in_thousands(tmp_path):
    model, file = toy_parent(), tmp_path / "model.keras"
    model.save(file)
    images = np.random.default_rng(0).integers(0, 256, (2000, 8, 8, 2)).astype(np.uint8)
    test = splits.Split(images, model.predict(images, verbose=0).argmax(axis=1))
    guards.check_saved(file, model, test, 1 - 3 / 2000)
    with pytest.raises(TrainingFailed):
        guards.check_saved(file, model, test, 1 - 4 / 2000)
    # The trial may have read rounded activations.
    guards.check_saved(file, model, test, 0.98, "float16")
    with pytest.raises(TrainingFailed):
        guards.check_saved(file, model, test, 0.9, "float16")


def test_ties_are_those_of_what_the_model_computes_in(tmp_path):
    with dtype_policy("mixed_bfloat16"):
        model = toy_parent()
    file = tmp_path / "model.keras"
    model.save(file)
    images = np.random.default_rng(0).integers(0, 256, (2000, 8, 8, 2)).astype(np.uint8)
    test = splits.Split(images, model.predict(images, verbose=0).argmax(axis=1))
    guards.check_saved(file, model, test, 0.98)
    with pytest.raises(TrainingFailed):
        guards.check_saved(file, model, test, 0.9)
