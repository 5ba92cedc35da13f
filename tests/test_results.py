import json

import numpy as np
import pytest

from deep_net_triage.errors import DamagedFile, InputError
from deep_net_triage.findings import tables
from deep_net_triage.records import correctness, provenance, results, study_results
from deep_net_triage.records.provenance import Command, Description
from deep_net_triage.records.results import (
    Epoch,
    Failure,
    ParentResult,
    TrialResult,
)
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.records.summaries import Curve, summarize
from tests import handmade
from tests.handmade import row


def epoch(phase, number, **values):
    return Epoch(phase=phase, epoch=number, loss=1.0, seconds=1.0, **values)


def curve(*accuracies, held_out=None, distill=0):
    held_out = held_out or [None] * len(accuracies)
    return [epoch("distill", n, relative_error=0.5) for n in range(1, distill + 1)] + [
        epoch("train", n, val_accuracy=accuracy, held_out_accuracy=held)
        for n, (accuracy, held) in enumerate(zip(accuracies, held_out, strict=True), start=1)
    ]


@pytest.mark.parametrize(
    ("accuracies", "max_epoch", "epochs_to_99"),
    [
        ([0.5, 0.98, 1.0, 0.99], 3, 3),  # 0.98 is below 0.99, though 0.99 comes later
        ([0.5, 0.99, 1.0], 3, 2),  # exactly 99 %
        ([0.9405, 0.95], 2, 1),  # exactly 99 % where 0.99 x 0.95 is no round number
        ([0.8, 0.8, 0.8], 1, 1),  # the first of equals
        ([0.9], 1, 1),
        ([0.9, 0.2, 0.905], 3, 1),  # a dip in between does not matter
        ([0.0, 0.0], 1, 1),
    ],
)
def test_summary_of_a_curve(accuracies, max_epoch, epochs_to_99):
    for distill in (0, 4):
        assert summarize(
            curve(*accuracies, distill=distill), reports_last_epoch=False
        ) == Curve(
            max_accuracy=max(accuracies),
            max_epoch=max_epoch,
            epochs_to_99=epochs_to_99,
            final_accuracy=accuracies[-1],
            chosen_epoch=max_epoch,
            chosen_accuracy=max(accuracies),
        )


def test_the_last_epoch_is_chosen_where_training_settles():
    found = summarize(curve(0.5, 0.9, 0.7), reports_last_epoch=True)
    assert (found.chosen_epoch, found.chosen_accuracy) == (3, 0.7)
    assert (found.max_epoch, found.max_accuracy) == (2, 0.9)


def test_held_out_images_choose_the_epoch():
    summary = summarize(
        curve(0.5, 0.9, 0.7, held_out=(0.4, 0.6, 0.8), distill=1), reports_last_epoch=False
    )
    assert (summary.max_accuracy, summary.max_epoch) == (0.9, 2)
    assert (summary.chosen_accuracy, summary.chosen_epoch) == (0.7, 3)


def test_differences_name_what_changed():
    recorded = {"epochs": 5, "method": "stn", "gone": 1}
    wanted = {"epochs": 3, "method": "stn", "new": 2}
    assert results.differences(recorded, wanted) == [
        "epochs: 5, now 3",
        "gone: 1, now not set",
        "new: not set, now 2",
    ]
    assert results.differences(wanted, dict(wanted)) == []


def write_trial(study, one, epochs=(), correct=None, final_correct=None):
    folder = results.trial_folder(study, *one.trial)
    folder.mkdir(parents=True)
    lines = "".join(f"{json.dumps(each.as_json())}\n" for each in epochs)
    (folder / "epochs.jsonl").write_text(lines)
    if correct is not None:
        correctness.write(folder / results.CORRECT, correct)
    if final_correct is not None:
        correctness.write(folder / results.FINAL_CORRECT, final_correct)
    results.write_result(folder, TrialResult({}, one, results.digests(folder)))
    return folder


ROWS = (
    row("stn", "block2", 0.95, distilled_accuracy=0.25),
    row("stn", "block2", 0.85, seed=1, epochs_to_99=5),
    row("cl_rw", "block10", 0.8),
)
CORRECT = np.arange(10) < 9
DESCRIPTION = Description(
    dataset="toy",
    settings={"test_images": 10},
    classes=3,
    blocks=handmade.described("block1", "block2", "block10"),
    share_layers=True,
    uncounted=("norm",),
    commands=(Command("run_triage.py", 1.0, 2.0, {"keras": "3"}, {"cpu": "one"}),),
)


@pytest.fixture
def study(tmp_path):
    """A finished parent, three finished trials, the first with its images, and a failed one."""
    folder = tmp_path / "toy"
    (folder / "parent").mkdir(parents=True)
    correctness.write(folder / "parent" / results.CORRECT, ~CORRECT)
    parent = ParentResult(
        settings={"dataset": "toy", "test_images": 10},
        baseline_accuracy=0.9,
        max_epoch=2,
        final_accuracy=0.8,
        weights_sha256="0",
        parameters=1000,
        macs=400,
        seconds=1.0,
        files=results.digests(folder / "parent"),
    )
    results.write_result(folder / "parent", parent)
    write_trial(folder, ROWS[0], curve(0.5, 0.95), CORRECT, ~CORRECT)
    write_trial(folder, ROWS[1], curve(0.85))
    write_trial(folder, ROWS[2], curve(0.8))
    trial = {"method": "cm_rw", "block": "block2", "seed": 0}
    failed = results.trial_folder(folder, *trial.values())
    failed.mkdir()
    results.write_result(failed, Failure(trial, "the loss is not finite"))
    results.write_table(folder, ROWS)
    provenance.write(folder / "study.json", DESCRIPTION, print)
    return folder


def test_a_table_reads_back_as_it_was_written(study):
    lines = (study / "results.csv").read_text().splitlines()
    assert lines[0] == ",".join(results.COLUMNS)
    assert results.read_table(study) == list(ROWS)


def test_a_table_of_an_earlier_version_is_read(study):
    """Its last column is missing, and so are the images of the last epoch."""
    table = study / "results.csv"
    lines = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    assert lines[0].endswith(",batch_latency_spread")
    table.write_text("\n".join(lines) + "\n")
    (results.trial_folder(study, *ROWS[0].trial) / results.FINAL_CORRECT).unlink()
    read = study_results.read_study(study)
    assert [one.final_accuracy for one in read.rows] == [0.95, 0.85, 0.8]
    assert {one.final_drop for one in read.rows} == {None}
    assert (read.final_correct, len(read.correct)) == ({}, 1)


def test_the_images_of_the_last_epoch_are_among_the_digests(study):
    folder = results.trial_folder(study, *ROWS[0].trial)
    recorded = results.read_trial(folder).files
    assert sorted(recorded) == ["correct.npy", "epochs.jsonl", "final_correct.npy"]
    correctness.write(folder / results.FINAL_CORRECT, CORRECT)
    with pytest.raises(DamagedFile, match="final_correct.npy is damaged"):
        results.check_files(folder, recorded)


def test_a_study_is_read_with_its_curves_images_and_failures(study):
    read = study_results.read_study(study)
    assert (read.dataset, read.baseline_accuracy, read.test_images) == ("toy", 0.9, 10)
    assert (read.classes, read.uncounted) == (3, ("norm",))
    assert (read.blocks, read.commands) == (DESCRIPTION.blocks, DESCRIPTION.commands)
    assert read.all_blocks() == ["block1", "block2", "block10"]
    assert read.blocks_run() == ["block2", "block10"]
    assert read.rows == ROWS
    assert list(read.correct) == [("stn", "block2", 0)]
    assert read.correct["stn", "block2", 0].tolist() == CORRECT.tolist()
    assert list(read.final_correct) == [("stn", "block2", 0)]
    assert read.final_correct["stn", "block2", 0].tolist() == (~CORRECT).tolist()
    assert read.parent_correct.tolist() == (~CORRECT).tolist()
    assert read.share_layers
    assert read.failures == {"cm_rw-block2-seed0": "the loss is not finite"}
    assert read.epochs["stn", "block2", 0] == tuple(curve(0.5, 0.95))
    assert read.epochs.keys() == {one.trial for one in ROWS}


def test_a_curve_that_was_removed_or_damaged_is_left_out(study):
    first, second, _ = (results.trial_folder(study, *one.trial) for one in ROWS)
    (first / "epochs.jsonl").unlink()
    damaged = second / "epochs.jsonl"
    damaged.write_text(damaged.read_text().replace("0.85", "0.95"))
    assert study_results.read_study(study).epochs.keys() == {("cl_rw", "block10", 0)}


def test_images_that_were_damaged_are_left_out(study):
    """One file can't be read any more, and one can, but its content has changed."""
    folder = results.trial_folder(study, *ROWS[0].trial)
    (folder / results.CORRECT).write_bytes(b"torn")
    correctness.write(folder / results.FINAL_CORRECT, CORRECT)
    correctness.write(study / "parent" / results.CORRECT, CORRECT)
    read = study_results.read_study(study)
    assert (read.correct, read.final_correct, read.parent_correct) == ({}, {}, None)
    assert read.rows == ROWS


def test_a_folder_without_a_finished_parent_is_no_study(study):
    with pytest.raises(InputError, match="holds no finished parent"):
        study_results.read_study(study / "trials")
    results.write_result(study / "parent", Failure({}, "the loss is not finite"))
    with pytest.raises(InputError, match="holds no finished parent"):
        study_results.read_study(study)


def cells(text):
    """The cells of a terminal table, by the first cell of a line."""
    lines = [[cell.strip() for cell in line.split("  ")] for line in text.splitlines()]
    lines = [[cell for cell in line if cell] for line in lines]
    return {line[0]: line[1:] for line in lines if line}


def test_terminal_table_shows_means_over_seeds_and_gaps(study):
    text = tables.table(study_results.read_study(study))
    shown = cells(text)
    assert shown["CL-RW"] == ["STN"]
    # Two seeds of 95 % and 85 %, two and five epochs; the failed cm_rw has no column.
    assert shown["block2"] == ["-", "90.0 +0.0 3.5"]
    assert shown["block10"] == ["80.0 -10.0 2", "-"]
    assert text.startswith("toy: the parent reaches 90.0 %\n")
    assert "(maximum test accuracy in %, difference from the parent in points" in text


def test_terminal_table_shows_the_chosen_epoch_where_images_are_held_out():
    """Students and control whose best epoch on the test images is not the chosen one."""
    rows = (row("stn", "block1", 0.95, chosen_accuracy=0.8, final_accuracy=0.7),)
    controls = (row("control", "no-block", 0.97, chosen_accuracy=0.88),)
    settings = {"validation_fraction": 0.1}
    text = tables.table(StudyResults("toy", 0.9, rows, controls, settings=settings))
    assert cells(text)["maximum"] == ["95.0"]
    assert cells(text)["last epoch"] == ["70.0"]
    parents = "the parent reaches 90.0 %; trained further (control), 88.0 %"
    assert text.startswith(f"toy: {parents}\n")
    assert cells(text)["block1"] == ["80.0 -10.0 2"]
    assert "(test accuracy at the chosen epoch in %" in text


def test_terminal_table_shows_the_control_and_the_other_accuracy_below():
    rows = [row("stn", "block1", 0.9, seed=n, final_accuracy=0.8 + n / 10) for n in (0, 1)]
    rows += [row("cl_rw", "block1", 0.7, final_accuracy=0.6), row("stn", "block2", 0.6)]
    controls = (row("control", "no-block", 0.8), row("control", "no-block", 0.6, seed=1))
    images = np.arange(10)
    correct = {one.trial: images < 10 * one.chosen_accuracy for one in (*rows, *controls)}
    study = StudyResults("toy", 0.9, tuple(rows), controls, correct, parent_correct=images < 9)
    lines = [line.split() for line in tables.table(study).splitlines()]
    assert lines[2:] == [
        ["block1", "70.0", "-20.0", "2", "90.0", "+0.0", "2"],
        ["against", "control", "-10.0", "+20.0"],  # by seed 0; by both: +10 and +30
        ["last", "epoch", "60.0", "85.0"],
        ["block2", "-", "60.0", "-30.0", "2"],
        ["against", "control", "-20.0"],
        ["last", "epoch", "60.0"],
        *[lines[-1]],
    ]
    assert "below: difference from the control in points, last epoch in %)" in tables.table(
        study
    )


def test_terminal_table_shows_the_last_epoch_where_the_schedule_settles():
    rows = (row("stn", "block1", 0.95, chosen_accuracy=0.8, final_accuracy=0.8),)
    study = StudyResults("toy", 0.9, rows, settings={"schedule": "cosine"})
    shown = cells(tables.table(study))
    assert (shown["block1"], shown["maximum"]) == (["80.0 -10.0 2"], ["95.0"])
    assert "(test accuracy at the last epoch in %" in tables.table(study)


def test_terminal_table_keeps_the_networks_order():
    names = ("conv10:add", "conv2:relu", "a")
    rows = tuple(row("stn", name, 0.8) for name in sorted(names))
    study = StudyResults("toy", 0.9, rows, blocks=handmade.described(*names))
    shown = list(cells(tables.table(study)))
    assert [name for name in shown if name in names] == list(names)


def test_mean_of_what_there_is():
    assert study_results.mean([1, None, 3]) == 2
    assert study_results.mean([None]) is None
