"""The examples of library use in README.md and docs/, run as they stand."""

import re

import keras
import numpy as np
import pytest

import deep_net_triage as dnt
from tests.conftest import REPOSITORY
from tests.toys import toy_parent

GENERATOR = np.random.default_rng(0)


def split(count):
    return GENERATOR.integers(0, 256, (count, 8, 8, 2), np.uint8), np.arange(count) % 3


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the examples take for granted, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    names = {"model": toy_parent(), "train": split(64), "test": split(16)}
    for name in ("train", "test"):
        names[f"{name}_images"], names[f"{name}_labels"] = names[name]
    return names | {"validation": split(16)}


def example(page):
    text = (REPOSITORY / page).read_text()
    (code,) = (
        code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "dnt." in code
    )
    return code


def test_the_example_of_the_readme_runs(names, tmp_path):
    exec(example("README.md"), names)
    assert names["smaller"].model is None  # the toy has learned nothing that could be kept
    assert list(tmp_path.iterdir()) == []


def test_the_example_on_ones_own_model_runs(names, tmp_path, capsys):
    exec(example("docs/own-model.md"), names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["block1 b1_conv1 b1_relu2", "block2 b2_conv1 b2_relu3"]
    rows = [tuple(line.split()[:2]) for line in printed]
    for block in ("block1", "block2"):
        for method in ("cl_mw", "cm_mw"):
            assert (block, method) in rows
    assert isinstance(names["student"], keras.Model)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert (tmp_path / "runs" / "study" / "report.html").is_file()


def test_preprocessing_in_front_of_a_model_is_that_of_keras(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs/own-model.md").read_text()
    (code,) = (
        code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "flip" in code
    )
    model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=2)
    exec(code, {"keras": keras, "model": model})
    pixels = GENERATOR.integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    saved = keras.models.load_model("my_model.keras")
    expected = model(keras.applications.vgg16.preprocess_input(pixels.copy()))
    np.testing.assert_allclose(saved(pixels), expected, rtol=1e-5)
    assert [block.name for block in dnt.find_blocks(saved)] == [
        f"block{n}" for n in range(1, 6)
    ]


def test_the_readme_is_one_page():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150
