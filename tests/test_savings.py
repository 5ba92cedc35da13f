import pytest

from deep_net_triage.findings import savings
from deep_net_triage.records.study_results import StudyResults
from tests.handmade import row


def lost(method, block, drop, macs, **others):
    return row(method, block, 0.9 - drop, macs=macs, parent_macs=100, **others)


def test_front():
    points = [(10, 0), (20, -1), (15, -2), (30, -5), (20, -3), (5, 0), (10, 0)]
    assert savings.front(points) == [(10, 0), (20, -1), (30, -5)]
    assert savings.front([]) == []


def test_a_panel_for_each_saving_that_was_measured():
    rows = (
        lost("cl_rw", "block1", 0.02, 80, latency=1.0, parent_latency=2.0),
        lost("stn", "block1", 0.01, 80, latency=None, parent_latency=None),
        lost("cl_rw", "block2", 0.05, 50),
        lost("stn", "block2", -0.01, 50),
        lost("stn", "block2", -0.03, 50),
    )
    panels = savings.draw(StudyResults("toy", 0.9, rows)).axes
    assert [panel.get_xlabel() for panel in panels] == [
        "multiply-accumulates saved (%)",
        "parameters saved (%)",
        "latency saved, one image (%)",
    ]
    points = {
        (round(x), round(y, 6))
        for line in panels[0].lines
        if line.get_linestyle() == "None"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }
    assert points == {(20, -2), (20, -1), (50, -5), (50, 2)}
    (front,) = [line for line in panels[0].lines if line.get_linestyle() == "--"]
    assert [*front.get_xdata(), *front.get_ydata()] == pytest.approx([50, 2])
    assert [text.get_text() for text in panels[0].texts] == ["block2"]
    assert len([line for line in panels[2].lines if line.get_linestyle() == "None"]) == 1


def test_layers_that_are_not_counted_are_named_below_their_panel():
    rows = (lost("stn", "block1", 0.01, 80),)
    panels = savings.draw(StudyResults("toy", 0.9, rows, uncounted=("norm", "$attention"))).axes
    labels = [panel.get_xlabel() for panel in panels]
    assert labels == [
        "multiply-accumulates saved (%)\nnot counted: layer norm, layer\n$attention",
        "parameters saved (%)",
    ]
