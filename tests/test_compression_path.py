"""The figure of a compression, read back from what was drawn."""

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Annotation

from deep_net_triage.findings import compression_path, looks
from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.records.alternatives import KINDS
from deep_net_triage.records.compressions import Step
from tests.compressions import compressed, compression, estimate, rival, smaller, undone


def panels(found):
    figure = compression_path.draw(found)
    figure.draw_without_rendering()
    return figure.axes


def path(panel):
    (line,) = [one for one in panel.lines if len(one.get_xdata()) > 2]
    return np.round(line.get_xydata(), 6)


def markers(panel, marker, filled=None):
    return [
        tuple(map(float, np.round(line.get_xydata()[0], 6)))
        for line in panel.lines
        if line.get_marker() == marker
        and (filled is None or (line.get_markerfacecolor() != "white") == filled)
    ]


def intervals(panel):
    """The vertical lines of a panel: where they stand and their ends."""
    return [
        (round(float(line.get_xdata()[0]), 6), [round(float(y), 6) for y in line.get_ydata()])
        for line in panel.lines
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]
    ]


def names(panel):
    return [text for text in panel.texts if isinstance(text, Annotation) and text.get_text()]


def test_the_path_leads_from_the_parent_over_the_kept_steps_to_the_compressed_network():
    """By hand: steps leave 800 and 600 of 1000; the end is 1.1 points below the parent's 90."""
    (panel,) = panels(smaller())
    drawn = path(panel)
    assert [tuple(map(float, at)) for at in drawn] == [(0, 90), (20, 89.3), (40, 88.4)]
    assert markers(panel, "*") == [(40, 88.9)]  # above the last step, which has the same size
    # The final retraining, dashed, and the interval of what it led to.
    assert intervals(panel) == [(40, [88.4, 88.9]), (40, [88.2, 89.6])]
    assert markers(panel, "o", filled=False) == [(50, 87.1)]
    assert {text.get_text() for text in names(panel)} == {"block2", "block3", "block4_last"}
    parent, lowest = panel.lines[:2]
    assert (parent.get_ydata()[0], parent.get_color()) == (90, looks.BASELINE)
    assert (lowest.get_ydata()[0], lowest.get_linestyle()) == (88, ":")  # 2 points may be lost


def test_where_the_final_retraining_gained_nothing_the_path_ends_with_the_last_step():
    finals = tuple(
        dataclasses.replace(final, judged_accuracy=0.8) for final in compression().finals
    )
    network = compressed(from_parent=estimate(-1.6, -2.0, -1.2))
    (panel,) = panels(smaller(network=network, of=compression(finals=finals)))
    assert [tuple(map(float, at)) for at in path(panel)] == [(0, 90), (20, 89.3), (40, 88.4)]
    assert markers(panel, "*") == [(40, 88.4)]
    assert (40, 88.9) in markers(panel, "o", filled=False)
    assert "final retraining" in [text.get_text() for text in names(panel)]
    entries = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert "final retraining" not in entries


def test_the_caption_says_which_images_decided_only_if_they_are_not_those_shown():
    found = smaller()
    assert "Validation images" in compression_path.picture(found).note
    by_test = dataclasses.replace(found.compression, held_out=0)
    found = dataclasses.replace(found, compression=by_test)
    assert "Validation" not in compression_path.picture(found).note


def test_alternatives_stand_side_by_side_above_what_they_save():
    rivals = [rival(kind, -n, -n - 0.5, -n + 0.5, macs=600 - n) for n, kind in enumerate(KINDS)]
    left, right = panels(smaller(*rivals))
    assert [label.get_text() for label in right.get_xticklabels()] == ["40"] * 5
    expected = [(n, [87.4 + 1 - n, 88.4 + 1 - n]) for n in range(5)]
    assert intervals(right)[:2] == [
        (place, pytest.approx(ends)) for place, ends in expected[:2]
    ]
    shapes = [compression_path._MARKS[kind][0] for kind in KINDS]
    assert len(set(shapes)) == 5
    for place, shape in enumerate(shapes):
        assert [x for x, _ in markers(right, shape)] == [place]
    assert left.get_ylim() == right.get_ylim()
    entries = [text.get_text() for text in left.figure.legends[0].get_texts()]
    assert set(entries) > {kind.title for kind in KINDS.values()}


def test_what_is_far_below_stands_at_the_edge_with_its_accuracy():
    steps = (*compression().steps, Step("block5", "stn", False, 0.3, 0.31, 200, 400))
    found = smaller(rival("narrow", -40.0, -42.0, -38.0), of=compression(steps=steps))
    left, right = panels(found)
    bottom, top = left.get_ylim()
    assert 80 < bottom < 88
    assert top < 92
    assert (60, pytest.approx(bottom)) in markers(left, "o", filled=False)
    assert "block5 ↓ 31.0" in [text.get_text() for text in names(left)]
    assert markers(right, "^") == [(0, pytest.approx(bottom))]
    assert [text.get_text() for text in names(right)] == ["← 48.9"]
    assert intervals(right) == []


def test_what_an_alternative_saves_does_not_widen_the_panel_of_the_path():
    alone, _ = panels(smaller(rival("narrow", -0.5, -1.0, 0.0)))
    beside_more, _ = panels(smaller(rival("narrow", -0.5, -1.0, 0.0, macs=5)))
    assert beside_more.get_xlim() == alone.get_xlim()


def test_without_steps_there_is_no_figure_and_without_kept_ones_no_path():
    failed = dataclasses.replace(undone(), steps=(Step("block2", "stn"),))
    assert compression_path.draw(Smaller(failed)) is None
    assert compression_path.draw(Smaller(dataclasses.replace(undone(), steps=()))) is None
    (panel,) = panels(Smaller(undone()))
    assert sorted(markers(panel, "o", filled=False)) == [(20, 89.3), (40, 88.4), (50, 87.1)]
    assert markers(panel, "*") == []


def test_names_cover_neither_each_other_nor_points_nor_intervals():
    kept = [
        Step(f"block{n}_first", "stn", True, 0.9, 0.9 - 0.002 * n, 300, 1000 - 70 * n)
        for n in range(1, 8)
    ]
    lost = [Step(f"block{n}", "stn", False, 0.8, 0.88, 300, 560 - 20 * n) for n in range(8, 12)]
    found = smaller(
        of=compression(steps=(*kept, *lost), macs=510), network=compressed(macs=510)
    )
    (panel,) = panels(found)
    boxes = [text.get_window_extent() for text in names(panel)]
    assert len(boxes) == 11
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])
        assert panel.bbox.x0 <= box.x0
        assert box.x1 <= panel.bbox.x1
    for line in panel.lines:
        for end in line.get_transform().transform(line.get_xydata()):
            assert not any(box.contains(*end) for box in boxes)
