"""Several processes on one study."""

import subprocess
import sys

import pytest

import run_triage
from deep_net_triage.records import results, study_results
from tests.studies import TINY

METHODS = ("cl_rw", "cm_rw", "cl_mw", "stn")


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path):
    command = [sys.executable, run_triage.__file__, *TINY, f"--method={','.join(METHODS)}"]
    command += ["--block=4,5", "--parent_epochs=30", f"--output_dir={tmp_path}"]
    crowd = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate() for process in crowd]
    assert [process.returncode for process in crowd] == [0, 0], printed
    said = [out for out, _ in printed]
    # One made the parent while the other waited; each trial was run by one of them.
    assert sum("the baseline (trained)" in out for out in said) == 1
    assert sum("parent: waiting for process" in out for out in said) == 1
    for method in METHODS:
        for block in ("block4", "block5"):
            name = f"{block} {method} seed 0  accuracy "
            assert sum(name in out for out in said) == 1, name
            folder = results.trial_folder(tmp_path / "digits", method, block, 0)
            epochs = [(r.phase, r.epoch) for r in results.read_epochs(folder)]
            assert epochs == [("distill", 1)] * (method == "stn") + [("train", 1), ("train", 2)]
    assert all("seed 0  accuracy " in out for out in said)
    assert len(study_results.read_study(tmp_path / "digits").rows) == 8
    commands = results.files.read_json(tmp_path / "digits" / "study.json")["commands"]
    assert [bool(each["seconds"]) for each in commands] == [True, True]
    assert not list(tmp_path.rglob("*.lock"))
    assert not list(tmp_path.rglob("unfinished-*"))
