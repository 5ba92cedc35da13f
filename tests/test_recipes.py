"""Whole studies by the settled recipe and by other training settings."""

import types

import keras
import pytest

from deep_net_triage.images import datasets
from deep_net_triage.records import results
from deep_net_triage.records.study_results import read_study
from tests.studies import read, run


def test_the_last_epoch_counts_where_the_rate_falls_to_zero(tmp_path):
    flags = ("--recipe=settled", "--method=cl_rw,cm_rw", "--block=4", "--epochs=4")
    assert run(tmp_path, *flags) == 0
    study = read_study(tmp_path / "digits")
    parent = results.read_parent(tmp_path / "digits" / "parent")
    curve = results.read_epochs(tmp_path / "digits" / "parent")
    assert parent.baseline_accuracy == curve[-1].val_accuracy
    assert study.parent_ended == "after all 2 epochs"
    assert len(study.rows) == 2
    test = datasets.load("digits", image_size=32, train_examples=60, test_examples=30).test
    for row in study.rows:
        curve = [epoch.val_accuracy for epoch in study.epochs[row.trial]]
        assert (row.chosen_epoch, row.chosen_accuracy) == (4, curve[-1])
        assert row.max_accuracy == max(curve)
        folder = results.trial_folder(study.folder, *row.trial)
        model = keras.models.load_model(folder / "model.keras")
        predicted = model.predict(test.images, verbose=0).argmax(axis=1)
        assert (predicted == test.labels.numpy()).mean() == pytest.approx(curve[-1])


def test_study_json_says_when_a_parent_stopped_improving(tmp_path):
    flags = ("--parent_epochs=9", "--parent_patience=2", "--learning_rate=1e-12")
    flags += ("--layer_learning_rate=0.01",)
    assert run(tmp_path, *flags, "--method=cl_rw", "--block=5") == 0
    ended = "after epoch 3 of 9: none of the last 2 was better than epoch 1"
    assert read(tmp_path / "digits" / "study.json")["parent_ended"] == ended
    assert len(results.read_epochs(tmp_path / "digits" / "parent")) == 3


def test_draws_for_which_there_is_no_memory_are_refused(tmp_path, monkeypatch, capsys):
    # 60 digits of 8 x 8 make 3,840 bytes a draw; half of 10,000 bytes is room for one.
    free = types.SimpleNamespace(available=10_000)
    monkeypatch.setattr("deep_net_triage.study.plan.psutil.virtual_memory", lambda: free)
    assert run(tmp_path, "--augment=crop", "--augment_copies=2") == 2
    assert "--augment_copies=2 needs 0.0 GiB for the draws of 60" in capsys.readouterr().err
    assert not (tmp_path / "digits" / "parent").exists()
