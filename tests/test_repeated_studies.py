"""Studies that were repeated, and what is said of them and of the committed ones."""

import csv
import dataclasses
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from deep_net_triage.findings import looks
from deep_net_triage.records import correctness, files, results
from deep_net_triage.records.study_results import read_study
from tests.conftest import REPOSITORY
from tests.test_committed_studies import check_files

HERE = REPOSITORY / "figures" / "study"
REPEATED = sorted(folder.parent for folder in (HERE / "repeated").glob("*/results.csv"))
REPRODUCTION = (REPOSITORY / "docs" / "reproduction.md").read_text().replace("\u2212", "-")


def compare(study):
    command = [sys.executable, str(HERE / "repeat.py"), f"--study={study}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_repeated_study_is_compared_trial_by_trial(tmp_path):
    """One trial gets 100 of 2,000 images wrong that it got right: 5 points; another a loss."""
    again = shutil.copytree(HERE / "mnist", tmp_path / "mnist")
    trial = again / "trials" / "cl_rw-block4-seed0"
    correct = correctness.read(trial / results.CORRECT, 2000)
    correct[np.flatnonzero(correct)[:100]] = False
    correctness.write(trial / results.CORRECT, correct)
    result = results.read_trial(trial)
    results.write_result(trial, dataclasses.replace(result, files=results.digests(trial)))
    curve = again / "trials" / "stn-block2-seed0" / "epochs.jsonl"
    curve.write_text(curve.read_text().replace('"loss": 0.', '"loss": 1.', 1))
    ended = compare(again)
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if "outside" in line]
    assert line.split()[:2] == ["block4", "CL-RW"]
    assert "outside, changed by -5.0 points [-6.0, -4.0]" in line
    last = ended.stdout.splitlines()[-4:]
    assert last[0] == "parent: 99.1 and 99.1 %, +0.0 points [-0.1, +0.1]"
    assert last[1] == "29 of 30 in the committed interval"
    assert last[2] == "1 changed; by chance about 1.5 would"
    assert last[3] == "29 trials equal in every epoch, on every image"


def test_another_study_is_no_repeated_one():
    ended = compare(HERE / "decisions" / "as_decided")
    assert ended.returncode == 2
    assert "is another study: train_examples: 5000, now 2000" in ended.stderr


@pytest.mark.parametrize("folder", REPEATED, ids=lambda folder: folder.name)
def test_a_study_is_repeated_whole_and_by_the_same_settings(folder):
    described = [files.read_json(one / "study.json") for one in (HERE / folder.name, folder)]
    assert described[0]["settings"] == described[1]["settings"]
    studies = [read_study(one) for one in (HERE / folder.name, folder)]
    assert studies[0].correct.keys() == studies[1].correct.keys()
    check_files(folder)


def accuracies(folder, column="max_accuracy"):
    """Means over seeds by method and block, in percent, by hand from results.csv."""
    found = {}
    with (folder / "results.csv").open() as file:
        for line in csv.DictReader(file):
            found.setdefault((line["method"], line["block"]), []).append(float(line[column]))
    return {way: 100 * np.mean(of_seeds) for way, of_seeds in found.items()}


@pytest.mark.parametrize("folder", REPEATED, ids=lambda folder: folder.name)
def test_the_cells_in_the_committed_intervals_are_those_of_the_page(folder):
    """The intervals as the page of the studies shows them; the other numbers from the files."""
    page = (HERE / "README.md").read_text().replace("\u2212", "-")
    section = page.split(f"## {looks.title(folder.name)}\n")[1].split("\n## ")[0]
    again, parent = accuracies(folder), accuracies(folder, "baseline_accuracy")
    methods = ("cl_rw", "cm_rw", "cl_mw", "cm_mw", "stn", "stn_cm")
    within = 0
    for block, line in re.findall(r"^\| (block\d) \| (.*) \|$", section, re.M):
        for method, cell in zip(methods, line.split(" | "), strict=True):
            low, high = map(float, re.search(r"\[(.*), (.*)\]", cell).groups())
            way = method, block
            within += low - 0.05 <= again[way] - parent[way] <= high + 0.05
    (row,) = re.findall(
        rf"^\| {looks.title(folder.name)} \|.* (\d+) of 30 \| \d+ of 30 ", REPRODUCTION, re.M
    )
    assert int(row) == within


def test_a_reading_is_what_both_results_say():
    """Student-teacher training of the last block of CIFAR-10 beside the first, by hand."""
    (row,) = re.findall(
        r"^\| CIFAR-10 \| STN at block5 \| STN at block1 \| (.*) \|$", REPRODUCTION, re.M
    )
    shown = [float(cell.split(" [")[0]) for cell in row.split(" | ")]
    expected = [
        accuracies(folder, column)["stn", "block5"]
        - accuracies(folder, column)["stn", "block1"]
        for folder in (HERE / "cifar10", HERE / "repeated" / "cifar10")
        for column in ("max_accuracy", "final_accuracy")
    ]
    assert shown == pytest.approx(expected, abs=0.051)


def test_intervals_in_the_findings_are_those_of_a_table():
    text = (REPOSITORY / "docs" / "paper.md").read_text().replace("\u2212", "-")
    text = text.split("\n## Findings\n")[1].split("\n## ")[0]
    number = r"([+-]?\d+\.\d)"
    quoted = re.findall(rf"{number}(?: points)?\s+\[{number},\s+{number}\]", text)
    assert len(quoted) > 20
    tables = REPRODUCTION + (HERE / "README.md").read_text().replace("\u2212", "-")
    for mean, low, high in (map(float, numbers) for numbers in quoted):
        gained = f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        lost = f"{-mean:+.1f} [{-high:+.1f}, {-low:+.1f}]"
        assert gained in tables or lost in tables, gained
