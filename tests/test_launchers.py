"""Studies by several processes, as from the command line."""

import os
import signal
import subprocess
import sys
import time
import types
from unittest import mock

import pytest

import run_triage
from deep_net_triage import devices
from deep_net_triage.devices import Share
from deep_net_triage.errors import InputError
from deep_net_triage.launchers import ray_cluster
from deep_net_triage.records import results, study_results
from tests.studies import TINY, newcomer, run

SMALL = (*TINY, "--method=cl_rw,stn", "--block=4,5")


def command(folder, *flags):
    return [sys.executable, run_triage.__file__, f"--output_dir={folder}", *SMALL, *flags]


def test_shares_are_whole_and_apart():
    things = list(range(7))
    parts = [Share(index, 3).of(things) for index in range(3)]
    assert sorted(sum(parts, [])) == things
    # More processes than things: each has one, and none is left over.
    parts = [Share(index, 5).of(things[:2]) for index in range(5)]
    assert parts == [[0], [1], [0], [1], [0]]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds cores")
def test_a_process_is_bound_to_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {4, 5, 6, 9})
    bound = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: bound.append(cores))
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    devices.bind_to_share(Share(1, 2), deterministic=False)
    assert bound == [[5, 9]]
    assert "TF_NUM_INTRAOP_THREADS" not in os.environ
    # What is divided among threads is rounded by their number.
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    devices.bind_to_share(Share(0, 2), deterministic=True)
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "4"


def test_jobs_of_an_array_make_one_study(tmp_path, capsys):
    for shard in ("0/2", "1/2"):
        assert run(tmp_path, "--method=cl_rw,stn", "--block=4,5", f"--shard={shard}") == 0
    said = capsys.readouterr().out
    study = study_results.read_study(tmp_path / "digits")
    ran = [(row.block, row.method) for row in study.rows]
    assert ran == [(b, m) for b in ("block4", "block5") for m in ("cl_rw", "stn")]
    # The second job found the first one's parent, and touched none of its trials.
    assert said.count("the baseline (trained)") == 1
    assert said.count("the baseline (kept from an earlier run)") == 1
    assert "is already finished" not in said


def test_the_time_left_on_a_cluster_is_divided_by_all_its_tasks_at_once():
    nodes = [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 3.0}, {"CPU": 2.0}]
    assert ray_cluster._at_once(nodes, "GPU", 2) == 3  # two and one; a GPU is left over
    assert ray_cluster._at_once(nodes, "CPU", 2.0) == 17
    cluster = types.SimpleNamespace(at_once=3)
    expected = ("expect", (("parent", "trial"), 1, 20.0))
    changed = ray_cluster._Cluster._of_cluster(cluster, expected)
    assert changed == ("expect", (("parent", "trial"), 3, 20.0))
    said = ("say", ("a line",))
    assert ray_cluster._Cluster._of_cluster(cluster, said) == said


def test_more_replicas_than_any_node_has_gpus_are_refused(monkeypatch):
    """Ray would wait for such a node for ever."""
    monkeypatch.setattr(ray_cluster._Cluster, "_on", lambda self, node: {})
    ray = mock.MagicMock()
    resources = {"CPU": 8.0, "GPU": 4.0}
    ray.nodes.return_value = [{"Alive": True, "Resources": resources}]
    with pytest.raises(InputError, match="--replicas=8: a node has 4 GPUs at most"):
        ray_cluster._Cluster(ray, 8, board=None)
    assert ray_cluster._Cluster(ray, 4, board=None).for_one["num_gpus"] == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--launcher=ray", "--parallel_trials=2"], "--launcher=ray divides the trials itself"),
        (["--launcher=ray", "--shard=0/2"], "--launcher=ray divides the trials itself"),
        (["--parallel_trials=0"], "--parallel_trials=0"),
        (["--shard=2/2"], "--shard=2/2: job 2 of 2"),
    ],
)
def test_what_can_not_be_divided_is_refused(flags, message, tmp_path, capsys):
    assert run(tmp_path / "runs", *flags) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_bad_input_of_several_processes_ends_as_that_of_one(tmp_path):
    done = subprocess.run(
        command(tmp_path / "runs", "--parallel_trials=2", "--block=9"),
        env=newcomer(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("run_triage.py: --block=9 is not a block; allowed: 1 to 5")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_the_one_that_made_them_and_their_study_goes_on(
    number, tmp_path
):
    flags = ("--parallel_trials=2", "--epochs=30")
    first = subprocess.Popen(
        command(tmp_path, *flags),
        env=newcomer(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    trials = tmp_path / "digits" / "trials"
    wait_for(lambda: len(list(trials.glob("*/checkpoint*"))) > 1)
    first.send_signal(number)
    assert first.wait(60) == {signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    wait_for(lambda: not group_runs(first.pid))
    subprocess.run(command(tmp_path, *flags), env=newcomer(), check=True, capture_output=True)
    study = study_results.read_study(tmp_path / "digits")
    assert len(study.rows) == 4
    for row in study.rows:
        folder = results.trial_folder(tmp_path / "digits", row.method, row.block, row.seed)
        epochs = [r.epoch for r in results.read_epochs(folder) if r.phase == "train"]
        assert epochs == list(range(1, 31))
    assert not list(tmp_path.rglob("unfinished-*"))
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.slow
def test_a_study_by_two_processes_survives_one_of_them(tmp_path):
    flags = ("--parallel_trials=2", "--epochs=30")
    study = subprocess.Popen(
        command(tmp_path, *flags),
        env=newcomer(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    trials = tmp_path / "digits" / "trials"
    wait_for(lambda: list(trials.glob("*.lock")) and list(trials.glob("*/checkpoint*")))
    lock = next(iter(trials.glob("*.lock"))).read_text()
    os.kill(results.files.json.loads(lock)["number"], signal.SIGKILL)
    out, error = study.communicate(timeout=300)
    assert study.returncode == 0, error
    assert "was killed (SIGKILL)" in out
    assert len(study_results.read_study(tmp_path / "digits").rows) == 4


@pytest.mark.slow
def test_a_study_run_four_ways_is_one_study():
    """The Ray cluster loses one of its two nodes on the way."""
    pytest.importorskip("ray", reason="needs Ray: pip install '.[ray]'")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.four_ways", *SMALL, "--epochs=5"],
        env=newcomer(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "Ray (one node killed)" in done.stdout


def wait_for(happened):
    for _ in range(1200):
        if happened():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within two minutes")


def group_runs(leader):
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
