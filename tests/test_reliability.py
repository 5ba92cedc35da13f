"""The short versions of the harnesses that the README tells of."""

import random
import subprocess
import sys

import pytest

from benchmarks import bad_input, killed, starved
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


def run(name, *arguments):
    """Runs a harness in a process of its own: it forks, which this one no longer can."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, errors="replace"
    )


def test_killed_studies_end_as_if_undisturbed():
    done = run("killed", "--runs=4", f"--seed={random.randrange(10**6)}")
    # Four, and one after each of six trials; a seventh, the last, is not followed by a kill.
    assert "10 of 10 equal" in done.stdout, done.stdout + done.stderr


def test_the_comparison_sees_a_number_a_weight_a_picture_and_a_file(finished, study):
    assert killed.differences(finished, study) == []
    trial = study / "trials" / "stn-block4-seed0"
    (trial / "checkpoint-1.npz").touch()
    (study / "results.csv").write_text(
        (study / "results.csv").read_text().replace("0.1", "0.2")
    )
    (study / "parent" / "model.keras").write_bytes((trial / "model.keras").read_bytes())
    (study / "figures" / "accuracy.png").write_bytes(b"")
    assert killed.differences(finished, study) == [
        "only in one: trials/stn-block4-seed0/checkpoint-1.npz",
        "differs: figures/accuracy.png",
        "differs: parent/model.keras",
        "differs: results.csv",
    ]


def test_damaged_files_end_in_no_wrong_number():
    done = run("damaged", "--cuts=0")
    assert done.stdout.splitlines()[-1].endswith(" 0 wrong"), done.stdout + done.stderr


def test_a_small_disk(tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    command = [*starved.command(tmp_path / "undisturbed"), *starved.FLAGS]
    subprocess.run(command, check=True, capture_output=True)
    ending = starved.on_a_small_disk(50, tmp_path, tmp_path / "undisturbed")
    if ending.startswith("not run"):
        pytest.skip(ending)
    assert ending.endswith("then as if undisturbed"), ending


def test_an_address_space_in_which_nothing_starts(tmp_path):
    assert "needs at least 3" in starved.in_a_small_space(2, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_bad_input():
    done = run("bad_input")
    assert done.stdout.splitlines()[-1].endswith("0 tracebacks, 0 ended otherwise"
                                                 " than they should"), done.stdout  # fmt: skip
    assert len(bad_input.FLAGS) == len(set(bad_input.FLAGS))
