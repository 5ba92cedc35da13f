"""The README's example of library use, run as it stands."""

import re

import keras
import numpy as np

from tests.conftest import REPOSITORY
from tests.toys import toy_parent


def test_the_example_of_library_use_runs(tmp_path, monkeypatch, capsys):
    readme = (REPOSITORY / "README.md").read_text()
    (example,) = (
        code for code in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "dnt." in code
    )
    generator = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    names = {
        "model": toy_parent(),
        "train_images": generator.integers(0, 256, (64, 8, 8, 2), np.uint8),
        "train_labels": np.arange(64) % 3,
        "test_images": generator.integers(0, 256, (16, 8, 8, 2), np.uint8),
        "test_labels": np.arange(16) % 3,
        "validation_images": generator.integers(0, 256, (16, 8, 8, 2), np.uint8),
        "validation_labels": np.arange(16) % 3,
    }
    exec(example, names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["block1 b1_conv1 b1_relu2", "block2 b2_conv1 b2_relu3"]
    rows = [tuple(line.split()[:2]) for line in printed]
    for block in ("block1", "block2"):
        for method in ("cl_mw", "cm_mw"):
            assert (block, method) in rows
    assert isinstance(names["student"], keras.Model)
    assert names["smaller"].model is None  # the toy has learned nothing that could be kept
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert (tmp_path / "runs" / "study" / "report.html").is_file()
