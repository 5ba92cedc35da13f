import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

import run_triage
from deep_net_triage.commands import endings
from deep_net_triage.errors import (
    ExportFailed,
    InputError,
    LockLost,
    Terminated,
    TrainingFailed,
)
from deep_net_triage.study import command
from deep_net_triage.study.study import Study
from tests.studies import TINY, newcomer, run

KEPT = "what is finished is kept; run the same command again to continue"


# Seen in an address space that was too small.
ONEDNN = "Operation received an exception:Status: 1, message: could not create a primitive"


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        (InputError("--epochs=0 must be at least 1"), "--epochs=0 must be at least 1", 2),
        (TrainingFailed("the parent: loss is nan"), "py: the parent: loss is nan", 1),
        (ExportFailed("the export a.tflite returns other"), "py: the export a.tflite", 1),
        (KeyboardInterrupt(), f"interrupted; {KEPT}", 130),
        (Terminated(), f"terminated; {KEPT}", 143),
        (LockLost("a.lock was taken over"), "a.lock was taken over", 1),
        (MemoryError(), "out of memory; ", 1),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), "out of memory; ", 1),
        (
            tf.errors.ResourceExhaustedError(None, None, "a.index; No space left on device"),
            "No space left on device (free some space there",
            1,
        ),
        (tf.errors.AbortedError(None, None, ONEDNN), "out of memory; ", 1),
        (
            OSError(errno.ENOSPC, "No space left on device", "/runs/a"),
            "/runs/a: No space left",
            1,
        ),
        (OSError(errno.EROFS, "Read-only file system", "/runs/a"), "make it writable", 1),
        (OSError("one\ntwo"), "one two; ", 1),
    ],
)
def test_an_ending_is_one_line_with_its_code(error, expected, code, monkeypatch, capsys):
    def ends(*arguments, **others):
        raise error

    monkeypatch.setattr(command, "run", ends)
    assert run_triage.main([]) == code
    printed = capsys.readouterr().err
    assert printed.startswith("run_triage.py: ")
    assert expected in printed
    assert printed.count("\n") == 1


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def ends(*arguments, **others):
        raise ZeroDivisionError

    monkeypatch.setattr(command, "run", ends)
    with pytest.raises(ZeroDivisionError):
        run_triage.main([])
    assert endings.describe(ZeroDivisionError()) is None


def test_a_wish_to_end_passes_every_except():
    before = signal.getsignal(signal.SIGTERM)
    reached = []

    def broad():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Exception:
            reached.append("swallowed")

    with endings.terminable(), pytest.raises(Terminated):
        broad()
    assert reached == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_study_that_is_interrupted_goes_on(number, code, tmp_path):
    command = [sys.executable, run_triage.__file__, *TINY, "--method=cl_rw,cm_rw", "--block=5"]
    command.append(f"--output_dir={tmp_path}")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=newcomer()
    )
    for line in process.stdout:
        if "train 1/2" in line and "cl_rw" in line:
            process.send_signal(number)
            break
    _, printed = process.communicate()
    assert process.returncode == code
    assert printed.count("\n") == 1
    assert KEPT in printed
    assert not list(tmp_path.rglob("*.lock"))
    assert not list(tmp_path.rglob("unfinished-*"))
    assert run(tmp_path, "--method=cl_rw,cm_rw", "--block=5") == 0


def test_an_output_folder_that_goes_away_ends_the_study(study, monkeypatch, capsys):
    run_trials = Study.run

    def lose_and_run(self, *rest):
        study.rename(study.with_name("gone"))
        run_trials(self, *rest)

    monkeypatch.setattr(Study, "run", lose_and_run)
    assert run(study.parent, "--method=cl_rw", "--block=5") == 1
    printed = capsys.readouterr().err
    assert str(study) in printed
    assert printed.count("\n") == 1
    assert not study.exists()
