import numpy as np
import pytest
from matplotlib.text import Annotation

from deep_net_triage.findings import savings, verdict
from deep_net_triage.records.study_results import StudyResults
from tests.handmade import row


def lost(method, block, drop, macs, **others):
    return row(method, block, 0.9 - drop, macs=macs, parent_macs=100, **others)


def draw(study):
    figure = savings.draw(study, verdict.reach(study, 0.03).ranking)
    figure.draw_without_rendering()
    return figure.axes


def markers(panel):
    return {
        (round(line.get_xdata()[0], 6), round(line.get_ydata()[0], 6))
        for line in panel.lines
        if line.get_linestyle() == "None"
    }


def corners(panel):
    """The corners of the Pareto front's line, without the end on the panel's lower edge."""
    (front,) = [line for line in panel.lines if line.get_linestyle() == "--"]
    return [tuple(map(float, corner)) for corner in np.round(front.get_xydata(), 6)[:-1]]


def names(panel):
    return {
        text.get_text(): text
        for text in panel.texts
        if isinstance(text, Annotation) and text.get_text()
    }


def test_front():
    points = [(10, 0), (20, -1), (15, -2), (30, -5), (20, -3), (5, 0), (10, 0)]
    assert savings.front(points) == [(10, 0), (20, -1), (30, -5)]
    assert savings.front([]) == []


def test_a_point_is_a_block_by_its_best_method_in_a_panel_for_each_saving():
    """By hand: at block1 STN loses 1 point, at block2 0.5, the mean of a gain and a loss."""
    rows = (
        lost("cl_rw", "block1", 0.02, 80, latency=1.0, parent_latency=2.0),
        lost("stn", "block1", 0.01, 80, parameters=800, latency=1.5, parent_latency=2.0),
        lost("cl_rw", "block2", 0.05, 50),
        lost("stn", "block2", -0.01, 50),
        lost("stn", "block2", 0.02, 50, seed=1),
    )
    panels = draw(StudyResults("toy", 0.9, rows))
    assert [panel.get_xlabel() for panel in panels] == [
        "multiply-accumulates saved (%)",
        "parameters saved (%)",
        "latency saved, one image (%)",
    ]
    assert markers(panels[0]) == {(20, -1), (50, -0.5)}
    assert markers(panels[1]) == {(20, -1), (10, -0.5)}
    assert markers(panels[2]) == {(25, -1)}


def test_a_latency_that_differs_by_no_more_than_it_varies_is_left_out():
    """By hand: block1 saves 0.5 s of which either network varies by 0.6, block2 saves 1 s."""
    rows = tuple(
        lost(
            "stn",
            block,
            0.01,
            macs,
            latency=2.0 - saved,
            parent_latency=2.0,
            latency_spread=0.1,
            parent_latency_spread=0.6,
        )
        for block, macs, saved in (("block1", 80, 0.5), ("block2", 60, 1.0))
    )
    panels = draw(StudyResults("toy", 0.9, rows))
    assert len(markers(panels[0])) == 2
    assert markers(panels[2]) == {(50, -1)}


def test_the_front_is_a_staircase_by_hand():
    """Saving 20, 50, 60 and 40 % costs 1, 2, 5 and 3 points: block4 is beaten by block2."""
    rows = [
        lost("stn", name, drop, macs)
        for name, drop, macs in (
            ("block1", 0.01, 80),
            ("block2", 0.02, 50),
            ("block3", 0.05, 40),
            ("block4", 0.03, 60),
        )
    ]
    panel = draw(StudyResults("toy", 0.9, tuple(rows)))[0]
    (left, first), *stairs = corners(panel)
    assert left <= panel.get_xlim()[0] + 1e-6
    assert first == -1
    stairs = list(dict.fromkeys(stairs))
    assert stairs[1:] == [(20, -1), (20, -2), (50, -2), (50, -5), (60, -5)]
    weights = {name: text.get_weight() for name, text in names(panel).items()}
    assert weights.pop("block4") == "normal"
    assert set(weights.values()) == {"bold"}


def with_images(*rows):
    """A study of 200 test images, of which the parent gets 180 right."""
    images = np.arange(200)
    correct = {one.trial: images < round(200 * one.chosen_accuracy) for one in rows}
    return StudyResults("toy", 0.9, rows, correct=correct, parent_correct=images < 180)


def test_the_interval_is_drawn_as_the_verdict_says_it():
    study = with_images(lost("stn", "block1", 0.02, 80))
    (block,) = verdict.reach(study, 0.03).ranking
    estimate = block.best.cost.estimate
    panel = draw(study)[0]
    ends = [100 * estimate.low, 100 * estimate.high]
    drawn = [list(line.get_ydata()) for line in panel.lines if len(line.get_xdata()) == 2]
    assert ends in drawn
    bottom, top = panel.get_ylim()
    assert bottom < 100 * estimate.low
    assert top > 100 * estimate.high


def test_a_block_far_below_the_others_stands_at_their_lower_end_with_its_number():
    rows = [
        lost("stn", f"block{number}", drop, macs)
        for number, drop, macs in ((1, 0.005, 80), (2, 0.01, 70), (3, 0.8, 60))
    ]
    (panel, *_) = draw(StudyResults("toy", 0.9, tuple(rows)))
    assert markers(panel) == {(20, -0.5), (30, -1.0), (40, -1.0)}
    assert panel.get_ylim()[0] > -2
    assert {"block1", "block2", "block3 \u2193 \u221280.0"} == set(names(panel))


def test_points_that_save_equally_much_stand_side_by_side():
    rows = [lost("stn", f"block{n}", 0.01 * n, 80) for n in (1, 2, 3)]
    panel = draw(with_images(*rows))[0]
    drawn = sorted(
        line.get_transform().transform((20, 0))[0]
        for line in panel.lines
        if line.get_linestyle() == "None"
    )
    assert (np.diff(drawn) > 8).all()  # pixels
    best = [line for line in panel.lines if line.get_ydata()[0] == pytest.approx(-1)]
    place = panel.transData.transform((20, 0))[0]
    assert best[-1].get_transform().transform((20, 0))[0] == pytest.approx(place)


def test_names_cover_neither_each_other_nor_the_points():
    saved = (22, 22, 11, 11, 6, 7)
    rows = [
        lost("stn", f"block{n}", 0.004 * n, 100 - own) for n, own in enumerate(saved, start=1)
    ]
    panel = draw(with_images(*rows))[0]
    texts = names(panel)
    assert sorted(texts) == [f"block{n}" for n in range(1, 7)]
    boxes = [text.get_window_extent() for text in texts.values()]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert panel.bbox.x0 <= box.x0
        assert box.x1 <= panel.bbox.x1
    for line in panel.lines:
        if line.get_linestyle() == "None":
            point = line.get_transform().transform(line.get_xydata()[0])
            assert not any(box.contains(*point) for box in boxes)


def test_layers_that_are_not_counted_are_named_below_their_panel():
    rows = (lost("stn", "block1", 0.01, 80),)
    panels = draw(StudyResults("toy", 0.9, rows, uncounted=("norm", "$attention")))
    labels = [panel.get_xlabel() for panel in panels]
    assert labels == [
        "multiply-accumulates saved (%)\nnot counted: layer norm, layer $attention",
        "parameters saved (%)",
    ]
