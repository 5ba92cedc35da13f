"""What an earlier command has left of a training that this one is to run."""

import json
import types

import numpy as np
import pytest

from deep_net_triage.errors import LockLost, TrainingFailed
from deep_net_triage.learning import predictions
from deep_net_triage.records import checkpoints, correctness, results
from deep_net_triage.records.results import Epoch, Failure, NetworkResult
from deep_net_triage.study import outcomes
from tests.studies import interrupted
from tests.toys import toy_parent


def left_of(folder, wanted):
    return outcomes.reuse_or_remove(folder, results.read_network, wanted, print)


def test_an_interrupted_training_stays_unless_it_had_other_settings(tmp_path):
    """Such as a final retraining of other blocks, after another --max_drop."""
    folder = tmp_path / "final-of-2-seed0"
    interrupted(folder, {"start_sha256": "a"})
    assert left_of(folder, {"start_sha256": "a"}) is None
    assert checkpoints.settings_of(folder) == {"start_sha256": "a"}
    assert left_of(folder, {"start_sha256": "b"}) is None
    assert not folder.exists()


def test_a_failed_training_is_made_again(tmp_path):
    folder = tmp_path / "final-of-2-seed0"
    folder.mkdir()
    results.write_result(folder, Failure({}, "the loss is not finite"))
    assert left_of(folder, {}) is None
    assert not folder.exists()


def test_only_failed_trainings_are_removed_before_a_search(tmp_path):
    reached = {"accuracy": 0.5, "judged_accuracy": 0.5, "epochs": 1, "seconds": 1.0}
    finished = NetworkResult(settings={}, parameters=9, macs=9, files={}, **reached)
    for name, result in (("final", finished), ("half", Failure({}, "loss is nan"))):
        (tmp_path / name).mkdir()
        results.write_result(tmp_path / name, result)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "result.json").write_text("nonsense")
    interrupted(tmp_path / "interrupted", {})
    outcomes.remove_failed(tmp_path)
    left = {folder.name for folder in tmp_path.iterdir()}
    assert left == {"final", "damaged", "interrupted"}


def test_a_training_whose_model_was_removed_is_made_again(tmp_path, capsys):
    folder = tmp_path / "final-of-2-seed0"
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"weights")
    numbers = {"accuracy": 0.5, "judged_accuracy": 0.5, "epochs": 1, "seconds": 1.0}
    counted = {"parameters": 1, "macs": 1}
    digests = results.digests(folder)
    result = NetworkResult(settings={}, **numbers, **counted, files=digests)
    results.write_result(folder, result)
    assert left_of(folder, {}) == result
    (folder / "model.keras").unlink()
    assert left_of(folder, {}) is None
    assert not folder.exists()
    assert "model.keras is missing; it is made again" in capsys.readouterr().out


def test_a_failure_after_another_process_has_taken_over_leaves_its_model(tmp_path):
    def lost():
        raise LockLost("taken over")

    def train():
        raise TrainingFailed("the saved model's weights are not those that were trained")

    (tmp_path / "model.keras").touch()
    journal = types.SimpleNamespace(folder=tmp_path, settings={}, epochs=[], check_lock=lost)
    with pytest.raises(LockLost):
        outcomes.run_and_record(journal, "trial", train, str, print)
    assert (tmp_path / "model.keras").exists()


@pytest.mark.parametrize("saves", [True, False])
def test_a_model_that_is_not_saved_as_it_was_trained_is_no_result(
    saves, tmp_path, toy_dataset, monkeypatch
):
    model, test = toy_parent(), toy_dataset.test
    right = predictions.correct(model, test.images, test.labels)
    epoch = Epoch(phase="train", epoch=1, loss=1.0, val_accuracy=right.mean(), seconds=1.0)
    (tmp_path / "epochs.jsonl").write_text(json.dumps(epoch.as_json()) + "\n")
    journal = types.SimpleNamespace(
        folder=tmp_path,
        check_lock=lambda: None,
        watch=types.SimpleNamespace(step=lambda step: None),
    )
    curve, correct = outcomes.save_and_check(model, journal, test, True, saves=saves)
    assert curve.chosen_accuracy == right.mean()
    np.testing.assert_array_equal(correct, right)
    np.testing.assert_array_equal(
        correctness.read(tmp_path / results.CORRECT, len(test)), right
    )
    assert (tmp_path / "model.keras").exists() == saves
    other = toy_parent(seed=1)
    monkeypatch.setattr(outcomes.models, "save", lambda model, file: other.save(file))
    if saves:
        with pytest.raises(TrainingFailed, match="weights are not those that were trained"):
            outcomes.save_and_check(model, journal, test, True)


@pytest.mark.parametrize("damage", [b"", b"PK nonsense"])
def test_a_damaged_checkpoint_has_no_settings(damage, tmp_path):
    interrupted(tmp_path / "trial", {"epochs": 2})
    (file,) = (tmp_path / "trial").glob("checkpoint-*.npz")
    file.write_bytes(damage)
    assert checkpoints.settings_of(tmp_path / "trial") is None
    assert file.exists()
