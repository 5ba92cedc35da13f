"""What is shown of the committed studies is what their files say."""

import re
import subprocess
import sys

import pytest

from deep_net_triage.commands import settings
from deep_net_triage.records import files, results
from tests.conftest import REPOSITORY

HERE = REPOSITORY / "figures" / "study"
STUDIES = sorted(folder.parent for folder in HERE.glob("*/results.csv"))


def test_pictures_and_tables_are_made_again_by_one_command(tmp_path):
    command = [sys.executable, str(HERE / "remake.py"), f"--output={tmp_path}"]
    subprocess.run(command, check=True, cwd=tmp_path)
    for name in ("README.md", "figures/study/README.md", "docs/reproduction.md"):
        assert (tmp_path / name).read_text() == (REPOSITORY / name).read_text(), name
    for name in ("accuracy.png", "convergence.png"):
        made = tmp_path / "figures" / "study" / name
        assert made.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert (HERE / name).is_file()


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_a_study_is_whole_and_what_its_flags_say(folder):
    described = files.read_json(folder / "study.json")
    flags = HERE.parent.parent / "flags" / "study" / f"{folder.name}.flags"
    asked = settings.from_command_line([f"--flagfile={flags}"], REPOSITORY / "flags")
    for name in ("train_examples", "test_examples", "image_size", "width", "parent_epochs"):
        assert described["settings"][name] == getattr(asked, name), name
    for name in ("epochs", "distill_epochs", "learning_rate", "batch_size"):
        assert described["settings"][name] == getattr(asked, name), name
    study = results.read_study(folder)
    seeds = len(asked.seeds)
    assert len(study.rows) == len(asked.methods) * 5 * seeds
    assert len(study.controls) == seeds
    for kept in [folder / "parent", *(folder / "trials").iterdir()]:
        results.check_files(kept, results.read_result(kept))
    # The parent's curve is flat: no better test accuracy for five epochs.
    parent = results.read_result(folder / "parent")
    assert parent["max_epoch"] <= asked.parent_epochs - 5


@pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)
def test_the_table_is_that_of_the_results(folder):
    """An accuracy of the text, found by hand in results.csv."""
    text = (HERE / "README.md").read_text()
    section = text.split(f"## {folder.name}\n")[1].split("\n## ")[0]
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
