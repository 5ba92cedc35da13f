"""The committed examples of smaller networks are what today's code makes of their files."""

import csv
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPOSITORY

HERE = REPOSITORY / "figures" / "own_model"
EXAMPLES = ("resnet", "vgg16")
DECIMAL = re.compile(r"\d+\.\d+")


def test_pages_are_those_of_todays_code(tmp_path):
    command = [sys.executable, str(HERE / "remake.py"), f"--output={tmp_path}"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    for name in EXAMPLES:
        made, committed = ((folder / f"{name}.html").read_text() for folder in (tmp_path, HERE))
        assert DECIMAL.sub("", made) == DECIMAL.sub("", committed), "run remake.py"
        # Another processor may round the last digit of a picture's coordinates otherwise.
        numbers = [list(map(float, DECIMAL.findall(page))) for page in (made, committed)]
        np.testing.assert_allclose(*numbers, atol=0.02, err_msg="run remake.py")
        assert (HERE / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_the_page_says_of_the_compressed_network_is_in_its_files(name):
    """Worked out from the test images that each network classifies correctly."""
    page = (HERE / f"{name}.html").read_text().replace("\u00a0", " ").replace("\u2212", "-")
    found = json.loads((HERE / name / "compressed" / "result.json").read_text())
    parent = bits(HERE / name / "parent" / "correct.npy")
    finals = [
        bits(HERE / name / "compressed" / final["folder"] / "correct.npy")
        for final in found["finals"]
    ]
    change = 100 * (np.mean([final.mean() for final in finals]) - parent.mean())
    said = re.search(r"over 3 seeds of the final retraining the mean is (\S+) points", page)
    assert float(said[1]) == pytest.approx(change, abs=0.051)
    saved = re.search(r"The compressed network saves (\S+) % of the multiply-accumulates", page)
    share = 1 - found["macs"] / found["parent_macs"]
    assert float(saved[1]) == pytest.approx(100 * share, abs=0.051)


def bits(file):
    """Which of the 2,000 test images are classified correctly."""
    return np.unpackbits(np.load(file))[:2000].astype(bool)


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_file_names_a_machine_or_holds_weights(name):
    files = [file for file in (HERE / name).rglob("*") if file.is_file()]
    assert not {file.suffix for file in files} & {".keras", ".tflite", ".npz"}
    text = "".join(f.read_text() for f in files if f.suffix in (".json", ".jsonl", ".csv"))
    assert not re.search(r"[\"'= ]/\w", text)
    with (HERE / name / "results.csv").open() as table:
        assert {row["method"] for row in csv.DictReader(table)} == {"stn_kd"}
