import numpy as np
import pytest

from deep_net_triage.findings import curves, looks
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import Epoch
from deep_net_triage.records.study_results import StudyResults


def epochs(*accuracies):
    distilling = Epoch(phase="distill", epoch=1, loss=1.0, seconds=1.0)
    return distilling, *(
        Epoch(phase="train", epoch=n, loss=1.0, val_accuracy=accuracy, seconds=1.0)
        for n, accuracy in enumerate(accuracies, start=1)
    )


def test_curves_are_means_over_seeds_as_far_as_all_go():
    recorded = {
        ("stn", "block1", 0): epochs(0.5, 0.7, 0.9),
        ("stn", "block1", 1): epochs(0.7, 0.8),
        ("cm_rw", "block2", 0): epochs(0.1),
        ("control", "no-block", 0): epochs(0.9),
    }
    means = curves.means(StudyResults("toy", 0.9, epochs=recorded))
    assert set(means) == {("block1", "stn"), ("block2", "cm_rw")}
    assert means["block1", "stn"] == pytest.approx([0.6, 0.75])
    assert means["block2", "cm_rw"] == [0.1]


def test_each_block_has_a_panel_and_each_method_a_line_beside_the_dashed_parent():
    means = {
        ("b", "stn"): [0.5, 0.9],
        ("a", "stn"): [0.8, 1.0],
        ("a", "cl_rw"): [0.1, 0.2],
    }
    panels = curves.learning(means, 0.95, ["b", "a", "c"]).axes
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
    # A difference in points takes more room the nearer it is to 100 %.
    transform = panel.transData.transform
    heights = [transform((1, accuracy))[1] for accuracy in (bottom, (bottom + top) / 2, top)]
    assert heights[2] - heights[1] > heights[1] - heights[0] > 0


def test_names_are_shown_as_they_are():
    name = r"$\block_{1$"
    figure = curves.learning({(name, "stn"): [0.5]}, 0.5, [name])
    figure.draw_without_rendering()
    assert figure.axes[0].get_title() == name
