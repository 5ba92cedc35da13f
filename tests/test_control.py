import re

import keras
import numpy as np
import pytest

from deep_net_triage.commands import command_line
from deep_net_triage.learning import batches
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_model
from deep_net_triage.network import blocks
from deep_net_triage.records import results, study_results
from deep_net_triage.study import plan
from tests.conftest import new_journal
from tests.studies import read, run
from tests.toys import examples, toy_parent


@pytest.mark.usefixtures("float64")
def test_it_is_the_parent_trained_on_as_keras_trains(toy_dataset, small_settings):
    """The same weights as by plain Keras, and the parent as it was."""
    parent, expected = toy_parent(), toy_parent()
    before = parent.get_weights()
    expected.compile(
        keras.optimizers.Adam(0.001),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    train = toy_dataset.train
    batched = batches.training_batches(examples(train), batch_size=8, seed=5, epochs=range(1))
    expected.fit(batched, shuffle=False, verbose=0)
    chosen = small_settings(epochs=1)
    source = for_model(toy_dataset, chosen)
    control = Retraining(parent, None, toy_dataset, source, chosen)
    records = []
    for _ in range(2):  # the second trial depends on nothing that the first left
        records.clear()
        trained = control.run("control", 5, new_journal(records.append))
    assert [record.epoch for record in records] == [1]
    assert trained.distilled_accuracy is None
    for found, wanted in zip(trained.model.get_weights(), expected.get_weights(), strict=True):
        # Keras takes the constants of its Adam through float32.
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    for was, now in zip(before, parent.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_a_study_runs_it_beside_its_methods(tmp_path, capsys):
    assert run(tmp_path, "--method=cm_rw,control", "--block=5", "--seeds=0,1") == 0
    folder = tmp_path / "digits"
    study = study_results.read_study(folder)
    assert [row.method for row in study.rows] == ["cm_rw", "cm_rw"]
    parent = read(folder / "parent" / "result.json")
    for seed, row in enumerate(study.controls):
        assert (row.method, row.block, row.seed) == ("control", "no-block", seed)
        assert row.initial_accuracy == row.baseline_accuracy
        assert row.parameters == row.parent_parameters == parent["parameters"]
        assert row.macs == row.parent_macs
        # No block is broken, left out or imitated.
        without_a_block = row.reinitialized_accuracy, row.bypassed_accuracy, row.similarity
        assert without_a_block == (None, None, None)
        kept = results.trial_folder(folder, "control", "no-block", seed) / "model.keras"
        assert keras.models.load_model(kept).count_params() == parent["parameters"]
    assert len(study.controls) == 2
    assert ("control", "no-block", 1) in study.correct
    page = (folder / "report.html").read_text()
    assert "4 trials finished" in page
    assert "no-block" in page
    printed = capsys.readouterr().out
    assert "trained further (control)" in printed
    assert re.search(r"from the parent, \S+ \[\S+, \S+\] from the control", printed)


@pytest.mark.parametrize(
    ("typed", "methods", "control"),
    [
        ([], 6, True),
        (["--nocontrol"], 6, False),
        (["--control=false"], 6, False),
        (["--method=cm_rw"], 1, True),
        (["--method=cm_rw", "--nocontrol"], 1, False),
        (["--method=cm_rw,control", "--nocontrol"], 1, True),  # it is named
        (["--method=control"], 0, True),
    ],
)
def test_it_belongs_to_every_study_unless_it_is_left_out(typed, methods, control, parent):
    chosen = command_line.parse([*typed, "--seeds=0,1"])
    found = blocks.find_blocks(parent)
    trials = plan.trials_of(found, chosen)
    assert len(trials) == 2 * (methods * len(found) + control)
    assert [trial.method for trial in trials].count("control") == 2 * control


def test_it_can_be_run_alone(tmp_path):
    assert run(tmp_path, "--method=control") == 0
    study = study_results.read_study(tmp_path / "digits")
    assert (len(study.rows), len(study.controls)) == (0, 1)
