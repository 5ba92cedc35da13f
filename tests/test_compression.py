import dataclasses

import pytest

from deep_net_triage.records import models, study_results
from deep_net_triage.study import compression
from tests.studies import read, run, snapshot


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A study of two blocks of which whatever is lost may be lost."""
    folder = tmp_path_factory.mktemp("runs")
    code = run(
        folder,
        "--method=cl_mw",
        "--block=4,5",
        "--compress",
        "--max_drop=0.99",
        "--export=saved_model",
    )
    assert code == 0
    return folder


def test_blocks_are_compressed_one_after_another(folder):
    study = folder / "digits"
    result = read(study / "compressed" / "result.json")
    assert sorted(step["block"] for step in result["steps"]) == ["block4", "block5"]
    # Those that save most come first.
    rows = {row.block: row for row in study_results.read_study(study).rows}
    macs = [rows[step["block"]]["macs"] for step in result["steps"]]
    assert macs == sorted(macs)
    assert all(step["kept"] for step in result["steps"])
    model = models.load(study / "compressed" / "model.keras")
    parent = models.load(study / "parent" / "model.keras")
    names = {layer.name for layer in model.layers}
    for block in ("block4", "block5"):
        assert f"{block}_compressed_conv" in names
        assert f"{block}_conv1" not in names
    assert "block3_conv1" in names
    saved = parent.count_params() - model.count_params()
    one_each = [rows[b].parent_parameters - rows[b].parameters for b in rows]
    assert saved == sum(one_each)
    assert result["parameters"] == model.count_params()
    assert (study / "compressed" / "saved_model" / "saved_model.pb").is_file()


def test_the_same_command_finds_it_done(folder):
    before = snapshot(folder / "digits" / "compressed")
    assert run(folder, "--method=cl_mw", "--block=4,5", "--compress", "--max_drop=0.99") == 0
    after = snapshot(folder / "digits" / "compressed")
    for file in before:
        if file.name == "model.keras" and len(file.parts) > 1:
            assert before[file] == after[file]


def test_a_step_that_loses_too_much_is_undone(folder, monkeypatch):
    """The first step keeps its accuracy, the second is said to lose all of it."""
    finished = compression._Compressed._finished

    def worse(self, trial, step):
        result = finished(self, trial, step)
        if result and self.steps:
            row = dataclasses.replace(result.row, chosen_accuracy=-1.0)
            return dataclasses.replace(result, row=row)
        return result

    monkeypatch.setattr(compression._Compressed, "_finished", worse)
    assert run(folder, "--method=cl_mw", "--block=4,5", "--compress", "--max_drop=0.99") == 0
    result = read(folder / "digits" / "compressed" / "result.json")
    assert [step["kept"] for step in result["steps"]] == [True, False]
    assert result["accuracy"] == result["steps"][0]["accuracy"]
    names = {
        layer.name for layer in models.load(folder / "digits/compressed/model.keras").layers
    }
    kept, undone = (step["block"] for step in result["steps"])
    assert f"{kept}_compressed_conv" in names
    assert f"{undone}_conv1" in names


def test_nothing_is_saved_where_no_block_is_good_enough(folder, capsys):
    arguments = ("--method=cl_mw", "--block=5", "--compress", "--max_drop=0", "--epochs=1")
    other = folder / "other"
    run(other, *arguments)
    result = read(other / "digits" / "compressed" / "result.json")
    row = study_results.read_study(other / "digits").rows[0]
    assert (other / "digits" / "compressed" / "model.keras").exists() == any(
        step["kept"] for step in result["steps"]
    )
    assert bool(result["steps"]) == (row.accuracy_drop <= 0)
    capsys.readouterr()
