import itertools
import math

import matplotlib.image
import numpy as np
import pytest

from deep_net_triage.findings import looks, plots
from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import StudyResults
from tests import handmade


def row(method, block, accuracy, epochs=2, seed=0, **cells):
    cells |= {"epochs_to_99": epochs, "seed": seed}
    return handmade.row(method, f"block{block}", accuracy, **cells)


@pytest.fixture
def study():
    rows = (row("cl_rw", 1, 0.8, 1), row("cl_rw", 2, 0.7, 4), row("stn", 2, 0.9, 3))
    return StudyResults("toy", 0.85, rows)


def markers(panel):
    """(x, y) of every marker, by its shape."""
    by_shape = {}
    for line in panel.lines:
        if line.get_marker() not in ("None", None, ""):
            by_shape.setdefault(line.get_marker(), []).append(
                (line.get_xdata()[0], line.get_ydata()[0])
            )
    return by_shape


def test_accuracy_shows_what_is_there_and_gaps(study):
    (panel,) = plots.accuracy([study]).axes
    drawn = markers(panel)
    shapes = {name: METHODS[name].marker for name in ("cl_rw", "stn")}
    assert set(drawn) == set(shapes.values())
    assert [y for _, y in drawn[shapes["cl_rw"]]] == pytest.approx([80, 70])
    # STN has no trial at block 1: one marker, over the second block.
    ((x, y),) = drawn[shapes["stn"]]
    assert round(x) == 1
    assert y == pytest.approx(90)
    yellow = [line for line in panel.lines if line.get_color() == looks.BASELINE]
    assert [line.get_ydata()[0] for line in yellow] == pytest.approx([85])
    assert [label.get_text() for label in panel.get_xticklabels()] == ["Block 1", "Block 2"]
    assert panel.get_ylabel() == "maximum test accuracy (%)"


def test_with_held_out_images_students_and_parent_are_shown_at_their_chosen_epochs():
    """A student whose best epoch on the test images, 95 %, is not the one that was chosen."""
    settings = {"validation_fraction": 0.1}
    rows = (row("stn", 1, 0.95, chosen_accuracy=0.8),)
    chosen = StudyResults("toy", 0.85, rows, settings=settings)
    other = StudyResults("other", 0.85, (row("stn", 1, 0.9),))
    panel, _ = plots.accuracy([chosen, other]).axes
    ((_, y),) = markers(panel)[METHODS["stn"].marker]
    assert y == pytest.approx(80)
    assert panel.get_ylabel() == "test accuracy at the chosen epoch (%)"


def test_blocks_stand_in_the_networks_order():
    """Names of the form `first:last` sort by length otherwise."""
    names = ("conv10:add", "conv2:relu", "a")
    rows = tuple(handmade.row("stn", name, 0.8) for name in sorted(names))
    study = StudyResults("toy", 0.85, rows, blocks=handmade.described(*names))
    (panel,) = plots.accuracy([study]).axes
    assert [label.get_text() for label in panel.get_xticklabels()] == list(names)


def test_a_line_is_the_interval_of_the_difference_from_the_parent(study):
    """By hand: of 98 images, and two that the interval adds, 9 are the student's alone.

    As many are the parent's alone: the variance is (2 x 9 + 2) / 99 / 100, and t is 1.9842.
    """
    images = np.arange(98)
    correct = {("cl_rw", "block2", 0): (images < 40) | (images >= 89)}
    study = StudyResults("toy", 0.5, study.rows, correct=correct, parent_correct=images < 49)
    (panel,) = plots.accuracy([study]).axes
    ((_, y),) = [at for at in markers(panel)["o"] if at[0] > 0.5]
    assert y == pytest.approx(70)
    half = 100 * 1.9842 * math.sqrt((2 * 9 + 2) / 99 / 100)
    assert [ends for _, ends in lines(panel)] == [
        pytest.approx([50 - half, 50 + half], rel=1e-4)
    ]


def lines(panel):
    """(x, (y, y)) of every upright line without a marker."""
    return [
        (line.get_xdata()[0], list(line.get_ydata()))
        for line in panel.lines
        if line.get_marker() in ("None", "")
        and len(line.get_xdata()) == 2
        and line.get_xdata()[0] == line.get_xdata()[1]
        and line.get_color() != looks.GRID
    ]


def test_no_interval_and_no_panel_goes_beyond_100_percent():
    images = np.arange(400)
    correct = {("stn", "block1", 0): images < 398}
    rows = (row("stn", 1, 0.995),)
    study = StudyResults("toy", 0.98, rows, correct=correct, parent_correct=images < 392)
    (panel,) = plots.accuracy([study]).axes
    ((_, (_, high)),) = lines(panel)
    assert high == 100
    assert panel.get_ylim()[1] <= 100


def test_a_marker_far_below_all_others_stands_at_the_edge_with_its_number(study):
    """Lost are 0, 1 and 2 points, the median 1: more than ten is far, ten is not."""
    near = [row("cl_rw", 1, 0.84), row("cl_rw", 2, 0.85), row("stn", 1, 0.83)]
    for accuracy, far in ((0.76, False), (0.74, True)):
        rows = (*near, row("stn", 2, accuracy), row("stn", 3, 0.84))
        study = StudyResults("toy", 0.85, rows)
        (panel,) = plots.accuracy([study]).axes
        numbers = [text.get_text() for text in panel.texts]
        assert numbers == (["↓ 74.0"] if far else [])
        bottom, _ = panel.get_ylim()
        assert (bottom > 80) == far
        lowest = min(y for _, y in markers(panel)[METHODS["stn"].marker])
        assert lowest == pytest.approx(bottom if far else 76)


@pytest.mark.parametrize("panels", [1, 2, 3, 4])
def test_the_legend_fits_the_figure(panels):
    images = np.arange(360)
    rows = tuple(row(method, 1, 0.8) for method in METHODS)
    correct = {(method, "block1", 0): images < 170 for method in METHODS}
    fields = {"correct": correct, "parent_correct": images < 180, "settings": {"epochs": 2}}
    study = StudyResults("toy", 0.5, rows, **fields)
    for draw, entries in ((plots.accuracy, len(METHODS) + 2), (plots.convergence, 4)):
        figure = draw([study] * panels)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        assert len(legend.get_texts()) == entries
        box = legend.get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1


def test_a_marker_at_100_percent_is_not_cut_off():
    (panel,) = plots.accuracy([StudyResults("toy", 0.99, (row("stn", 1, 1.0),))]).axes
    (marker,) = [line for line in panel.lines if line.get_marker() == METHODS["stn"].marker]
    assert marker.get_ydata()[0] == panel.get_ylim()[1] == 100
    assert not marker.get_clip_on()


def test_without_intervals_there_are_no_lines(study):
    assert not lines(plots.accuracy([study]).axes[0])


def test_several_seeds_become_their_mean(study):
    study = StudyResults("toy", 0.85, (*study.rows, row("stn", 2, 0.8, seed=1)))
    (panel,) = plots.accuracy([study]).axes
    ((_, y),) = markers(panel)[METHODS["stn"].marker]
    assert y == pytest.approx(85)


def test_convergence_shows_each_trial_after_its_distillation(study):
    (panel,) = plots.convergence([study]).axes
    bars = [(bar.get_y(), bar.get_height()) for bar in panel.patches]
    assert bars == [(0, 4)]  # STN's four epochs of distillation
    dots = markers(panel)["o"]
    assert sorted(y for _, y in dots) == [1, 4, 4 + 3]
    # The mean of 1 and 4, and of the only trial.
    means = [line.get_ydata()[0] for line in panel.lines if len(line.get_ydata()) == 2]
    assert means == [2.5, 7]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["CL-RW", "STN"]


def test_trials_at_the_same_height_stand_side_by_side():
    rows = [row("cl_rw", block, 0.8, 2) for block in (1, 2, 3)]
    (panel,) = plots.convergence([StudyResults("toy", 0.85, tuple(rows))]).axes
    places = sorted(x for x, _ in markers(panel)["o"])
    assert np.diff(places) == pytest.approx(2 * [places[1] - places[0]])
    assert sum(places) == pytest.approx(0)


@pytest.mark.parametrize(("count", "is_slanted"), [(2, False), (3, False), (5, True)])
def test_long_names_of_blocks_do_not_cover_each_other(count, is_slanted):
    names = [f"conv{n}_block1_1_conv-conv{n}_block3_out" for n in range(count)]
    rows = tuple(handmade.row("stn", name, 0.8) for name in names)
    figure = plots.accuracy([StudyResults("toy", 0.85, rows)])
    figure.draw_without_rendering()
    (panel,) = figure.axes
    labels = panel.get_xticklabels()
    assert [label.get_text().replace("\n", "") for label in labels] == names
    assert all((label.get_rotation() > 0) == is_slanted for label in labels)
    if not is_slanted:
        places = [label.get_window_extent() for label in labels]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(places))


def test_many_trials_at_the_same_height_stay_in_the_column_of_their_method():
    rows = [row("cl_rw", "block1", 0.8, seed=seed) for seed in range(40)]
    (panel,) = plots.convergence([StudyResults("toy", 0.85, tuple(rows))]).axes
    places = [x for x, _ in markers(panel)["o"]]
    assert len(set(places)) == 40
    assert max(map(abs, places)) <= 0.4


def test_a_trial_at_the_end_of_its_budget_points_upwards(study):
    study = StudyResults("toy", 0.85, study.rows, settings={"epochs": 4})
    (panel,) = plots.convergence([study]).axes
    assert [y for _, y in markers(panel)["^"]] == [4]
    assert sorted(y for _, y in markers(panel)["o"]) == [1, 7]
    assert "might have kept improving" in plots.convergence_note(study)


def test_with_a_rate_that_falls_to_zero_no_trial_might_have_gone_on(study):
    settings = {"epochs": 4, "schedule": "cosine"}
    study = StudyResults("toy", 0.85, study.rows, settings=settings)
    (panel,) = plots.convergence([study]).axes
    assert "^" not in markers(panel)
    assert "depends mostly on its schedule" in plots.convergence_note(study)
    assert "triangle" not in plots.convergence_note(study)


def test_panels_of_epochs_have_one_scale_that_holds_all_trials(study):
    slow = StudyResults("slow", 0.85, (row("cl_rw", 1, 0.8, 12),))
    limits = {panel.get_ylim() for panel in plots.convergence([study, slow]).axes}
    ((bottom, top),) = limits
    assert bottom == 0
    assert top > 12


def test_one_panel_a_dataset(study):
    other = StudyResults("cifar10", 0.5, (row("cm_rw", 1, 0.6),))
    for draw in (plots.accuracy, plots.convergence):
        panels = draw([study, other]).axes
        assert [panel.get_title() for panel in panels] == ["toy", "CIFAR-10"]


def test_pictures_are_made_without_a_screen(study, tmp_path):
    plots.accuracy([study]).savefig(tmp_path / "accuracy.png", dpi=looks.DPI)
    picture = matplotlib.image.imread(tmp_path / "accuracy.png")
    assert picture.shape[0] > 500
    assert np.unique(picture.reshape(-1, picture.shape[2]), axis=0).shape[0] > 10


def test_every_method_has_a_colour_and_a_marker_of_its_own():
    rows = METHODS.values()
    assert len({row.colour for row in rows}) == len({row.marker for row in rows}) == len(rows)
