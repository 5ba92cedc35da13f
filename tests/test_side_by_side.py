"""Trials side by side, in other processes than the one that has made the parent."""

import contextlib
import multiprocessing
import re
import signal
import types
from pathlib import Path

import pytest

from deep_net_triage.devices import WHOLE, Share
from deep_net_triage.launchers import workers
from deep_net_triage.records import study_results
from deep_net_triage.study import budget
from deep_net_triage.study.study import Study
from tests.studies import run


@pytest.mark.parametrize(("index", "expected"), [(0, "abcde-"), (1, "de-abc")])
def test_each_process_begins_at_another_block(index, expected, monkeypatch):
    order = []
    monkeypatch.setattr(Study, "_walk", lambda study: None)
    monkeypatch.setattr(
        Study, "_run_block", lambda study, trials, *others: order.append(trials[0].block)
    )
    plan = types.SimpleNamespace(blocks=tuple("abcde"))
    study = Study(plan, None, None, None, None, Share(index, 2))
    # The control compresses no block.
    study._run_blocks(
        [types.SimpleNamespace(block=block, method="cl_rw") for block in (*"abcde", None)],
        print,
    )
    assert "".join(block or "-" for block in order) == expected


def test_a_process_that_is_killed_while_it_starts_leaves_the_others_their_work():
    """It has not read what was sent to it, so the system resets the connection."""
    said = []
    board = types.SimpleNamespace(
        ended=lambda number, others: None, show=lambda message, number: said.append(message)
    )
    running = {}
    for pid, code in ((7, -9), (8, 0)):
        ours, theirs = multiprocessing.Pipe()
        ours.send("arguments")
        if code == 0:
            theirs.recv()
            theirs.send(("returned", "its result"))
        theirs.close()
        running[ours] = types.SimpleNamespace(pid=pid, exitcode=code, join=lambda: None)
    assert workers._results(running, board) == ["its result"]
    assert said == [("say", ("process 7 was killed (SIGKILL)",))]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux has /proc")
def test_processes_ignore_ctrl_c_from_their_first_moment():
    before = signal.getsignal(signal.SIGINT)
    with workers._working("run_trials", None, [WHOLE]) as started:
        (process,) = started.values()
        status = Path(f"/proc/{process.pid}/status").read_text()
    ignored = int(re.search(r"SigIgn:\s+(\w+)", status)[1], 16)
    assert ignored >> (signal.SIGINT - 1) & 1
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_small_network_runs_its_trials_side_by_side(tmp_path, monkeypatch, capfd):
    """Steps are timed even for so small a study, and are said to keep one core busy."""
    begun = []
    ready_to_run_trials = workers.ready_to_run_trials

    @contextlib.contextmanager
    def spied(settings, board, count):
        with ready_to_run_trials(settings, board, count) as run_trials:
            assert not (tmp_path / "digits" / "parent" / "result.json").exists()
            yield lambda work: begun.append((sorted(work), count)) or run_trials(work)

    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.setattr(budget, "_NOT_WORTH_TIMING", 0.0)
    monkeypatch.setattr(budget, "_side_by_side", lambda *given: 2)
    monkeypatch.setattr(workers, "ready_to_run_trials", spied)
    flags = ("--method=cl_rw,stn", "--block=3,4,5", "--epochs=6")
    assert run(tmp_path, *flags) == 0
    assert begun == [([0, 1, 2, 3, 4, 5], 2)]
    study = study_results.read_study(tmp_path / "digits")
    assert len(study.rows) == 6
    said, complained = capfd.readouterr()
    assert complained == ""
    assert "6 trials (2 at once)" in said
    # Lines that both processes say are shown once.
    assert said.count("digits: reading images") == 1
    assert not list(tmp_path.rglob("unfinished-*"))
    assert not list(tmp_path.rglob("*.lock"))
    # Nothing is left to do, so that no process is started.
    begun.clear()
    monkeypatch.undo()
    assert run(tmp_path, *flags) == 0
    assert begun == []
