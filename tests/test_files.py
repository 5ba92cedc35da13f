import contextlib
import json
import os
import subprocess
import sys

import pytest

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.records import files, processes


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    file = tmp_path / "result.json"
    files.write_json(file, {"accuracy": 0.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(file, {"accuracy": float("nan")})
    with contextlib.suppress(RuntimeError), files.replacing(file) as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert files.read_json(file) == {"accuracy": 0.5}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_until_then_the_one_before_stands(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("before")
    with files.replacing(file) as unfinished:
        unfinished.write_text("after")
        assert file.read_text() == "before"
    assert file.read_text() == "after"


def test_a_folder_that_has_gone_is_not_made_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.write_json(tmp_path / "study" / "parent" / "result.json", {})
    assert not (tmp_path / "study").exists()
    files.write_json(tmp_path / "parent" / "result.json", {})


def test_json_reads_back_and_is_json_for_others(tmp_path):
    value = {"rate": 0.1 + 0.2, "none": None, "list": [1, "two"], "inner": {"b": 1, "a": 2}}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert json.loads((tmp_path / "a.json").read_text()).items() >= value.items()
    assert files.read_json(tmp_path / "absent.json") is None


def test_every_change_that_says_something_else_is_noticed(tmp_path):
    file = tmp_path / "result.json"
    value = {"accuracy": 0.9722222222222222, "reason": None, "row": {"seed": 0}}
    files.write_json(file, value)
    written = file.read_bytes()
    for position in range(len(written)):
        for changed in (
            written[:position],
            written[:position] + b"7" + written[position + 1 :],
            written[:position] + b"e" + written[position + 1 :],  # of a number, an infinite one
            written[:position] + bytes([written[position] ^ 0x80]) + written[position + 1 :],
        ):
            file.write_bytes(changed)
            try:
                assert files.read_json(file) == value  # white space, or a 7 that was one
            except InputError as error:
                assert str(file) in str(error)  # noqa: PT017, either is right


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"3", b'{"sha256": 1}', b"\xff", b"[" * 10**5]
)
def test_other_content_is_damage(content, tmp_path):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedFile, match=r"a\.json is damaged"):
        files.read_json(tmp_path / "a.json")


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    (tmp_path / "trial").mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = tmp_path / "trial" / f"{processes.prefix()}{ended.pid}-model.keras"
    living = files.unfinished_name(tmp_path / "trial" / "model.keras")
    elsewhere = tmp_path / f"unfinished-elsewhere-1-{ended.pid}-model.keras"
    for file in (dead, living, elsewhere):
        file.touch()
    files.remove_leftovers(tmp_path, nested=False)
    assert dead.exists()
    files.remove_leftovers(tmp_path)
    assert not dead.exists()
    assert living.exists()
    assert elsewhere.exists()
    assert str(os.getpid()) in living.name


def test_digest_is_that_of_sha256sum(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.digest(tmp_path / "a") == expected


def test_json_of_another_version_is_not_called_damaged(tmp_path):
    (tmp_path / "result.json").write_text('{"status": "finished"}')
    with pytest.raises(InputError, match="another version") as caught:
        files.read_json(tmp_path / "result.json")
    assert not isinstance(caught.value, DamagedFile)
