"""The page of a study that runs: from the first finished trial to the end."""

import dataclasses
import errno
import random
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.errors import TrainingFailed
from deep_net_triage.findings import presentation
from deep_net_triage.findings.unfinished import Unfinished, patience
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.records import files, locks, results
from deep_net_triage.records.locks import Lock
from deep_net_triage.study import growing_page
from tests.studies import run, snapshot
from tests.test_report import make_study, read, section, text, write_report

WRITTEN = 1_700_000_000.0
HALF_WAY = Unfinished(12, 0, ("block2 cm_rw seed 0",), ("block3 stn seed 0",), WRITTEN)
METHODS = "--method=cl_rw,cl_mw,stn"


def state(page):
    """The words on where the study stands; None on the page of a study that has ended."""
    (found,) = [one for one in page.iter("div") if one.get("id") == "state"] or [None]
    return found and " ".join(text(found).split())


def watch(monkeypatch, study, pages, at=None, ending=None):
    """Collects the page as each trial begins; `ending` is raised by trial number `at`."""
    original = Retraining.run

    def begins(self, *rest):
        file = study / "report.html"
        pages.append(read(file) if file.exists() else None)
        if len(pages) == at:
            raise ending
        return original(self, *rest)

    monkeypatch.setattr(Retraining, "run", begins)


def test_the_page_comes_with_the_first_trial_grows_outlives_an_end_by_force_and_ends(
    tmp_path, monkeypatch
):
    pages, study = [], tmp_path / "digits"
    with monkeypatch.context() as patched:
        watch(patched, study, pages, at=3, ending=KeyboardInterrupt())
        assert run(tmp_path, METHODS, "--block=5") == 130
    first, second, third = pages
    assert first is None
    assert "1 of 3 trials are finished. Running: block5 cl_mw seed 0." in state(second)
    assert "Still to run: block5 stn seed 0." in state(second)
    assert "The study had not ended when this page was written, at 20" in state(second)
    assert "2 of 3 trials are finished. Running: block5 stn seed 0." in state(third)
    assert "Left" not in state(third)
    left_behind = read(study / "report.html")
    assert state(left_behind) == state(third)
    assert run(tmp_path, METHODS, "--block=5") == 0
    ended = read(study / "report.html")
    assert state(ended) is None
    for page, lines, reloads in ((second, 4, True), (left_behind, 5, True), (ended, 6, False)):
        assert len(section(page, "trials").findall(".//tr")) == lines
        assert ("location.reload()" in text(page.find(".//script"))) == reloads


def test_failed_trials_are_counted_as_such(tmp_path, monkeypatch):
    pages, study = [], tmp_path / "digits"
    watch(monkeypatch, study, pages, at=1, ending=TrainingFailed("the loss is nan"))
    assert run(tmp_path, METHODS, "--block=5") == 1
    assert "0 of 3 trials are finished; 1 failed. Running:" in state(pages[1])
    assert "1 of 3 trials are finished; 1 failed. Running:" in state(pages[2])


def test_a_page_that_cannot_be_drawn_is_said_and_ends_nothing(tmp_path, monkeypatch, capsys):
    def no_ink(*_):
        raise ValueError("no ink")

    monkeypatch.setattr(presentation, "present_unfinished", no_ink)
    assert run(tmp_path, "--method=cl_rw,cl_mw", "--block=5") == 0
    assert "report.html was not written: ValueError: no ink" in capsys.readouterr().out
    study = tmp_path / "digits"
    assert state(read(study / "report.html")) is None
    assert (study / "results.csv").read_text().count("\n") == 3


class Toy:
    """A ledger of some trials; those in `finished` and `failed` have ended."""

    def __init__(self, folder, finished=(), failed=()):
        self.folder = folder
        self._finished, self._ended = finished, {*finished, *failed}
        self.identity = SimpleNamespace(settings=SimpleNamespace(max_drop=0.02))

    def folder_of(self, trial):
        return self.folder / trial

    def unfinished(self, trials):
        return [trial for trial in trials if trial not in self._finished]

    def pending(self, trials):
        return [trial for trial in trials if trial not in self._ended]


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A folder with a table, whose study is made up."""
    (tmp_path / "results.csv").touch()
    study = make_study(tmp_path)
    monkeypatch.setattr(growing_page.study_results, "read_study", lambda folder: study)
    return tmp_path


def test_trials_run_whose_lock_is_held_by_whatever_process(shown):
    seen = []
    ledger = Toy(shown, finished=("a",), failed=("b",))
    with Lock(results.lock_file(shown / "c")), Lock(results.lock_file(shown / "e")):
        growing_page.grow("abcde", ledger, print, lambda *told: seen.append(told))
    ((study, standing, max_drop),) = seen
    assert (study.dataset, max_drop) == ("toy", 0.02)
    assert (standing.finished, standing.failed) == (1, 1)
    assert (standing.running, standing.left) == (("c", "e"), ("d",))


def test_the_page_is_written_under_the_lock_of_the_table(shown):
    held = []

    def present(*_):
        held.append(locks.holder(shown / "study.lock"))

    growing_page.grow("ab", Toy(shown, "a"), print, present)
    assert held[0] is not None
    assert locks.holder(shown / "study.lock") is None


def test_nothing_else_in_the_folder_changes_and_a_page_that_breaks_off_leaves_the_last(
    shown, monkeypatch
):
    said = []
    write_report(make_study(shown))
    before = snapshot(shown)
    original = files._reach_the_disk

    def full(path):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(files, "_reach_the_disk", full)
    growing_page.grow("ab", Toy(shown, "a"), said.append, presentation.present_unfinished)
    assert len(said) == 1
    assert "report.html was not written: OSError: [Errno 28] no space left" in said[0]
    assert snapshot(shown) == before
    monkeypatch.setattr(files, "_reach_the_disk", original)
    growing_page.grow("ab", Toy(shown, "a"), said.append, presentation.present_unfinished)
    changed = {name for name, content in snapshot(shown).items() if content != before[name]}
    assert {str(name) for name in changed} == {"report.html"}
    assert len(said) == 1


def test_drawing_leaves_what_is_drawn_at_random_alone(tmp_path):
    long = make_study(tmp_path)
    rows = tuple(dataclasses.replace(row, seconds=1000.0) for row in long.rows)
    long = dataclasses.replace(long, rows=rows)

    def draws(between):
        keras.utils.set_random_seed(1)
        tf.random.get_global_generator().reset_from_seed(1)
        between()
        return [
            np.random.rand(),
            random.random(),
            float(tf.random.uniform([])),
            float(tf.random.get_global_generator().uniform([])),
            float(keras.random.uniform([])),
        ]

    expected = draws(lambda: None)
    assert draws(lambda: presentation.present_unfinished(long, HALF_WAY, 0.02)) == expected
    assert "figures" in [
        one.get("id") for one in read(tmp_path / "report.html").iter("section")
    ]


@pytest.mark.parametrize(("seconds", "drawn"), [(99.0, False), (101.0, True)])
def test_figures_are_drawn_on_the_way_only_where_trials_are_long(tmp_path, seconds, drawn):
    study = make_study(tmp_path)
    rows = tuple(dataclasses.replace(row, seconds=seconds) for row in study.rows)
    presentation.present_unfinished(dataclasses.replace(study, rows=rows), HALF_WAY, 0.02)
    page = read(tmp_path / "report.html")
    assert ("figures" in [one.get("id") for one in page.iter("section")]) == drawn
    assert section(page, "map") is not None
    assert text(section(page, "verdict").find("h2")) == "Verdict so far"


def test_the_page_says_where_the_study_stands(tmp_path):
    study = make_study(tmp_path)
    presentation.present_unfinished(study, HALF_WAY, 0.02)
    page = read(tmp_path / "report.html")
    assert "12 of 14 trials are finished. Running: block2 cm_rw seed 0." in state(page)
    assert "written, at 2023-11-14 22:13:20 UTC." in state(page)
    (bar,) = page.iter("progress")
    assert (bar.get("value"), bar.get("max")) == ("12", "14")
    (box,) = (one for one in page.iter("div") if one.get("id") == "state")
    assert float(box.get("data-written")) == WRITTEN
    assert float(box.get("data-patience")) == patience(study, None)


def test_many_trials_are_counted_not_listed():
    left = tuple(f"trial{n}" for n in range(30))
    said = Unfinished(0, 2, (), left, WRITTEN).sentences()
    assert said == [
        "0 of 32 trials are finished; 2 failed.",
        "Still to run: trial0, trial1, trial2, trial3, trial4, trial5 and 24 more.",
    ]
    assert Unfinished(1, 0, (), (), WRITTEN).sentences() == [
        "1 of 1 trial is finished.",
        "All trials have ended; the study's last files are being written.",
    ]
    compressing = Unfinished(1, 0, (), (), WRITTEN, "compressing block1 stn seed 0")
    assert compressing.sentences()[-1] == (
        "All trials have ended. Running: compressing block1 stn seed 0."
    )


def test_patience_is_an_hour_or_four_of_the_longest_trial(tmp_path):
    study = make_study(tmp_path)
    assert patience(study, None) == 3600
    longest = dataclasses.replace(study.rows[0], seconds=5000.0)
    assert patience(dataclasses.replace(study, rows=(longest, *study.rows[1:])), None) == 20_000
    later = Unfinished(1, 0, (), (), WRITTEN, "alternative narrower, seed 0")
    assert patience(study, later) == 12 * 3600


def test_a_study_that_has_ended_gives_the_same_page_whatever_was_written_before(tmp_path):
    study = make_study(tmp_path)
    ended = write_report(study).read_bytes()
    presentation.present_unfinished(study, HALF_WAY, 0.02)
    assert (tmp_path / "report.html").read_bytes() != ended
    assert write_report(study).read_bytes() == ended
