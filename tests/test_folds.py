import dataclasses
import json

import numpy as np
import pytest

from deep_net_triage import __main__ as program
from deep_net_triage.commands import command_line
from deep_net_triage.errors import InputError
from deep_net_triage.images import dataset_checks, datasets, folds
from deep_net_triage.images.splits import Dataset, Split


def numbered(train, test, classes=3):
    """A data set whose pixels are each image's number, with classes in turn."""

    def split(first, size):
        numbers = np.arange(first, first + size)
        images = np.broadcast_to(numbers[:, None, None, None], (size, 2, 2, 1))
        return Split(images.astype(np.uint8), numbers % classes)

    names = tuple("abcdefgh"[:classes])
    return Dataset("numbered", split(0, train), split(train, test), names)


def numbers(split):
    return split.images.numpy()[:, 0, 0, 0].tolist()


def test_every_image_is_tested_once_and_never_beside_itself():
    whole = numbered(42, 18)
    parts = [folds.fold(whole, number, 5) for number in range(5)]
    assert sorted(n for part in parts for n in numbers(part.test)) == list(range(60))
    for part in parts:
        assert sorted(numbers(part.train) + numbers(part.test)) == list(range(60))
        assert np.bincount(part.test.labels).tolist() == [4, 4, 4]
        # The labels went where their images went.
        for split in (part.train, part.test):
            assert split.labels.numpy().tolist() == [n % 3 for n in numbers(split)]
    # Mixed: no fold is a run of neighbours, and each has images of both official splits.
    assert all({n < 42 for n in numbers(part.test)} == {True, False} for part in parts)


def test_a_fold_is_the_same_whenever_it_is_made():
    first, again = (folds.fold(numbered(42, 18), 2, 5) for _ in range(2))
    assert numbers(first.test) == numbers(again.test)
    assert numbers(first.train) == numbers(again.train)


def test_fewer_images_are_balanced():
    part = folds.fold(numbered(42, 18), 0, 5, train_examples=9, test_examples=6)
    assert np.bincount(part.train.labels).tolist() == [3, 3, 3]
    assert np.bincount(part.test.labels).tolist() == [2, 2, 2]


def test_held_out_images_stay_out():
    held = numbered(6, 3).train
    whole = dataclasses.replace(numbered(42, 18), validation=held)
    assert folds.fold(whole, 0, 5).validation is held


def test_more_folds_than_a_class_has_images_are_refused():
    # Of three classes in turn, 7 images leave 3, 2 and 2.
    with pytest.raises(InputError, match="--fold=0/3: class b of numbered has 2 images"):
        folds.fold(numbered(4, 3), 0, 3)
    # A class that no image has does not count.
    few = dataclasses.replace(numbered(42, 18), class_names=("a", "b", "c", "d"))
    assert len(folds.fold(few, 0, 5).test) == 12


@pytest.mark.parametrize("flag", ["train_examples", "test_examples"])
def test_more_images_than_the_folds_have_are_refused(flag):
    with pytest.raises(InputError, match=f"--{flag}=49 asks for more than there are"):
        folds.fold(numbered(42, 18), 0, 5, **{flag: 49})


@pytest.mark.parametrize("text", ["1/1", "0/0", "3/3", "-1/3", "1", "a/b", "1/2/3", "1.5/3"])
def test_what_is_no_fold_is_refused(text):
    with pytest.raises(InputError, match=r"--fold=.*must be i/n, with n from 2"):
        command_line.parse([f"--fold={text}"])


def photograph(seed):
    """Smooth random pixels, as of a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3))
    return coarse.repeat(4, axis=0).repeat(4, axis=1).astype(np.uint8)


def test_near_duplicates_by_hand():
    train = np.stack([photograph(seed) for seed in range(600)])
    brighter = np.clip(train[3].astype(int) + 9, 0, 255)
    halfway = (train[4].astype(int) + photograph(700)) // 2  # correlation about 0.7
    blank = np.full((32, 32, 3), 128)
    # Two pale images are alike in colour, and in nothing else.
    train[5], pale = 200 + train[5] // 8, 200 + photograph(900) // 8
    test = np.stack([photograph(800), train[599], brighter, halfway, blank, pale])
    label = np.zeros(600, int)
    dataset = Dataset("photographs", Split(train, label), Split(test, label[:6]), ("a",))
    assert dataset_checks.near_duplicates(dataset) == 2


def test_near_duplicates_against_correlation_by_numpy():
    """Without resizing: thumbnails of 16 x 16 images are the images."""
    draw = np.random.default_rng(0)
    train = draw.normal(size=(20, 16, 16, 1)).astype(np.float32)
    noise = draw.normal(size=(20, 16, 16, 1)).astype(np.float32)
    test = train + np.linspace(0.1, 0.4, 20, dtype=np.float32)[:, None, None, None] * noise
    labels = np.zeros(20, int)
    dataset = Dataset("noisy", Split(train, labels), Split(test, labels), ("a",))
    correlations = np.corrcoef(test.reshape(20, -1), train.reshape(20, -1))[:20, 20:]
    expected = int(np.sum(correlations.max(axis=1) > 0.97))
    assert 0 < expected < 20
    assert dataset_checks.near_duplicates(dataset) == expected


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_name_no_class_are_refused_before_they_are_divided(
    label, tmp_path, monkeypatch, capsys
):
    whole = numbered(42, 18)
    labels = whole.train.labels.numpy()
    labels[4] = label
    odd = dataclasses.replace(whole, train=Split(whole.train.images, labels))
    monkeypatch.setattr(datasets, "load", lambda *_, **__: odd)
    flags = [
        "--dataset=digits",
        "--fold=0/3",
        f"--output_dir={tmp_path}",
        "--parallel_trials=1",
    ]
    assert program.main(flags) == 2
    assert "1 labels of the split train are out of range" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_study_of_a_fold_says_so(tmp_path, capsys):
    few = ("--train_examples=40", "--test_examples=20", "--batch_size=8", "--epochs=1")
    small = ("--width=0.1", "--image_size=32", "--recipe=paper", "--parent_epochs=1")
    flags = (*few, *small, "--method=cl_rw", "--block=5", "--nocontrol", "--precision=float32")

    def run(*more):
        return program.main([*flags, f"--output_dir={tmp_path}", "--parallel_trials=1", *more])

    assert run("--fold=1/3") == 0
    assert "of 20 test images of this fold are nearly equal" in capsys.readouterr().out
    described = json.loads((tmp_path / "digits" / "study.json").read_text())
    assert described["settings"]["fold"] == "1/3"
    whole = folds.fold(datasets.load("digits", image_size=32), 1, 3, 40, 20)
    assert described["near_duplicates"] == dataset_checks.near_duplicates(whole)
    # Another fold in the same folder would mix test images.
    assert run("--fold=2/3") == 2
    assert "fold" in capsys.readouterr().err
