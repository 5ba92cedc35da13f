"""What a planned study is said to take, and how many trials run at once."""

import dataclasses

import pytest

from deep_net_triage import devices
from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.study import budget
from deep_net_triage.study.budget import Budget
from tests.studies import TINY, run

GIB = 2**30


def training(name, seconds, alone=False):
    return ExpectedTraining(name, (ExpectedPhase(name, "train", 1, seconds),), alone=alone)


@pytest.fixture
def cores(monkeypatch):
    def have(count):
        monkeypatch.setattr(devices, "cores", lambda: count)

    return have


@pytest.mark.parametrize(
    ("count", "busy", "trials", "expected"),
    [
        (2, 1.25, 30, 2),  # a step leaves 0.75 of two cores idle
        (2, 1.9, 30, 1),
        (2, 1.25, 1, 1),
        (64, 8.0, 30, 8),
        (64, 60.0, 30, 1),
        (2, 0.4, 30, 2),  # others' work on the machine must not start more than there are cores
        (1, 0.9, 30, 1),
    ],
)
def test_so_many_trials_run_at_once_as_keep_the_cores_busy(
    count, busy, trials, expected, cores, small_settings
):
    cores(count)
    assert budget._side_by_side(small_settings(), busy, trials, memory=1) == expected


def test_memory_limits_the_trials_at_once(cores, small_settings, monkeypatch):
    cores(8)
    free = dataclasses.make_dataclass("Free", ["available"])(2 * GIB)
    monkeypatch.setattr(budget.psutil, "virtual_memory", lambda: free)
    assert budget._side_by_side(small_settings(), 1.0, 30, memory=GIB // 2) == 4


def test_the_user_decides_and_determinism_takes_one_at_a_time(cores, small_settings):
    cores(8)
    for flags, expected in (
        ({"parallel_trials": 3}, 3),
        ({"parallel_trials": 1}, 1),
        ({"deterministic": True}, 1),
        ({"replicas": 2}, 1),
        ({}, 8),
    ):
        assert budget._side_by_side(small_settings(**flags), 1.0, 30, memory=1) == expected


def test_a_share_of_the_cores_slows_a_step_that_would_use_more(cores):
    cores(2)
    assert budget._slowdown(1.25, 2) == 1.25
    assert budget._slowdown(0.9, 2) == 1
    assert budget._slowdown(1.9, 1) == 1


def test_one_line_says_it_all(cores, monkeypatch):
    cores(2)
    parent = training("parent", 120.0, alone=True)
    trainings = (parent, training("a", 300.0), training("b", 300.0))
    foreseen = Budget(trainings, 2, 3 * GIB, GIB // 2, GIB // 4, measured=True)
    assert foreseen.seconds == 120 + 300
    assert budget.summary(foreseen) == (
        "about 7.0 min on this machine (2 cores, no GPU): parent 2.0 min, 2 trials, 2 at once "
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


def test_an_estimate_of_what_can_not_run_says_so_as_a_run_would(tmp_path, capsys):
    for flags in ((), ("--estimate",)):
        assert run(tmp_path / "runs", "--block=9", *flags) == 2
        assert "--block=9 is no block; allowed: 1 to 5" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_long_study_comes_with_the_flag_that_makes_it_small(tmp_path, capsys, monkeypatch):
    """Every step is taken to last half an hour."""
    import run_triage

    measured = []

    def measure(network, blocks, dataset, settings):
        measured.append((network.input_shape, settings.epochs))
        seconds = 1800.0 if len(measured) == 1 else 1.0
        timed = budget.timings.assumed(network, blocks, settings)
        return dataclasses.replace(timed, step=3 * seconds, forward=seconds)

    monkeypatch.setattr(budget, "_NOT_WORTH_TIMING", 0.0)
    monkeypatch.setattr(budget.timings, "measure", measure)
    flags = [flag for flag in TINY if "epochs" not in flag]
    typed = [*flags, "--method=cl_rw", "--estimate", f"--output_dir={tmp_path}"]
    assert run_triage.main(typed) == 0
    said = capsys.readouterr().out
    assert "--flagfile=" in said
    assert "small.flags makes it a small study of about" in said
    assert measured[1][1] == 5  # the file's epochs
