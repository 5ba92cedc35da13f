import dataclasses

import keras
import numpy as np
import pytest

from deep_net_triage import surgery, training
from deep_net_triage.blocks import find_blocks
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.methods import METHODS
from tests.conftest import toy_parent


def initial_student(parent, block, method, seed=0):
    initializer = METHODS[method].initializer
    return surgery.compress(parent, block, initializer=initializer, seed=seed)


def moved(before, after):
    """Names of the variables of the second model that differ from the first's."""
    names = {}
    for layer in after.layers:
        olds = before.get_layer(layer.name).get_weights()
        for variable, old in zip(layer.weights, olds, strict=True):
            if not np.array_equal(old, variable.numpy()):
                names.setdefault(layer.name, set()).add(variable.name)
    return names


@pytest.mark.parametrize("method", METHODS)
def test_which_variables_move(method, toy_dataset, small_settings):
    parent = toy_parent()
    frozen = parent.get_weights()
    block = find_blocks(parent)[0]
    start = initial_student(parent, block, method)
    # A learning rate at which three epochs keep moving what may move.
    settings = small_settings(epochs=3, learning_rate=0.01)
    trained = training.train_student(
        parent, block, method, 0, toy_dataset, settings, lambda record: None
    )
    changed = moved(start, trained.model)
    statistics = {"gamma", "beta", "moving_mean", "moving_variance"}
    convolution, batchnorm, _ = block.compressed_layers
    assert changed[convolution] == {"kernel", "bias"}
    assert changed[batchnorm] == statistics
    others = {name: names for name, names in changed.items() if "compressed" not in name}
    if METHODS[method].updates == "block":
        assert others == {}
    else:
        # Everything with weights, moving statistics included.
        assert set(others) == {
            layer.name
            for layer in parent.layers
            if layer.weights and layer.name not in block.layers
        }
        assert others["b2_bn1"] == statistics
        assert others["logits"] == {"kernel", "bias"}
    for was, now in zip(frozen, parent.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("method", METHODS)
def test_phases_and_records(method, toy_dataset, small_settings):
    parent = toy_parent()
    records = []
    settings = small_settings(epochs=2, distill_epochs=3)
    trained = training.train_student(
        parent, find_blocks(parent)[1], method, 0, toy_dataset, settings, records.append
    )
    distilled = METHODS[method].distil
    phases = ["distill"] * 3 * distilled + ["train"] * 2
    assert [record["phase"] for record in records] == phases
    assert [record["epoch"] for record in records] == [1, 2, 3] * distilled + [1, 2]
    assert (trained.distilled_accuracy is not None) == distilled
    for record in records:
        assert record["seconds"] > 0
        if record["phase"] == "train":
            # Ten test images: every accuracy is a tenth.
            assert record["val_accuracy"] in [n / 10 for n in range(11)]
            assert "relative_error" not in record
        else:
            assert record["accuracy"] is record["val_accuracy"] is record["val_loss"] is None
            assert record["relative_error"] > 0


def independent_accuracy(model, split):
    predicted = model.predict(split.images.numpy(), verbose=0).argmax(axis=1)
    return np.mean(predicted == split.labels.numpy())


def test_student_is_left_at_its_best_epoch(toy_dataset, small_settings):
    parent = toy_parent()
    records = []
    settings = small_settings(epochs=6, learning_rate=0.03)
    trained = training.train_student(
        parent, find_blocks(parent)[0], "cm_rw", 0, toy_dataset, settings, records.append
    )
    accuracies = [record["val_accuracy"] for record in records]
    assert max(accuracies) > accuracies[-1]  # else the last epoch would pass for the best
    assert independent_accuracy(trained.model, toy_dataset.test) == max(accuracies)


def test_what_lies_between_the_phases(toy_dataset, small_settings, monkeypatch):
    parent = toy_parent()
    block = find_blocks(parent)[1]
    classify, seen = training._classify, {}

    def look(model, dataset, *rest):
        seen["accuracy"] = independent_accuracy(model, dataset.test)
        seen["compressed"] = model.get_layer(block.compressed_layers[0]).get_weights()[0]
        seen["steps"] = int(model.optimizer.iterations)
        seen["classifier"] = type(model.optimizer)
        classify(model, dataset, *rest)

    class Adam(keras.optimizers.Adam):
        def __init__(self, learning_rate):
            seen["distiller"] = learning_rate
            super().__init__(learning_rate)

    monkeypatch.setattr(training, "_classify", look)
    monkeypatch.setattr(keras.optimizers, "Adam", Adam)
    # Where the classification optimiser is another, distillation keeps Adam and its own rate.
    settings = small_settings(epochs=1, distill_epochs=2, optimizer="sgd", learning_rate=0.5)
    trained = training.train_student(
        parent, block, "stn", 4, toy_dataset, settings, lambda record: None
    )
    start = initial_student(parent, block, "stn", seed=4)
    assert trained.initial_accuracy == independent_accuracy(start, toy_dataset.test)
    assert trained.distilled_accuracy == seen["accuracy"]
    kernel = start.get_layer(block.compressed_layers[0]).get_weights()[0]
    assert not np.array_equal(kernel, seen["compressed"])
    assert (seen["steps"], seen["classifier"]) == (0, keras.optimizers.SGD)
    assert seen["distiller"] == 1e-3


def test_evaluate_counts_every_image_once(toy_dataset, small_settings):
    parent = toy_parent()
    training.compile_classifier(parent, small_settings())
    loss, accuracy = training.evaluate(parent, toy_dataset.test, batch_size=4)
    logits = parent.predict(toy_dataset.test.images.numpy(), verbose=0).astype(float)
    labels = toy_dataset.test.labels.numpy()
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert accuracy == np.mean(logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(loss, -log_likelihood[range(10), labels].mean(), rtol=1e-4)


def test_a_parent_that_ends_in_softmax_has_the_loss_of_its_logits(toy_dataset, small_settings):
    logits = toy_parent()
    probabilities = toy_parent()
    probabilities.layers[-1].activation = keras.activations.softmax
    losses = []
    for model in (logits, probabilities):
        training.compile_classifier(model, small_settings())
        # In reach of both: Keras clips probabilities at 1e-7.
        dense = model.layers[-1]
        dense.set_weights([weights / 100 for weights in dense.get_weights()])
        losses.append(training.evaluate(model, toy_dataset.test, batch_size=4)[0])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_the_trial(toy_dataset, small_settings):
    parent = toy_parent()
    records = []
    settings = small_settings(epochs=4, learning_rate=1e30, optimizer="sgd")
    with pytest.raises(TrainingFailed, match=r"loss is (nan|inf) after train epoch \d"):
        training.train_student(
            parent, find_blocks(parent)[0], "cm_rw", 0, toy_dataset, settings, records.append
        )
    assert len(records) < 4


def test_a_distillation_that_is_not_finite_stops_the_trial(
    toy_dataset, small_settings, monkeypatch
):
    monkeypatch.setattr(training, "DISTILL_LEARNING_RATE", float("inf"))
    parent = toy_parent()
    with pytest.raises(TrainingFailed, match="loss is (nan|inf) after distill epoch 1"):
        training.train_student(
            parent, find_blocks(parent)[0], "stn", 0, toy_dataset, small_settings(), print
        )


def test_parent_is_trained_and_left_at_its_best_epoch(toy_dataset, small_settings):
    parent = toy_parent()
    before = parent.get_weights()
    records = []
    training.train_parent(
        parent, toy_dataset, small_settings(parent_epochs=5, learning_rate=0.01), records.append
    )
    assert len(records) == 5
    assert independent_accuracy(parent, toy_dataset.test) == max(
        r["val_accuracy"] for r in records
    )
    assert all(
        not np.array_equal(was, now)
        for was, now in zip(before, parent.get_weights(), strict=True)
    )


def test_optimizer_and_rate_are_those_asked_for(small_settings):
    parent = toy_parent()
    training.compile_classifier(parent, small_settings(optimizer="sgd", learning_rate=0.25))
    assert isinstance(parent.optimizer, keras.optimizers.SGD)
    assert float(parent.optimizer.learning_rate) == 0.25


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", ["cl_rw", "cm_mw", "stn_cm"])
def test_two_replicas_train_as_one(method, toy_dataset, small_settings, two_replicas):
    # 24 images in batches of 8: replicas get equal shares, which Keras's own loss takes for
    # granted; the student-teacher loss does not need it.
    train = dataclasses.replace(
        toy_dataset.train,
        images=toy_dataset.train.images[:24],
        labels=toy_dataset.train.labels[:24],
    )
    test = dataclasses.replace(
        toy_dataset.test, images=toy_dataset.test.images[:8], labels=toy_dataset.test.labels[:8]
    )
    dataset = dataclasses.replace(toy_dataset, train=train, test=test)

    def run():
        records = []
        parent = toy_parent()
        trained = training.train_student(
            parent, find_blocks(parent)[0], method, 0, dataset, small_settings(), records.append
        )
        return records, trained.model.get_weights()

    alone, weights = run()
    with two_replicas.scope():
        shared, shared_weights = run()
    for name in ("loss", "val_loss", "accuracy", "val_accuracy"):
        expected = [np.nan if record[name] is None else record[name] for record in alone]
        found = [np.nan if record[name] is None else record[name] for record in shared]
        np.testing.assert_allclose(found, expected, rtol=1e-8)
    for expected, found in zip(weights, shared_weights, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
