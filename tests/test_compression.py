"""Several blocks of a parent that has learned, compressed one after another."""

import dataclasses

import keras
import pytest

from deep_net_triage.images import datasets
from deep_net_triage.records import models, study_results
from deep_net_triage.study import compression
from tests.studies import read, run, snapshot


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The file of a network of two blocks that has learned the digits."""
    digits = datasets.load("digits", image_size=8)
    keras.utils.set_random_seed(0)
    x = images = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 16)(x)
    for block in (1, 2):
        for number in (1, 2):
            name = f"b{block}_conv{number}"
            x = keras.layers.Conv2D(8 * block, 3, padding="same", name=name)(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    model = keras.Model(images, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    train, test = (
        [tensor.numpy() for tensor in (split.images, split.labels)]
        for split in (digits.train, digits.test)
    )
    model.fit(*train, batch_size=32, epochs=8, verbose=0)
    assert model.evaluate(*test, verbose=0)[1] > 0.9
    file = tmp_path_factory.mktemp("learned") / "parent.keras"
    model.save(file)
    return file


@pytest.fixture(scope="module")
def flags(learned):
    """Of a study of both blocks of which whatever is lost may be lost."""
    return (f"--parent={learned}", "--method=cl_mw", "--compress", "--max_drop=0.99")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, flags):
    folder = tmp_path_factory.mktemp("runs")
    assert run(folder, *flags, "--export=saved_model") == 0
    return folder


def test_blocks_are_compressed_one_after_another(folder):
    study = folder / "digits"
    result = read(study / "compressed" / "result.json")
    assert sorted(step["block"] for step in result["steps"]) == ["block1", "block2"]
    # Those that save most come first.
    rows = {row.block: row for row in study_results.read_study(study).rows}
    macs = [rows[step["block"]].macs for step in result["steps"]]
    assert macs == sorted(macs)
    assert all(step["kept"] for step in result["steps"])
    model = models.load(study / "compressed" / "model.keras")
    parent = models.load(study / "parent" / "model.keras")
    names = {layer.name for layer in model.layers}
    for number in (1, 2):
        assert f"block{number}_compressed_conv" in names
        assert f"b{number}_conv1" not in names
    saved = parent.count_params() - model.count_params()
    one_each = [rows[b].parent_parameters - rows[b].parameters for b in rows]
    assert saved == sum(one_each)
    assert result["parameters"] == model.count_params()
    assert (study / "compressed" / "saved_model" / "saved_model.pb").is_file()


def test_the_same_command_finds_it_done(folder, flags):
    before = snapshot(folder / "digits" / "compressed")
    assert run(folder, *flags) == 0
    after = snapshot(folder / "digits" / "compressed")
    for file in before:
        if file.name == "model.keras" and len(file.parts) > 1:
            assert before[file] == after[file]


def test_a_step_that_loses_too_much_is_undone(folder, flags, monkeypatch):
    """The first step keeps its accuracy, the second is said to lose all of it."""
    finished = compression._Compressed._finished

    def worse(self, trial, step):
        result = finished(self, trial, step)
        if result and self.steps:
            row = dataclasses.replace(result.row, chosen_accuracy=-1.0)
            return dataclasses.replace(result, row=row)
        return result

    monkeypatch.setattr(compression._Compressed, "_finished", worse)
    assert run(folder, *flags) == 0
    result = read(folder / "digits" / "compressed" / "result.json")
    assert [step["kept"] for step in result["steps"]] == [True, False]
    assert result["accuracy"] == result["steps"][0]["accuracy"]
    names = {
        layer.name for layer in models.load(folder / "digits/compressed/model.keras").layers
    }
    kept, undone = (step["block"] for step in result["steps"])
    assert f"{kept}_compressed_conv" in names
    assert f"b{undone[-1]}_conv1" in names


def test_nothing_is_saved_where_no_block_is_good_enough(flags, tmp_path, capsys):
    assert run(tmp_path, *flags, "--max_drop=0") == 0
    study = tmp_path / "digits"
    assert all(row.accuracy_drop > 0 for row in study_results.read_study(study).rows)
    assert read(study / "compressed" / "result.json")["steps"] == []
    assert not (study / "compressed" / "model.keras").exists()
    assert "compressing: no block stays within --max_drop" in capsys.readouterr().out


def test_a_parent_that_has_not_learned_is_not_compressed(tmp_path, capsys):
    flags = ("--method=cl_mw", "--block=5", "--compress", "--max_drop=0.99")
    assert run(tmp_path, *flags) == 0
    assert "compressing: The parent has not learned" in capsys.readouterr().out
    assert not (tmp_path / "digits" / "compressed" / "model.keras").exists()
