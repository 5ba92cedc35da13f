import dataclasses

import keras
import numpy as np
import pytest

from deep_net_triage.commands import declarations
from deep_net_triage.errors import ExportFailed
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.network import exports, surgery
from deep_net_triage.network.blocks import find_blocks
from tests.toys import toy_images


@pytest.fixture
def student(parent):
    return surgery.compress(parent, find_blocks(parent)[0], initializer="mean", seed=0)


@pytest.fixture
def other_format(monkeypatch):
    """Replaces a format by one whose export returns what a function does."""

    def replace(name, run):
        own = exports.FORMATS[name]
        other = dataclasses.replace(own, write=lambda *_: None, load=lambda file: run)
        monkeypatch.setitem(exports.FORMATS, name, other)

    return replace


def brightness():
    """A network that returns the brightness of an image's first channel, one number."""
    images = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="first_channel")(images)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    model.get_layer("first_channel").set_weights([np.array([[[[1.0], [0.0]]]])])
    return model


def classifier():
    """Tells the toy images' classes apart by the mean of their first channel.

    Classes are centred at 31.5, 91.5 and 151.5. The largest of `c * mean - c * c / 2` over the
    centres c is that of the nearest.
    """
    base = brightness()
    centres = np.array([31.5, 91.5, 151.5])
    dense = keras.layers.Dense(3, name="logits")
    model = keras.Model(base.input, dense(base.output))
    dense.set_weights([centres[np.newaxis], -(centres**2) / 2])
    return model


def test_flags_name_the_formats():
    assert tuple(exports.FORMATS) == declarations.EXPORTS


@pytest.mark.parametrize("name", ["litert", "saved_model"])
def test_an_export_returns_what_the_model_does(student, toy_dataset, tmp_path, name):
    (made,) = exports.export(student, tmp_path, (name,), toy_dataset)
    assert made.file.exists()
    assert made == exports.Export(name, made.file)
    assert str(made) == f"exported, with the same outputs as the model: {made.file}"


def test_an_export_that_returns_something_else_is_no_export(
    student, toy_dataset, tmp_path, other_format
):
    other_format("saved_model", lambda images: np.asarray(student(images)) * 1.01)
    with pytest.raises(ExportFailed, match="returns other values than the model: they differ"):
        list(exports.export(student, tmp_path, ("saved_model",), toy_dataset))


def test_nothing_finite_is_not_equal(student, toy_dataset, tmp_path, other_format):
    other_format("litert", lambda images: np.full((len(images), 3), np.nan))
    with pytest.raises(ExportFailed):
        list(exports.export(student, tmp_path, ("litert",), toy_dataset))


def test_int8_has_nearly_the_accuracy_of_the_model(tmp_path):
    reports = []
    dataset = toy_images(60, 150)
    (made,) = exports.export(classifier(), tmp_path, ("litert_int8",), dataset, reports.append)
    assert made.file == tmp_path / "model_int8.tflite"
    assert made.file.is_file()
    assert made.model_accuracy == 1.0
    assert 0.97 <= made.accuracy <= 1.0
    change = f"{made.accuracy - 1:+.4f}"
    assert str(made) == (
        f"exported in int8, accuracy {made.accuracy:.4f} ({change} from the model): {made.file}"
    )
    assert reports[0].work == "writing model_int8.tflite"


def test_formats_come_in_the_order_they_are_named(tmp_path, other_format):
    model = classifier()
    for name in exports.FORMATS:
        other_format(name, lambda images: np.asarray(model(images)))
    names = ("saved_model", "litert_int8", "litert")
    made = list(exports.export(model, tmp_path, names, toy_images(6, 6)))
    assert [one.format for one in made] == list(names)
    assert [one.file.name for one in made] == [
        "saved_model",
        "model_int8.tflite",
        "model.tflite",
    ]


@pytest.fixture
def int8_that_errs(tmp_path, other_format):
    """Exports a classifier to a made-up int8 file that is wrong about some of the images."""

    def made(images, wrong):
        dataset = toy_images(6, images)
        model = classifier()
        seen = []

        def run(batch):
            outputs = np.array(model(batch))
            first = sum(seen)
            seen.append(len(batch))
            rows = [row for row in range(len(batch)) if first + row < wrong]
            outputs[rows] = np.roll(outputs[rows], 1, axis=1)
            return outputs

        other_format("litert_int8", run)
        (export,) = exports.export(model, tmp_path, ("litert_int8",), dataset)
        return export

    return made


def test_the_accuracy_of_int8_is_of_all_test_images(int8_that_errs):
    made = int8_that_errs(images=200, wrong=7)
    assert (made.accuracy, made.model_accuracy) == (193 / 200, 1.0)
    assert "accuracy 0.9650 (-0.0350 from the model)" in str(made)


def test_an_int8_export_that_loses_too_much_is_no_export(int8_that_errs):
    """Of 400 images 33 are 8.25 %, less 2 sqrt(33) / 400 = 2.9 % by chance: more than 5 %."""
    with pytest.raises(
        ExportFailed,
        match=r"model_int8.tflite has accuracy 0.9175, the model 1.0000; at most 5.0 points",
    ):
        int8_that_errs(images=400, wrong=33)


def test_few_images_may_err_by_chance(int8_that_errs):
    """One of 10 is 10 %, but the same of a pair of models is often by chance."""
    assert int8_that_errs(images=10, wrong=1).accuracy == 0.9
    with pytest.raises(ExportFailed):
        int8_that_errs(images=10, wrong=8)


def test_int8_that_returns_nothing_finite_is_no_export(tmp_path, other_format):
    def run(images):
        outputs = np.eye(3)[np.zeros(len(images), int)]
        outputs[-1, 1] = np.inf
        return outputs

    other_format("litert_int8", run)
    dark = Split(np.zeros((4, 8, 8, 2), np.uint8), np.zeros(4, int))
    with pytest.raises(ExportFailed, match="numbers that are not finite"):
        list(
            exports.export(
                classifier(), tmp_path, ("litert_int8",), Dataset("dark", dark, dark, ("a",))
            )
        )
