"""The notebook of the documents, run as it stands."""

import json
import re

import matplotlib
import pytest

from tests.conftest import REPOSITORY

CELLS = json.loads((REPOSITORY / "docs" / "quickstart.ipynb").read_text())["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_notebook_runs_and_halves_the_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names = {}
    for code in CODE:
        exec(code, names)
    study, smaller, loaded = names["study"], names["smaller"], names["loaded"]
    assert {row.block for row in study.rows} == {"block4", "block5"}
    assert smaller.macs_saved > 0.3
    assert smaller.accuracy > smaller.baseline_accuracy - 0.05
    assert names["right"].mean() == pytest.approx(smaller.accuracy)
    assert loaded.count_params() < names["model"].count_params() / 2
    assert (tmp_path / "runs" / "smaller" / "report.html").is_file()


def test_its_outputs_are_stored_and_name_no_machine():
    outputs = [output for cell in CELLS for output in cell.get("outputs", ())]
    said = "".join("".join(output.get("text", ())) for output in outputs)
    assert "Compressed: block4 and block5." in said
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not re.search(r"(^|\s)/(home|root|tmp|Users)/", said)
