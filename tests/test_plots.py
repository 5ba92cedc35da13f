import math

import matplotlib.image
import numpy as np
import pytest

from deep_net_triage.findings import looks, plots
from deep_net_triage.methods import METHODS
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import find_blocks
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
    assert [label.get_text() for label in panel.get_xticklabels()] == ["block1", "block2"]
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


def test_a_band_shows_what_is_too_near_the_parent_to_tell(study):
    """The middle one of three intervals, by hand.

    Of 98 images, and two that the interval adds, d = 1, 9 and 25 are one model's alone. With as
    many on the other side the variance is (2 d + 2) / 99 / 100, times 1.9842 squared.
    """
    images = np.arange(98)
    won = {("cl_rw", "block1"): 1, ("cl_rw", "block2"): 9, ("stn", "block2"): 25}
    correct = {(*way, 0): (images < 49 - d) | (images >= 98 - d) for way, d in won.items()}
    study = StudyResults("toy", 0.5, study.rows, correct=correct, parent_correct=images < 49)
    (panel,) = plots.accuracy([study]).axes
    (band,) = panel.patches
    half = 100 * 1.9842 * math.sqrt((2 * 9 + 2) / 99 / 100)
    assert [band.get_y(), band.get_height()] == pytest.approx([50 - half, 2 * half], rel=1e-4)


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
    study = StudyResults("toy", 0.5, rows, correct=correct, parent_correct=images < 180)
    figure = plots.accuracy([study] * panels)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1


def test_without_intervals_there_is_no_band(study):
    assert not plots.accuracy([study]).axes[0].patches


def test_several_seeds_become_their_mean_and_span(study):
    study = StudyResults("toy", 0.85, (*study.rows, row("stn", 2, 0.8, seed=1)))
    (panel,) = plots.accuracy([study]).axes
    ((_, y),) = markers(panel)[METHODS["stn"].marker]
    assert y == pytest.approx(85)
    spans = [line for line in panel.lines if list(line.get_ydata()) == pytest.approx([80, 90])]
    assert len(spans) == 1


def test_convergence_averages_over_blocks_and_stacks_distillation(study):
    (panel,) = plots.convergence([study]).axes
    bars = [(bar.get_y(), bar.get_height()) for bar in panel.patches]
    # CL-RW: mean of 1 and 4; STN: 3, and 4 distillation epochs above it.
    assert bars == [(0, 2.5), (0, 3), (3, 4)]
    dots = markers(panel)["o"]
    assert sorted(y for _, y in dots) == [1, 3, 4]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["CL-RW", "STN"]


def test_one_panel_a_dataset(study):
    other = StudyResults("cifar10", 0.5, (row("cm_rw", 1, 0.6),))
    for draw in (plots.accuracy, plots.convergence):
        panels = draw([study, other]).axes
        assert [panel.get_title() for panel in panels] == ["toy", "CIFAR-10"]


def test_structure_is_drawn_from_the_models_layers(parent):
    block = find_blocks(parent)[1]
    student = surgery.compress(parent, block, initializer="mean", seed=0)
    (axes,) = plots.structure(parent, student, block).axes
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("Conv 3×3, 4") == 3 + 1
    assert texts.count("Max pool") == 2
    assert texts.count("4 × 4 × 3") == texts.count("2 × 2 × 4") == 2


def test_pictures_are_made_without_a_screen(study, tmp_path):
    plots.accuracy([study]).savefig(tmp_path / "accuracy.png", dpi=looks.DPI)
    picture = matplotlib.image.imread(tmp_path / "accuracy.png")
    assert picture.shape[0] > 500
    assert np.unique(picture.reshape(-1, picture.shape[2]), axis=0).shape[0] > 10


def test_every_method_has_a_colour_and_a_marker_of_its_own():
    rows = METHODS.values()
    assert len({row.colour for row in rows}) == len({row.marker for row in rows}) == len(rows)
