"""The library without a folder leaves nothing on the disk; with one a call continues."""

import random
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import deep_net_triage as dnt
from deep_net_triage.errors import ExportFailed
from deep_net_triage.progress import Progress
from deep_net_triage.records import compressions
from deep_net_triage.study import exporting
from tests.toys import toy_arrays

QUICK = {"method": "cl_mw", "recipe": "paper", "epochs": 1, "batch_size": 8, "control": False}


TRAIN, TEST = toy_arrays(96), toy_arrays(48)


@pytest.fixture(scope="module")
def learned():
    """A network of two blocks that has learned the examples."""
    keras.utils.set_random_seed(0)
    x = images = keras.Input((8, 8, 2))
    for name, filters in (("a", 6), ("b", 8)):
        for number in (1, 2):
            x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}{number}")(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(*TRAIN, batch_size=8, epochs=10, verbose=0)
    assert accuracy_of(model) > 0.9
    return model


def accuracy_of(model):
    images, labels = TEST
    return (model.predict(images, verbose=0).argmax(axis=1) == labels).mean()


@keras.saving.register_keras_serializable("tests")
def probabilities(numbers):
    return keras.ops.exp(numbers) / keras.ops.sum(keras.ops.exp(numbers), -1, keepdims=True)


@pytest.mark.parametrize("wrong", [{"name": 5}, {"class_names": 5}, {"class_names": "cat"}])
def test_names_of_another_type_are_refused(wrong, learned, places):
    (name,) = wrong
    with pytest.raises(dnt.InputError, match=f"^{name}=.*: allowed: "):
        dnt.triage(learned, TRAIN, TEST, **QUICK, **wrong)
    assert left_in(places) == []


def test_class_names_may_be_numbers(learned, places, capsys):
    images, labels = TRAIN
    two = images[labels < 2], labels[labels < 2]
    study = dnt.triage(learned, two, TEST, class_names=range(3), block=1, **QUICK)
    assert study.classes == 3
    assert "no training image shows 1 of 3 classes (2)" in capsys.readouterr().out


def test_probabilities_by_a_function_of_ones_own_are_refused_at_once(learned, places):
    own = keras.layers.Activation(probabilities)(learned.output)
    reason = "the model returns probabilities, since its outputs sum to 1, but not by Keras's"
    with pytest.raises(dnt.InputError, match=reason):
        dnt.triage(keras.Model(learned.input, own), TRAIN, TEST, **QUICK)
    own = keras.layers.Lambda(probabilities)(learned.output)
    with pytest.raises(dnt.InputError, match="the model can't be triaged: .* a Lambda layer"):
        dnt.triage(keras.Model(learned.input, own), TRAIN, TEST, **QUICK)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The working folder and the one of temporary files, both empty."""
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    for folder in (here, temporary):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return tmp_path


def left_in(places):
    """All that lies there but what TensorFlow writes for itself, and removes at exit."""
    left = [path for folder in places.iterdir() for path in folder.iterdir()]
    return [path for path in left if not path.name.startswith("__autograph_generated_file")]


class Interrupted(Progress):
    """Interrupts the first epoch, as Ctrl-C does."""

    def epoch(self, *args, **kwargs):
        raise KeyboardInterrupt


def test_triage_without_a_folder_returns_results_and_leaves_nothing(parent, places, capsys):
    data = [tf.data.Dataset.from_tensor_slices(split).batch(10) for split in (TRAIN, TEST)]
    study = dnt.triage(parent, *data, block=2, **QUICK)
    assert left_in(places) == []
    assert study.folder is None
    (row,) = study.rows
    assert (row.block, row.method, row.bytes) == ("block2", "cl_mw", None)
    assert study.baseline_accuracy == accuracy_of(parent)
    assert study.correct[row.trial].mean() == pytest.approx(row.chosen_accuracy)
    assert len(study.epochs[row.trial]) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(str(places / "temporary"))
    assert said.endswith("study is removed, because no output_dir was given")


def test_an_interrupted_or_refused_call_leaves_nothing_without_a_folder(parent, places):
    with pytest.raises(KeyboardInterrupt):
        dnt.triage(parent, TRAIN, TEST, progress=Interrupted(), **QUICK)
    with pytest.raises(dnt.InputError, match="^block=9 is not a block"):
        dnt.triage(parent, TRAIN, TEST, block=9, **QUICK)
    assert left_in(places) == []


def test_the_smaller_model_outlives_the_temporary_folder(learned, places):
    before = [weight.copy() for weight in learned.get_weights()]
    smaller = dnt.compress_within(learned, TRAIN, TEST, max_drop=0.99, save="macs", **QUICK)
    assert left_in(places) == []
    assert smaller.study.folder is None
    assert {row.block for row in smaller.study.rows} == {"block1", "block2"}
    assert sorted(step.block for step in smaller.steps if step.kept) == ["block1", "block2"]
    assert smaller.baseline_accuracy == accuracy_of(learned)
    assert smaller.accuracy == pytest.approx(accuracy_of(smaller.model))
    # 3 x 3 kernels: 8 x 8 places of 2 to 6 and 6 to 6, 4 x 4 of 6 to 8 and 8 to 8, 8 to 3.
    parent = 9 * (64 * (12 + 36) + 16 * (48 + 64)) + 24
    both = 9 * (64 * 12 + 16 * 48) + 24
    assert smaller.macs_saved == pytest.approx(1 - both / parent)
    parameters = smaller.model.count_params() / learned.count_params()
    assert smaller.parameters_saved == pytest.approx(1 - parameters)
    for weight, now in zip(before, learned.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, now)


def test_held_out_images_that_are_given_judge_and_none_are_taken_from_those_to_train(
    learned, tmp_path
):
    held_out = toy_arrays(30)
    flags = {**QUICK, "block": 1, "max_drop": 0.99, "save": "macs", "output_dir": tmp_path}
    smaller = dnt.compress_within(learned, TRAIN, TEST, validation=held_out, **flags)
    search = compressions.read(smaller.study.folder)
    assert search.held_out == 30
    images, labels = held_out
    right = learned.predict(images, verbose=0).argmax(axis=1) == labels
    assert search.baseline_judged == pytest.approx(right.mean())
    assert smaller.study.settings["train_images"] == len(TRAIN[1])
    assert "(model, train, test, validation=validation, " in smaller.study.commands[0].command

    with pytest.raises(dnt.InputError, match="give either validation or validation_fraction"):
        dnt.compress_within(
            learned, TRAIN, TEST, validation=held_out, validation_fraction=0.1, **QUICK
        )


def test_an_export_that_can_not_be_made_is_said_and_the_model_is_returned(
    learned, tmp_path, monkeypatch, capsys
):
    def fail(*_):
        raise ExportFailed("the export model.tflite can't be made")

    monkeypatch.setattr(exporting.exports, "export", fail)
    flags = {**QUICK, "block": 1, "max_drop": 0.99, "save": "macs", "output_dir": tmp_path}
    smaller = dnt.compress_within(learned, TRAIN, TEST, export=["litert"], **flags)
    assert smaller.accuracy == pytest.approx(accuracy_of(smaller.model))
    assert "not exported: the export model.tflite can't be made" in capsys.readouterr().out


def test_where_no_block_can_go_there_is_no_smaller_model(parent, places):
    """Drops from a model that guesses say nothing."""
    flags = {**QUICK, "block": 2, "save": "macs"}
    same = dnt.compress_within(parent, TRAIN, TEST, max_drop=0.99, **flags)
    assert left_in(places) == []
    assert (same.model, same.accuracy, same.steps) == (None, None, ())
    assert (same.macs_saved, same.parameters_saved) == (0, 0)
    assert same.baseline_accuracy == accuracy_of(parent)
    assert len(same.study.rows) == 1


def test_with_a_folder_a_call_continues_where_it_was_interrupted(learned, tmp_path):
    flags = {**QUICK, "block": 1, "max_drop": 0.99, "final_epochs": 2, "name": "mine"}
    flags |= {"save": "parameters", "output_dir": tmp_path}
    state = random.getstate()
    first = dnt.compress_within(learned, TRAIN, TEST, **flags)
    assert random.getstate() == state  # to load the smaller model draws numbers
    assert (tmp_path / "mine" / "compressed" / "model.keras").is_file()
    assert first.study.folder == tmp_path / "mine"
    search = compressions.read(first.study.folder)
    assert (search.save, search.max_drop) == ("parameters", 0.99)
    assert (search.steps, search.accuracy) == (first.steps, first.accuracy)
    # It trains nothing again, or would be interrupted.
    again = dnt.compress_within(learned, TRAIN, TEST, progress=Interrupted(), **flags)
    assert again.study.rows == first.study.rows
    assert again.accuracy == first.accuracy
    (call,) = {one.command.partition("(")[0] for one in again.study.commands}
    assert call == "deep_net_triage.compress_within"
