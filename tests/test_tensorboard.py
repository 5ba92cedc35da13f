import importlib.util

import pytest
import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.learning import tensorboard
from deep_net_triage.records.results import Epoch
from tests.studies import run

EPOCHS = [
    Epoch(phase="distill", epoch=1, loss=4.0, relative_error=0.5, seconds=1.0),
    Epoch(phase="train", epoch=1, loss=2.0, accuracy=0.25, val_accuracy=0.5, seconds=1.0),
    Epoch(phase="train", epoch=2, loss=1.0, accuracy=0.75, val_accuracy=0.625, seconds=1.0),
]


def test_tensorboard_reads_what_the_epochs_say(tmp_path):
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="needs TensorBoard: pip install '.[tensorboard]'",
    )
    for epochs, resumes in ((EPOCHS[::-1], False), (EPOCHS[:1], False), (EPOCHS[1:], True)):
        curves = tensorboard.Curves(tmp_path, resumes)
        for epoch in epochs:
            curves.add(epoch)
        curves.close()
    found = reader.EventAccumulator(str(tmp_path))
    found.Reload()
    read = {
        name: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in found.Tensors(name)]
        for name in found.Tags()["tensors"]
    }
    assert read == {
        "distill/loss": [(1, 4.0)],
        "distill/relative_error": [(1, 0.5)],
        "train/loss": [(1, 2.0), (2, 1.0)],
        "train/accuracy": [(1, 0.25), (2, 0.75)],
        "train/val_accuracy": [(1, 0.5), (2, 0.625)],
    }


def test_a_command_writes_the_curves_of_each_trial(tmp_path):
    pytest.importorskip("tensorboard", reason="needs TensorBoard: pip install '.[tensorboard]'")
    assert run(tmp_path, "--method=cl_rw", "--block=5", "--tensorboard") == 0
    written = (tmp_path / "digits" / "tensorboard").glob("*/*tfevents*")
    assert {file.parent.name for file in written} == {"cl_rw-block5-seed0"}


def test_without_tensorboard_it_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs TensorBoard"):
        tensorboard.check_installed()
