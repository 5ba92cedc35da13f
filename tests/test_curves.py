import json

import numpy as np
import pytest

from deep_net_triage.findings import curves, looks
from deep_net_triage.methods import METHODS
from deep_net_triage.records import files, results


def write_trial(study, method, block, seed, accuracies, status="finished"):
    folder = results.trial_folder(study, method, block, seed)
    folder.mkdir(parents=True)
    records = [{"phase": "distill", "epoch": 1, "val_accuracy": None}]
    records += [
        {"phase": "train", "epoch": n, "val_accuracy": accuracy}
        for n, accuracy in enumerate(accuracies, start=1)
    ]
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (folder / "epochs.jsonl").write_text(lines)
    result = {"status": status, "reason": None, "files": results.digests(folder)}
    if status == "finished":
        result["row"] = {"method": method, "block": block, "seed": seed}
    files.write_json(folder / "result.json", result)
    return folder


def test_curves_are_means_over_seeds_as_far_as_all_go(tmp_path):
    write_trial(tmp_path, "stn", "block1", 0, [0.5, 0.7, 0.9])
    write_trial(tmp_path, "stn", "block1", 1, [0.7, 0.8])
    write_trial(tmp_path, "cm_rw", "block2", 0, [0.1])
    read = curves.read(tmp_path)
    assert set(read) == {("block1", "stn"), ("block2", "cm_rw")}
    assert read["block1", "stn"] == pytest.approx([0.6, 0.75])
    assert read["block2", "cm_rw"] == [0.1]


def test_failed_removed_and_damaged_trials_are_gaps(tmp_path):
    write_trial(tmp_path, "stn", "block1", 0, [0.5], status="failed")
    (write_trial(tmp_path, "stn", "block2", 0, [0.5]) / "epochs.jsonl").unlink()
    damaged = write_trial(tmp_path, "stn", "block3", 0, [0.5]) / "epochs.jsonl"
    damaged.write_text(damaged.read_text().replace("0.5", "0.9"))
    assert curves.read(tmp_path) == {}


def test_a_panel_a_block_a_line_a_method_and_the_parent_dashed():
    read = {
        ("b", "stn"): [0.5, 0.9],
        ("a", "stn"): [0.8, 1.0],
        ("a", "cl_rw"): [0.1, 0.2],
    }
    panels = curves.learning(read, 0.95, ["b", "a", "c"]).axes
    assert [panel.get_title() for panel in panels] == ["b", "a", "c"]
    drawn = [
        {line.get_color(): np.round(line.get_ydata()).tolist() for line in panel.lines}
        for panel in panels
    ]
    parent = {looks.INK: [95, 95]}
    stn, cl_rw = METHODS["stn"].colour, METHODS["cl_rw"].colour
    assert drawn[0] == parent | {stn: [50, 90]}
    assert drawn[1] == parent | {stn: [80, 100], cl_rw: [10, 20]}
    assert drawn[2] == parent
    dashed = [line.get_color() for line in panels[0].lines if line.get_linestyle() == "--"]
    assert dashed == [looks.INK]


@pytest.mark.parametrize(("low", "high"), [(0.1, 1.0), (0.35, 0.45), (0.985, 1.0), (0.9, 0.9)])
def test_scale_holds_every_accuracy_and_has_marks(low, high):
    panel = curves.learning({("a", "stn"): [low, high]}, high, ["a"]).axes[0]
    bottom, top = panel.get_ylim()
    assert bottom < 100 * low <= 100 * high < top
    marks = [mark for mark in panel.get_yticks() if bottom <= mark <= top]
    assert len(marks) >= 3
    # The same error in points takes more room the nearer it is to none.
    transform = panel.transData.transform
    heights = [transform((1, accuracy))[1] for accuracy in (bottom, (bottom + top) / 2, top)]
    assert heights[2] - heights[1] > heights[1] - heights[0] > 0


def test_names_are_shown_as_they_are():
    name = r"$\block_{1$"
    figure = curves.learning({(name, "stn"): [0.5]}, 0.5, [name])
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == name
