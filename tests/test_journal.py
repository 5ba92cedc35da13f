import errno
import json
import random

import numpy as np
import pytest

from deep_net_triage.errors import InputError, LockLost
from deep_net_triage.records import checkpoints, files
from deep_net_triage.records.journal import Journal
from deep_net_triage.records.results import Epoch, Failure
from tests.toys import Watcher

SETTINGS = {"method": "stn", "epochs": 3}


def ended(number, phase="train"):
    accuracy = number / 7
    return Epoch(phase=phase, epoch=number, loss=1.0, val_accuracy=accuracy, seconds=0.5)


def arrays(number):
    return {"weight_0": np.full((3, 2), number, np.float32), "optimizer_0": np.int64(number)}


def opened(folder, settings=SETTINGS, **more):
    """A journal, what it said, and what it showed."""
    said, shown = [], []
    watch = Watcher(shown.append)
    return Journal(folder, settings, watch, said.append, **more), said, shown


@pytest.fixture
def folder(tmp_path):
    """A training that was killed after two epochs."""
    journal, _, shown = opened(tmp_path / "trial")
    journal.facts["initial_accuracy"] = 0.25
    journal.end_epoch(ended(1, "distill"), arrays(1))
    journal.end_epoch(ended(1), arrays(2))
    assert shown == [ended(1, "distill"), ended(1)]
    return tmp_path / "trial"


def lines(folder):
    return [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]


def assert_goes_on(folder, epochs=2, says=""):
    journal, said, shown = opened(folder)
    assert journal.epochs == [ended(1, "distill"), ended(1)][:epochs]
    assert journal.facts["initial_accuracy"] == 0.25
    assert lines(folder) == [epoch.as_json() for epoch in journal.epochs]
    assert shown == []
    assert says in " ".join(said)
    assert bool(said) == bool(says)
    return journal


def test_it_goes_on_where_it_was(folder):
    journal = assert_goes_on(folder)
    assert journal.of_phase("distill") == [ended(1, "distill")]
    assert journal.of_phase("train") == [ended(1)]
    assert journal.resumed("distill") is None  # that phase is over
    np.testing.assert_array_equal(journal.resumed("train")["weight_0"], np.full((3, 2), 2))
    assert journal.resumed("train")["optimizer_0"] == 2
    journal.end_epoch(ended(2), arrays(3))
    assert journal.resumed("train") is None
    three = [ended(1, "distill"), ended(1), ended(2)]
    assert lines(folder) == [epoch.as_json() for epoch in three]
    journal.finish(Failure({}, "loss is nan"))
    assert sorted(file.name for file in folder.iterdir()) == ["epochs.jsonl", "result.json"]


def test_seconds_add_up(folder):
    first = json.loads(bytes(np.load(folder / "checkpoint-2.npz")["description"]))
    journal, _, _ = opened(folder)
    assert journal.seconds >= first["facts"]["seconds"] > 0


def test_two_checkpoints_are_kept(folder):
    journal, _, _ = opened(folder)
    journal.end_epoch(ended(2), arrays(3))
    names = {file.name for file in folder.iterdir()}
    assert names == {"epochs.jsonl", "checkpoint-2.npz", "checkpoint-3.npz"}


def test_killed_between_line_and_checkpoint(folder):
    files.append_line(folder / "epochs.jsonl", json.dumps(ended(2).as_json()))
    assert_goes_on(folder)


def test_killed_inside_a_line(folder):
    with (folder / "epochs.jsonl").open("a") as file:
        file.write(json.dumps(ended(2).as_json())[:20])
    assert_goes_on(folder, says="dropping the last line, which is incomplete")


@pytest.mark.parametrize(
    "content", ["", '{"phase": "train", "epoch": 1, "val_accuracy": 1.0}\n']
)
def test_damaged_lines_are_written_again(content, folder):
    (folder / "epochs.jsonl").write_text(content)
    assert_goes_on(folder, says="epochs.jsonl is damaged; rewriting it")


def test_missing_lines_are_written_again(folder):
    (folder / "epochs.jsonl").unlink()
    assert_goes_on(folder, says="is damaged")


def test_other_settings_are_named_and_start_afresh_where_that_is_asked_for(folder):
    other = {**SETTINGS, "epochs": 4}
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    expected = r"an interrupted training with other settings .*epochs: 3, now 4.*--overwrite"
    with pytest.raises(InputError, match=expected):
        opened(folder, other)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    journal, said, _ = opened(folder, other, overwrite=True)
    assert (journal.epochs, journal.facts, said) == ([], {}, [])
    assert list(folder.iterdir()) == []


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_then_to_the_start(folder):
    file = folder / "checkpoint-2.npz"
    file.write_bytes(file.read_bytes()[:-7])
    assert_goes_on(folder, epochs=1, says="checkpoint-2.npz is damaged")
    assert not file.exists()
    (folder / "checkpoint-1.npz").write_bytes(b"")
    journal, said, _ = opened(folder)
    assert journal.epochs == []
    assert "checkpoint-1.npz is damaged" in said[0]
    assert list(folder.iterdir()) == []


def test_a_checkpoint_that_lacks_an_array_is_damaged(folder):
    """Its other contents are whole, and so are their sums."""
    file = folder / "checkpoint-2.npz"
    with np.load(file) as archive:
        kept = {name: archive[name] for name in archive if name != "weight_0"}
    assert len(kept) > 1
    np.savez(file, **kept)
    assert_goes_on(folder, epochs=1, says="checkpoint-2.npz is damaged")


@pytest.mark.parametrize("seed", range(5))
def test_no_change_to_a_checkpoint_goes_unnoticed(seed, folder):
    file = folder / "checkpoint-2.npz"
    written, before = file.read_bytes(), (folder / "checkpoint-1.npz").read_bytes()
    generator = random.Random(seed)
    for _ in range(60):
        changed = bytearray(written)
        for _ in range(generator.choice((1, 20))):
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
        file.write_bytes(changed)
        (folder / "checkpoint-1.npz").write_bytes(before)
        found = checkpoints.newest(folder, lambda text: None)
        # Or what was changed says nothing, such as the time of day in an archive.
        number = len(found.records)
        expected = arrays(number)
        assert found.arrays.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found.arrays[name], value)
        two = [ended(1, "distill"), ended(1)]
        assert found.records == [epoch.as_json() for epoch in two[:number]]


def test_what_the_disk_refuses_is_no_damage(folder, monkeypatch):
    def refuses(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(checkpoints.zipfile, "ZipFile", refuses)
    with pytest.raises(OSError, match="Input/output"):
        opened(folder)
    assert (folder / "checkpoint-2.npz").exists()


def test_nothing_is_unpickled(tmp_path):
    class Surprise:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    (tmp_path / "trial").mkdir()
    array = np.array([Surprise()], dtype=object)
    np.savez(tmp_path / "trial" / "checkpoint-1.npz", description=array)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        checkpoints.newest(tmp_path / "trial", print)
    assert not (tmp_path / "ran").exists()


def test_nothing_is_written_after_another_took_over(folder):
    def lost():
        raise LockLost

    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    journal, _, _ = opened(folder, check_lock=lost)
    with pytest.raises(LockLost):
        journal.end_epoch(ended(2), arrays(3))
    with pytest.raises(LockLost):
        journal.finish(Failure({}, "loss is nan"))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
