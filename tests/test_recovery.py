"""A study that was killed, damaged, or is not alone goes on, and says so."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest

import run_triage
from deep_net_triage.records import processes, results, study_results
from deep_net_triage.records.journal import Journal
from deep_net_triage.study.earlier_results import EarlierResults
from deep_net_triage.study.study import Study
from tests.studies import TINY, read, run, snapshot


def test_leftovers_of_a_killed_process_are_removed(study):
    names = {path.relative_to(study) for path in study.rglob("*")}
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = dataclasses.replace(processes.current(), number=ended.pid)
    trial = study / "trials" / "stn-block4-seed0"
    (trial / "checkpoint-3.npz").touch()
    (study / "parent" / f"{processes.prefix()}{ended.pid}-model.keras").touch()
    for file in (results.lock_file(trial), study / "parent.lock"):
        file.write_text(json.dumps({**dataclasses.asdict(gone), "token": "its own"}))
    assert run(study.parent, "--method=stn", "--block=4") == 0
    assert {path.relative_to(study) for path in study.rglob("*")} == names


def test_a_killed_trial_goes_on_where_it_was(study, monkeypatch, capsys):
    trial = study / "trials" / "stn-block4-seed0"
    expected = results.read_epochs(trial)
    (trial / "result.json").unlink()
    end_epoch = Journal.end_epoch

    def killed_after_two(self, epoch, arrays):
        end_epoch(self, epoch, arrays)
        if len(self.epochs) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "end_epoch", killed_after_two)
        assert run(study.parent, "--method=stn", "--block=4") == 130
    kept = results.read_epochs(trial)
    assert len(kept) == 2
    capsys.readouterr()
    assert run(study.parent, "--method=stn", "--block=4") == 0
    assert "stn seed 0  resumes after train epoch 1" in capsys.readouterr().out
    found = results.read_epochs(trial)
    assert found[:2] == kept
    assert [r.loss for r in found] == pytest.approx([r.loss for r in expected], rel=1e-3)


@pytest.mark.parametrize("file", ["result.json", "model.keras", "epochs.jsonl"])
def test_a_damaged_trial_is_named_and_run_again(file, study, capsys):
    trial = study / "trials" / "cl_rw-block4-seed0"
    content = bytearray((trial / file).read_bytes())
    content[len(content) // 2] ^= 1
    (trial / file).write_bytes(content)
    other = snapshot(study / "trials" / "stn-block4-seed0")
    assert run(study.parent, "--method=cl_rw", "--block=4") == 0
    printed = capsys.readouterr().out
    assert f"{trial / file} is damaged" in printed
    assert "the trial is run again" in printed
    assert read(trial / "result.json")["status"] == "finished"
    assert snapshot(study / "trials" / "stn-block4-seed0") == other


def test_a_damaged_parent_is_another_one_and_its_trials_stop_the_study(study, capsys):
    file = study / "parent" / "model.keras"
    file.write_bytes(file.read_bytes()[:-100])
    before = snapshot(study)
    assert run(study.parent, "--method=cl_rw", "--block=4") == 2
    printed = capsys.readouterr()
    assert f"{file} is damaged" in printed.out
    assert "2 finished trials with other settings (parent_sha256:" in printed.err
    assert snapshot(study) == before


def test_a_parent_without_its_model_is_made_again(study):
    (study / "parent" / "model.keras").unlink()
    shutil.rmtree(study / "trials")
    assert run(study.parent, "--method=cl_rw", "--block=4") == 0
    assert (study / "parent" / "model.keras").is_file()


def test_damaged_descriptions_begin_anew(study, capsys):
    (study / "study.json").write_text("{")
    (study / "results.csv").write_text("nonsense")
    assert run(study.parent, "--method=cl_rw", "--block=4") == 0
    assert "study.json is damaged" in capsys.readouterr().out
    assert len(read(study / "study.json")["commands"]) == 1
    assert len(study_results.read_study(study).rows) == 2


@pytest.fixture
def another():
    """A process that lives, and the text of a lock that it holds."""
    living = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    process = dataclasses.replace(
        processes.current(), number=living.pid, started=processes._started(living.pid)
    )
    yield living, json.dumps({**dataclasses.asdict(process), "token": "its own"})
    living.kill()
    living.wait()


def test_what_another_process_works_on_is_left_to_it_until_it_dies(
    study, another, monkeypatch, capsys
):
    living, lock = another
    taken = study / "trials" / "cm_rw-block4-seed0"
    results.lock_file(taken).write_text(lock)
    seen, wait = [], Study._wait_for

    def dies(waiting, pending):
        if not seen:
            seen.append((taken.exists(), (study / "trials" / "cl_mw-block4-seed0").exists()))
            living.kill()
        wait(waiting, pending)

    monkeypatch.setattr(Study, "_wait_for", dies)
    assert run(study.parent, "--method=cm_rw,cl_mw", "--block=4") == 0
    assert seen == [(False, True)]
    printed = capsys.readouterr().out
    left = printed.index(f"cm_rw seed 0  skipped: taken by process {living.pid} on")
    first, second = (printed.index(f"{name} seed 0  accuracy") for name in ("cl_mw", "cm_rw"))
    assert left < first < second
    assert not results.lock_file(taken).exists()


def test_what_another_process_works_on_is_not_replaced(study, another, capsys):
    results.lock_file(study / "trials" / "stn-block4-seed0").write_text(another[1])
    before = snapshot(study)
    assert run(study.parent, "--method=stn", "--distill_epochs=2", "--overwrite") == 2
    assert "works on it" in capsys.readouterr().err
    assert snapshot(study) == before


def test_a_parent_that_another_made_otherwise_is_not_replaced(study, monkeypatch, capsys):
    # A process that began before the other one had made its parent sees none at first.
    monkeypatch.setattr(
        EarlierResults, "compare_parent", lambda self, computes_alike=None: None
    )
    shutil.rmtree(study / "trials")
    before = snapshot(study / "parent")
    assert run(study.parent, "--method=cl_rw", "--block=4", "--parent_epochs=3") == 2
    assert "with other settings (parent_epochs: 2, now 3)" in capsys.readouterr().err
    assert snapshot(study / "parent") == before


@pytest.mark.slow
def test_a_parent_and_a_trial_that_are_damaged_are_both_made_again(tmp_path):
    arguments = ("--method=cl_rw", "--block=5", "--deterministic")
    command = [sys.executable, run_triage.__file__, f"--output_dir={tmp_path}", *TINY]
    # In processes of their own: determinism can't be taken back.
    subprocess.run([*command, *arguments], check=True, capture_output=True)
    study = tmp_path / "digits"
    (study / "parent" / "model.keras").write_bytes(b"")
    (study / "trials" / "cl_rw-block5-seed0" / "result.json").write_bytes(b"")
    subprocess.run([*command, *arguments], check=True, capture_output=True)
    assert len(study_results.read_study(study).rows) == 1
