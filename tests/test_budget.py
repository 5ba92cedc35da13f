"""What a planned study is said to take, and how many trials run at once."""

import dataclasses
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from deep_net_triage import devices
from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.images.splits import Split
from deep_net_triage.learning.timings import Timings
from deep_net_triage.network import blocks
from deep_net_triage.records import checkpoints, results
from deep_net_triage.records.checkpoints import Checkpoint
from deep_net_triage.study import budget, estimates
from deep_net_triage.study.budget import Budget
from tests import compressions as handmade
from tests.studies import TINY, run

GIB = 2**30


def training(name, seconds, alone=False):
    return ExpectedTraining(name, (ExpectedPhase(name, "train", 1, seconds),), alone=alone)


@pytest.fixture
def cores(monkeypatch):
    def have(count):
        monkeypatch.setattr(devices, "cores", lambda: count)

    return have


def timed(slowdowns):
    return Timings(3.0, 1.0, {}, 0.0, slowdowns)


@pytest.mark.parametrize(
    ("slowdowns", "trials", "expected"),
    [
        ({1: 1.0, 2: 1.25}, 30, 2),  # 1.6 times as much is done
        ({1: 1.0, 2: 1.8}, 30, 1),  # 1.1 times
        ({1: 1.0, 2: 1.25}, 1, 1),
        ({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.0, 16: 4.4}, 30, 8),
        ({1: 1.0, 2: 1.1, 4: 1.3, 8: 2.0, 16: 4.4}, 5, 4),
        ({1: 1.0}, 30, 1),
    ],
)
def test_so_many_trials_run_at_once_as_get_most_done(
    slowdowns, trials, expected, small_settings
):
    chosen = budget._side_by_side(small_settings(), timed(slowdowns), trials, memory=1)
    assert chosen == expected


FREE = timed({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0})


def test_memory_limits_the_trials_at_once(small_settings, monkeypatch):
    free = dataclasses.make_dataclass("Free", ["available"])(2 * GIB)
    monkeypatch.setattr(budget.psutil, "virtual_memory", lambda: free)
    assert budget._side_by_side(small_settings(), FREE, 30, memory=GIB // 2) == 4


def test_the_user_decides_and_determinism_takes_one_at_a_time(small_settings):
    for flags, expected in (
        ({"parallel_trials": 3}, 3),
        ({"parallel_trials": 1}, 1),
        ({"deterministic": True}, 1),
        ({"replicas": 2}, 1),
        ({"launcher": "ray"}, 1),  # its tasks have a node each
        ({}, 8),
    ):
        assert budget._side_by_side(small_settings(**flags), FREE, 30, memory=1) == expected


def test_a_share_of_the_cores_slows_a_step():
    assert budget._slowdown(timed({1: 1.0, 2: 1.25}), 2) == 1.25
    assert budget._slowdown(timed({1: 1.0, 2: 1.25}), 1) == 1
    # What was not measured: half of a share takes twice as long.
    assert budget._slowdown(timed({1: 1.0, 2: 1.25}), 4) == 2.5


@pytest.mark.parametrize(
    ("flags", "policy", "bytes_each"),
    [
        ({}, "float32", 4),
        ({"activation_dtype": "float16"}, "float32", 2),
        ({}, "mixed_bfloat16", 2),
    ],
)
def test_held_out_images_are_stored_too_in_the_type_of_the_network(
    flags, policy, bytes_each, parent, small_settings, toy_dataset
):
    network = keras.models.clone_model(
        parent,
        clone_function=lambda layer: layer.from_config(layer.get_config() | {"dtype": policy}),
    )
    held_out = Split(np.zeros((5, 8, 8, 2), np.uint8), np.zeros(5, np.int32))
    plan = SimpleNamespace(
        settings=small_settings(method="stn", **flags),
        dataset=dataclasses.replace(toy_dataset, validation=held_out),
        network=network,
        blocks=blocks.find_blocks(parent),
    )
    # Of 27 + 10 + 5 images. Block 1 receives images, which are not stored, and returns maps of
    # 4 x 4 x 3 pixels; block 2 receives these, and returns 2 x 2 x 4.
    assert budget._activations(plan) == [42 * 48 * bytes_each, 42 * (48 + 16) * bytes_each]


def test_one_line_says_it_all(cores, monkeypatch):
    cores(2)
    parent = training("parent", 120.0, alone=True)
    trainings = (parent, training("a", 300.0), training("b", 300.0))
    foreseen = Budget(trainings, 2, 3 * GIB, GIB // 2, GIB // 4, measured=True)
    assert foreseen.seconds == 120 + 300
    assert budget.summary(foreseen) == (
        "about 7.0 min on this machine (2 cores, no GPU): parent 2.0 min, 2 trials (2 at once) "
        "5.0 min; 3.0 GiB of memory, 768 MiB of disk"
    )
    assert list(budget.details(foreseen))[:2] == ["parent  2.0 min", "a       5.0 min"]


def test_an_estimate_writes_nothing(tmp_path, capsys):
    assert run(tmp_path / "runs", "--method=cl_rw,stn", "--block=4", "--estimate") == 0
    said = capsys.readouterr().out
    assert "[2/2] block4 stn seed 0" in said
    assert "on this machine" in said
    assert not (tmp_path / "runs").exists()


def test_what_is_finished_costs_nothing(study, capsys):
    assert run(study.parent, "--method=cl_rw,stn", "--block=4,5", "--estimate") == 0
    said = capsys.readouterr().out
    assert "[3/4] block5 cl_rw seed 0" in said
    assert "block4 cl_rw seed 0  " not in said
    assert "parent  " not in said


def test_a_trial_that_failed_is_estimated_as_it_will_be_run_again(study, capsys):
    folder = study / "trials" / "cl_rw-block4-seed0"
    settings = results.read_trial(folder).settings
    results.write_result(folder, results.Failure(settings, "the loss is no longer finite"))
    assert run(study.parent, "--method=cl_rw,stn", "--block=4", "--estimate") == 0
    assert "[1/2] block4 cl_rw seed 0  " in capsys.readouterr().out


def test_epochs_of_an_interrupted_trial_cost_nothing(study, monkeypatch):
    budgets = []
    monkeypatch.setattr(budget, "details", lambda foreseen: budgets.append(foreseen) or ())
    folder = study / "trials" / "stn-block4-seed0"
    settings = results.read_trial(folder).settings
    shutil.rmtree(folder)
    for records in ([], [{}, {}]):  # one epoch of distillation, one of training
        if records:
            folder.mkdir()
            checkpoints.write(folder, Checkpoint(settings, records, {}, {}))
        assert run(study.parent, "--method=cl_rw,stn", "--block=4", "--estimate") == 0
    left = [
        {phase.name: phase.epochs - phase.done for phase in foreseen.trainings[0].phases}
        for foreseen in budgets
    ]
    assert left == [{"distill": 1, "train": 2}, {"train": 1}]
    assert budgets[1].seconds < budgets[0].seconds


def test_a_finished_study_is_estimated_as_well(study, capsys):
    assert run(study.parent, "--method=cl_rw,stn", "--block=4", "--estimate") == 0
    assert "about 0 s on this machine" in capsys.readouterr().out


def test_what_follows_finished_trials_is_measured_as_well(study, capsys, monkeypatch):
    """Trials are often run first, by jobs, and compressed by a command of its own."""
    measured, measure = [], budget.stopwatch.measure
    monkeypatch.setattr(budget, "_NOT_WORTH_TIMING", 1e-9)
    monkeypatch.setattr(
        budget.stopwatch, "measure", lambda *args: measured.append(1) or measure(*args)
    )
    flags = ("--method=cl_rw,stn", "--block=4", "--estimate")
    assert run(study.parent, *flags) == 0
    assert not measured
    assert run(study.parent, *flags, "--compress", "--validation_fraction=0") == 0
    assert measured
    assert "after the trials, if every block is compressed: about" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "at_once", "room"),
    [
        ({"activation_memory": 2, "activation_disk": 2}, 1, "memory"),
        ({"activation_memory": 0, "activation_disk": 2}, 1, "disk"),
        ({"activation_memory": 0.5, "activation_disk": 0.5}, 1, None),
        # Several processes share files.
        ({"activation_memory": 2, "activation_disk": 0}, 2, None),
        ({"activation_memory": 2, "activation_disk": 2}, 2, "disk"),
        ({"activation_memory": 2, "activation_disk": 0, "launcher": "ray"}, 1, None),
    ],
)
def test_activations_fit_where_they_would_be_stored(flags, at_once, room, small_settings):
    settings = small_settings(**flags)
    assert budget._room(settings, [2**20, 2**30], at_once) == room
    both = 2**20 + 2**30 if at_once > 1 else 2**30  # of one block after the other
    taken = {"memory": (2**30, 0), "disk": (0, both), None: (0, 0)}
    assert budget._stored(settings, [2**20, 2**30], at_once) == taken[room]
    assert budget._room(settings, [], at_once) is None


@pytest.mark.parametrize(
    ("changed", "is_the_same"),
    [
        ({}, True),
        ({"max_drop": 0.05}, False),
        ({"save": "parameters"}, False),
        ({"final_seeds": "0,1"}, False),
        ({"final_epochs": 31}, False),
        ({"final_epochs": None, "epochs": 30}, True),
        ({"temperature": 2.0}, False),
        ({"retrain_learning_rate": 0.5}, False),
    ],
)
def test_a_compression_that_has_ended_is_not_left_if_it_is_the_one_asked_for(
    changed, is_the_same, small_settings, tmp_path
):
    asked = {"save": "macs", "max_drop": 0.02, "final_seeds": "0,1,2", "final_epochs": 30}
    asked |= {"retrain_learning_rate": 0.01, "temperature": 4.0}
    flags = {name: value for name, value in (asked | changed).items() if value is not None}
    settings = small_settings(output_dir=tmp_path, compress="true", **flags)
    blocks_now = [SimpleNamespace(name=name) for name in ("block1", "block2", "block3")]
    assert estimates.ended_compression(settings, blocks_now) is None
    made = handmade.compression()
    settings.folder.mkdir(parents=True, exist_ok=True)
    handmade.write(settings.folder, made)
    for final in made.finals:
        folder = settings.folder / "compressed" / final.folder
        lesson = {"epochs": 30, "learning_rate": 0.01, "temperature": 4.0}
        handmade.write_network(folder, 890, final.seed, made.macs, **lesson)
    assert estimates.ended_compression(settings, blocks_now) == (made if is_the_same else None)
    # A block that was not considered then is now.
    blocks_now.append(SimpleNamespace(name="block5"))
    assert estimates.ended_compression(settings, blocks_now) is None


@pytest.mark.parametrize(
    ("images", "quick", "advised"),
    [((600, 300), 100.0, True), ((600, 299), 100.0, False), ((600, 300), 3000.0, False)],
)
def test_a_small_study_is_advised_where_it_can_be_run_and_is_much_shorter(
    images, quick, advised, monkeypatch, small_settings
):
    monkeypatch.setattr(budget, "of_quick", lambda plan, settings: quick)
    train, test = (range(count) for count in images)
    dataset = SimpleNamespace(train=train, test=test)
    foreseen = Budget((training("a", 5000.0),), 1, 0, 0, 0, True)
    small = small_settings(train_examples=600, test_examples=300)
    shorter = ["--flagfile=small.flags makes it a small study of about 1.7 min"]
    for estimate, pointer in ((False, ["--estimate lists what each part takes"]), (True, [])):
        plan = SimpleNamespace(dataset=dataset, settings=small_settings(estimate=estimate))
        said = budget.advice(plan, foreseen, "--flagfile=small.flags", small)
        assert list(said) == pointer + advised * shorter


def test_an_estimate_of_what_can_not_run_says_so_as_a_run_would(tmp_path, capsys):
    for flags in ((), ("--estimate",)):
        assert run(tmp_path / "runs", "--block=9", *flags) == 2
        assert "--block=9 is not a block; allowed: 1 to 5" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_long_study_comes_with_the_flag_that_makes_it_small(tmp_path, capsys, monkeypatch):
    """Every step is taken to last half an hour."""
    import run_triage

    measured = []

    def measure(network, blocks, dataset, settings, timed=None):
        measured.append((network.input_shape, settings.epochs))
        seconds = 1800.0 if len(measured) == 1 else 1.0
        timed = budget.stopwatch.assumed(network, blocks, settings)
        return dataclasses.replace(timed, step=3 * seconds, forward=seconds)

    monkeypatch.setattr(budget, "_NOT_WORTH_TIMING", 0.0)
    monkeypatch.setattr(budget.stopwatch, "measure", measure)
    flags = [flag for flag in TINY if "epochs" not in flag]
    typed = [*flags, "--method=cl_rw", "--estimate", f"--output_dir={tmp_path}"]
    assert run_triage.main(typed) == 0
    said = capsys.readouterr().out
    assert "--flagfile=" in said
    assert "small.flags makes it a small study of about" in said
    assert "--estimate" not in said  # it is what the user has typed
    assert measured[1][1] == 5  # the file's epochs
