import numpy as np
import pytest

from deep_net_triage.errors import ExportFailed
from deep_net_triage.network import exports, surgery
from deep_net_triage.network.blocks import find_blocks


@pytest.fixture
def student(parent):
    return surgery.compress(parent, find_blocks(parent)[0], initializer="mean", seed=0)


@pytest.mark.parametrize("name", exports.FORMATS)
def test_an_export_returns_what_the_model_does(student, toy_dataset, tmp_path, name):
    (made,) = exports.export(student, tmp_path, (name,), toy_dataset.test.images)
    assert made.exists()


def test_an_export_that_returns_something_else_is_no_export(
    student, toy_dataset, tmp_path, monkeypatch
):
    def wrong(model, file):
        run = exports.saved_model(model, file)
        return lambda images: run(images) * 1.01

    monkeypatch.setitem(exports.FORMATS, "saved_model", (wrong, "saved_model"))
    with pytest.raises(ExportFailed, match="returns other values than the model: they differ"):
        exports.export(student, tmp_path, ("saved_model",), toy_dataset.test.images)


def test_nothing_finite_is_not_equal(student, toy_dataset, tmp_path, monkeypatch):
    def broken(model, file):
        return lambda images: np.full((len(images), 3), np.nan)

    monkeypatch.setitem(exports.FORMATS, "litert", (broken, "model.tflite"))
    with pytest.raises(ExportFailed):
        exports.export(student, tmp_path, ("litert",), toy_dataset.test.images)
