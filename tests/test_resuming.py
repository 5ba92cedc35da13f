"""A training that was killed after any of its epochs ends where one ends that was not."""

import types

import numpy as np
import pytest

from deep_net_triage.commands.settings import GIB
from deep_net_triage.learning import whole_network
from deep_net_triage.records.journal import Journal
from deep_net_triage.study import parents
from tests.conftest import new_journal
from tests.test_retraining import assert_same, retraining, run, with_dropout
from tests.toys import Watcher, dtype_policy, toy_parent

# The settled recipe, and what else a training may have, for a trial that walks.
SETTLED = {"recipe": "settled", "clip_norm": 0.5, "augment_copies": 2, "distill": "both"}


class Killed(BaseException):
    pass


def dying(folder, epochs):
    """A journal whose process dies once so many more epochs have ended."""
    left = [epochs]

    def watch(record):
        left[0] -= 1
        if not left[0]:
            raise Killed

    return Journal(folder, {}, Watcher(watch), print)


def going_on(folder):
    return Journal(folder, {}, Watcher(), print)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    # Between them every phase there is; the others differ in how they start.
    ("flags", "methods"),
    [({}, ("cl_mw", "stn_cm")), (SETTLED, ("stn_kd", "cl_rw"))],
    ids=["paper", "settled"],
)
def test_a_trial_killed_after_each_epoch(flags, methods, toy_dataset, small_settings, tmp_path):
    parent = with_dropout(toy_parent())
    settings = small_settings(epochs=3, distill_epochs=2, learning_rate=0.01, **flags)
    # One process after the other: nothing of the first is left in the second.
    first, second = (
        retraining(parent, toy_dataset, settings, 1, tmp_path, memory=GIB) for _ in range(2)
    )
    for method in methods:
        expected = run(first, method, seed=3)
        for epochs in range(1, len(expected[0]) + 1):
            folder = tmp_path / f"{method}_after_{epochs}"
            with pytest.raises(Killed):
                first.run(method, 3, dying(folder, epochs))
            journal = going_on(folder)
            assert len(journal.epochs) == epochs
            trained = second.run(method, 3, journal)
            found = (journal.epochs, trained, trained.model.get_weights())
            assert_same(found, expected, tolerance=1e-9)


def test_checkpoints_hold_a_parent_in_bfloat16(toy_dataset, small_settings, tmp_path):
    with dtype_policy("bfloat16"):
        parent = toy_parent()
    settings = small_settings(epochs=3)
    bench = retraining(parent, toy_dataset, settings, 1, tmp_path)
    with pytest.raises(Killed):
        bench.run("cm_mw", 0, dying(tmp_path / "trial", 2))
    journal = going_on(tmp_path / "trial")
    bench.run("cm_mw", 0, journal)
    assert len(journal.epochs) == 3
    assert all(np.isfinite(epoch.loss) for epoch in journal.epochs)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("flags", [{"augment": "flip_crop"}, SETTLED], ids=["paper", "settled"])
def test_a_parent_killed_after_each_epoch(flags, toy_dataset, small_settings, tmp_path):
    settings = small_settings(parent_epochs=3, learning_rate=0.01, **flags)

    def train(journal):
        parent = with_dropout(toy_parent())
        whole_network.train_parent(parent, toy_dataset, settings, journal)
        return parent.get_weights()

    undisturbed = new_journal()
    expected = train(undisturbed)
    for epochs in (1, 3):
        with pytest.raises(Killed):
            train(dying(tmp_path / str(epochs), epochs))
        journal = going_on(tmp_path / str(epochs))
        weights = train(journal)
        for record, wanted in zip(journal.epochs, undisturbed.epochs, strict=True):
            assert record.loss == pytest.approx(wanted.loss, rel=1e-9)
            assert record.val_accuracy == wanted.val_accuracy
        for array, wanted in zip(weights, expected, strict=True):
            np.testing.assert_allclose(array, wanted, rtol=1e-9, atol=1e-9)


def test_a_parent_that_is_resumed_takes_the_time_of_this_command(tmp_path, monkeypatch):
    """Not the hours of an earlier one, which its journal counts as well."""
    journal = types.SimpleNamespace(epochs=[1], seconds=7200.0)
    monkeypatch.setattr(parents, "Journal", lambda *given: journal)
    monkeypatch.setattr(parents, "_train", lambda plan, journal: "its result")
    ended = {}
    progress = types.SimpleNamespace(say=print, ended=ended.__setitem__)
    plan = types.SimpleNamespace(
        settings=types.SimpleNamespace(folder=tmp_path, parent_epochs=2, overwrite=False),
        identity=types.SimpleNamespace(of_parent=dict),
        pretrained=None,
    )
    assert parents._trained(plan, print, progress) == "its result"
    assert ended["parent"] < 60
