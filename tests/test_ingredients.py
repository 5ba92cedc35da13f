"""Augmentation, label smoothing and clipping reach every training that they are for."""

import pytest

from deep_net_triage.learning import training, whole_network
from deep_net_triage.learning.learner import Classifier
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_model
from deep_net_triage.learning.whole_network import NetworkTraining
from deep_net_triage.network.blocks import find_blocks
from tests.conftest import new_journal
from tests.toys import toy_parent

FLAGS = {
    "augment": "crop",
    "label_smoothing": 0.125,
    "clip_norm": 0.75,
    "parent_epochs": 1,
}


def train_parent(parent, dataset, settings):
    whole_network.train_parent(parent, dataset, settings, new_journal())


def distil_from_scratch(parent, dataset, settings):
    lesson = NetworkTraining(0.01, 1, seed=0, teacher=parent)
    whole_network.train(toy_parent(1), lesson, dataset, settings, new_journal())


def retrain(method):
    def train(parent, dataset, settings):
        block = None if method == "control" else find_blocks(parent)[0]
        source = for_model(dataset, settings)
        Retraining(parent, block, dataset, source, settings).run(method, 0, new_journal())

    return train


@pytest.mark.parametrize(
    ("train", "phases"),
    [
        (train_parent, ["train"]),
        (distil_from_scratch, ["train"]),
        (retrain("control"), ["train"]),
        (retrain("cl_rw"), ["train"]),
        (retrain("cm_mw"), ["train"]),
        (retrain("stn_kd"), ["distill", "train"]),
    ],
    ids=["parent", "from_scratch", "control", "cl_rw", "cm_mw", "stn_kd"],
)
def test_each_training_has_them(
    train, phases, parent, toy_dataset, small_settings, monkeypatch
):
    fit, fitted = training.fit, []

    def recorded(learner, examples, settings, schedule, *others):
        fitted.append(schedule.phase)
        assert examples.augment == "crop"
        assert learner.clip_norm == 0.75
        if isinstance(learner, Classifier):
            assert learner.label_smoothing == 0.125
        return fit(learner, examples, settings, schedule, *others)

    monkeypatch.setattr(training, "fit", recorded)
    train(parent, toy_dataset, small_settings(**FLAGS, epochs=1, distill_epochs=1))
    assert fitted == phases
