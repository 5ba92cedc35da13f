"""What is shown of the committed studies is what their files say."""

import csv
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from deep_net_triage.commands import command_line
from deep_net_triage.findings import looks
from deep_net_triage.records import files, results
from deep_net_triage.records.study_results import read_study
from tests.conftest import REPOSITORY

HERE = REPOSITORY / "figures" / "study"
sys.path.insert(1, str(HERE))
import collect  # noqa: E402

DECIDED = HERE / "decisions" / "as_decided"
MADE = ("figures/study/README.md", "docs/paper.md", "docs/reproduction.md")
STUDIES = sorted(folder.parent for folder in HERE.glob("*/results.csv"))


def check_files(study):
    """Makes sure that every file of a parent and its trials is as it was written."""
    for folder in [study / "parent", *(study / "trials").iterdir()]:
        results.check_files(folder, files.read_json(folder / "result.json")["files"])


def test_pictures_and_tables_are_made_again_by_one_command(tmp_path):
    command = [sys.executable, str(HERE / "remake.py"), f"--output={tmp_path}"]
    subprocess.run(command, check=True, cwd=tmp_path)
    for name in MADE:
        assert (tmp_path / name).read_text() == (REPOSITORY / name).read_text(), name
    for name in ("accuracy.png", "convergence.png"):
        made = tmp_path / "figures" / "study" / name
        assert made.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert (HERE / name).is_file()


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_study_is_whole_and_what_its_flags_say(folder):
    recorded = settings_of(folder)
    flags = HERE.parent.parent / "flags" / "study" / f"{folder.name}.flags"
    typed = command_line.parse([f"--flagfile={flags}"], REPOSITORY / "flags")
    for name in ("train_examples", "test_examples", "image_size", "width", "parent_epochs"):
        assert recorded[name] == getattr(typed, name), name
    for name in ("epochs", "distill_epochs", "learning_rate", "batch_size"):
        assert recorded[name] == getattr(typed, name), name
    study = read_study(folder)
    seeds = len(typed.seeds)
    assert len(study.rows) == len(typed.methods) * 5 * seeds
    assert len(study.controls) == seeds
    check_files(folder)
    # The parent's curve is flat: no better test accuracy for five epochs.
    parent = results.read_parent(folder / "parent")
    assert parent.max_epoch <= typed.parent_epochs - 5


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_the_table_is_that_of_the_results(folder):
    """An accuracy of the text, worked out by hand from results.csv."""
    text = (HERE / "README.md").read_text().replace("\u2212", "-")
    section = text.split(f"## {looks.title(folder.name)}\n")[1].split("\n## ")[0]
    (line,) = re.findall(r"^\| block3 \| (.*) \|$", section, re.MULTILINE)
    shown = [float(cell.split("<br>")[0]) for cell in line.split(" | ")]
    lines = [row.split(",") for row in (folder / "results.csv").read_text().splitlines()]
    where = {name: column for column, name in enumerate(lines[0])}
    for method, value in zip(("cl_rw", "cm_rw"), shown, strict=False):
        found = [
            100 * float(row[where["max_accuracy"]])
            for row in lines[1:]
            if (row[where["method"]], row[where["block"]]) == (method, "block3")
        ]
        assert value == round(sum(found) / len(found), 1)


def settings_of(folder):
    return files.read_json(folder / "study.json")["settings"]


def test_one_decision_is_changed_at_a_time():
    """What the runs were, by their own account; a given parent is the first one's."""
    of_parent = ("width", "dropout", "parent_weights", "parent_epochs", "parent")
    decided = settings_of(DECIDED)
    for folder in sorted(set(DECIDED.parent.iterdir()) - {DECIDED}):
        changed = settings_of(folder)
        given = "parent" in changed
        if given:
            parents = [
                files.read_json(one / "parent" / "result.json") for one in (DECIDED, folder)
            ]
            assert parents[0]["weights_sha256"] == parents[1]["weights_sha256"]
        different = {
            name
            for name in decided.keys() | changed.keys()
            if decided.get(name) != changed.get(name) and not (given and name in of_parent)
        }
        # SGD can't learn at Adam's rate; replicas are no setting, they only round otherwise.
        expected = {"sgd": {"optimizer", "learning_rate"}, "rounded": set()}.get(folder.name)
        assert different == expected if expected is not None else len(different) == 1, folder
        check_files(folder)


def test_a_row_of_the_decisions_is_that_of_their_results():
    """Student-teacher training with 1 epoch of distillation, by hand from results.csv."""
    text = (REPOSITORY / "docs" / "reproduction.md").read_text().replace("\u2212", "-")
    (row,) = re.findall(
        r"^\| 5 epochs of distillation \| 1 \| STN \| the same \| (.*) \|$", text, re.M
    )
    accuracies, change, _, epochs = row.split(" | ")
    found = []
    for folder in (DECIDED, DECIDED.parent / "distill_1"):
        with (folder / "results.csv").open() as file:
            rows = [line for line in csv.DictReader(file) if line["method"] == "stn"]
        assert [line["seed"] for line in rows] == ["0", "1", "2"]
        found.append(
            [
                np.mean([float(line[name]) for line in rows])
                for name in ("max_accuracy", "epochs_to_99")
            ]
        )
    (before, slow), (after, fast) = found
    assert accuracies == f"{100 * before:.1f} → {100 * after:.1f}"
    assert float(change.split(" [")[0]) == pytest.approx(100 * (after - before), abs=0.051)
    assert epochs == f"{slow:.1f} → {fast:.1f}"


def test_how_far_accuracy_moves_an_epoch():
    """By NumPy from the parent of CIFAR-10: its epochs 21 to 40 have 19 steps."""
    text = (REPOSITORY / "docs" / "reproduction.md").read_text().replace("\u2212", "-")
    (row,) = re.findall(r"^\| CIFAR-10 \| 0\.6 \| (.*) \|$", text, re.M)
    curve = [epoch.val_accuracy for epoch in results.read_epochs(HERE / "cifar10" / "parent")]
    assert len(curve) == 40
    expected = 100 * np.abs(np.diff(curve[20:])).mean()
    assert float(row.split(" | ")[-1]) == pytest.approx(expected, abs=0.051)


def test_odd_results_were_looked_into_on_the_studies_own_parents():
    runs = {"block1_longer": "cifar10", "slowly": "cifar10", "block3_seeds": "cifar100"}
    for name, study in runs.items():
        folders = [HERE / "odd" / name, HERE / study]
        parents = [files.read_json(one / "parent" / "result.json") for one in folders]
        assert parents[0]["weights_sha256"] == parents[1]["weights_sha256"]
        check_files(folders[0])


def test_what_is_kept_is_not_given_up_for_a_study_that_is_not_there(tmp_path):
    before = sorted(HERE.rglob("*.json*"))
    for study in (tmp_path / "mnist", HERE / "mnist"):
        command = [sys.executable, str(HERE / "collect.py"), f"--study={study}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ended.returncode == 2
        assert f"{study} is no study that a command left" in ended.stderr
    assert sorted(HERE.rglob("*.json*")) == before


def test_a_copy_has_what_is_needed_and_no_paths(tmp_path):
    study = tmp_path / "study"
    shutil.copytree(HERE / "settling_results" / "digits" / "settled_parent0", study)
    same, other = (study / "trials" / f"stn-block{n}-seed0" for n in (1, 2))
    shutil.copyfile(same / "correct.npy", same / "final_correct.npy")
    (other / "final_correct.npy").write_bytes(b"of another epoch")
    (study / "trials" / "stn-block1-seed0" / "model.keras").touch()
    description = files.read_json(study / "study.json")
    words = (
        "run_triage.py --flagfile=/home/me/here/flags/study/folds.flags --output_dir=/home/me"
    )
    description["commands"][0]["command"] = words
    files.write_json(study / "study.json", description)
    copy = collect.keep(study, tmp_path / "copy")
    left_out = {same / "final_correct.npy", same / "model.keras"}
    copied = {file.relative_to(copy) for file in copy.rglob("*") if file.is_file()}
    assert copied == {
        file.relative_to(study)
        for file in study.rglob("*")
        if file.is_file() and file not in left_out
    }
    command = files.read_json(copy / "study.json")["commands"][0]["command"]
    assert command == "run_triage.py --flagfile=flags/study/folds.flags"


def test_a_copy_that_is_interrupted_is_none(tmp_path, monkeypatch):
    """What has a `results.csv` counts as a fold that is done."""
    copy_file, copied = shutil.copyfile, []

    def full_disk(source, target):
        if len(copied) == 3:
            raise OSError("no space left on device")
        copied.append(copy_file(source, target))

    study, target = HERE / "settling_results" / "digits" / "settled_parent0", tmp_path / "copy"
    monkeypatch.setattr(shutil, "copyfile", full_disk)
    with pytest.raises(OSError, match="no space"):
        collect.keep(study, target)
    assert copied
    assert not target.exists()
    monkeypatch.undo()
    other = tmp_path / "unfinished" / "other"  # the copy of another process
    other.mkdir()
    collect.keep(study, target)
    assert (target / "results.csv").exists()
    other.rmdir()
    collect.keep(study, target)
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_that_is_kept_names_a_place_on_a_machine():
    kept = [
        file for folder in (HERE, HERE.parent / "folds") for file in folder.rglob("*.json*")
    ]
    assert len({file.suffix for file in kept}) == 2
    for file in kept:
        assert not re.search(r'"/|=/', file.read_text()), file


def test_what_the_settled_recipe_does_by_hand():
    """From the epochs of the trials that train the whole model, and from results.csv."""
    folder = HERE / "settling_results" / "cifar10"
    check_files(folder)
    text = (REPOSITORY / "docs" / "reproduction.md").read_text().replace("\u2212", "-")

    def shown(what):
        (row,) = re.findall(rf"^\| {re.escape(what)}[^|]* \| [^|]* \| (.*) \|$", text, re.M)
        return float(row.split(" [")[0])

    curves = []
    for trial in folder.glob("trials/*"):
        if trial.name.split("-")[0] in ("cm_rw", "cm_mw", "stn_cm"):
            epochs = [epoch for epoch in results.read_epochs(trial) if epoch.phase == "train"]
            curves.append([100 * epoch.val_accuracy for epoch in epochs])
    curves = np.array(curves)
    assert curves.shape == (3 * 5 * 3, 8)
    late = np.abs(curves[:, -1] - curves[:, -2]).mean()
    assert shown("whole model: change in the last epoch") == pytest.approx(late, abs=0.0051)
    best = (curves.max(axis=1) - curves[:, -1]).mean()
    assert shown("whole model: best minus last") == pytest.approx(best, abs=0.0051)
    with (folder / "results.csv").open() as file:
        rows = [line for line in csv.DictReader(file) if line["method"] == "control"]
    change = [float(row["final_accuracy"]) - float(row["baseline_accuracy"]) for row in rows]
    assert len(change) == 3
    assert shown("control minus parent") == pytest.approx(100 * np.mean(change), abs=0.051)


def test_the_lowest_cell_of_the_digits_by_hand():
    text = (REPOSITORY / "docs" / "reproduction.md").read_text().replace("\u2212", "-")
    folders = list((HERE / "settling_results" / "digits").glob("settled_parent*"))
    assert len(folders) == 3
    for folder in folders:
        check_files(folder)
        with (folder / "results.csv").open() as file:
            cells = [row for row in csv.DictReader(file) if row["method"] != "control"]
        assert len(cells) == 30
        lowest = min(float(row["final_accuracy"]) for row in cells)
        seed = folder.name.removeprefix("settled_parent")
        assert re.search(
            rf"^\| settled \| {seed} \| [\d.]+ \| {100 * lowest:.1f} \|", text, re.M
        )
