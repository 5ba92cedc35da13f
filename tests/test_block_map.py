"""The picture on top of the page, its numbers worked out by hand."""

import dataclasses

import numpy as np
import pytest

from deep_net_triage.findings import block_map, report, verdict
from deep_net_triage.records.study_results import StudyResults
from tests.handmade import described, row
from tests.test_report import read, section, text


def make_study(folder=None, macs=(100, 4, 200), blocks=("block1", "block2", "block3")):
    """A parent of 400 multiply-accumulates and 200 images; block3 has no trial yet."""
    sizes = dict(zip(blocks, macs, strict=True))
    rows = (
        row("cl_rw", "block1", 0.80),
        row("stn", "block1", 0.885),
        row("cm_rw", "block2", 0.91),
    )
    images = np.arange(200)
    return StudyResults(
        "toy",
        0.9,
        rows,
        correct={one.trial: images < round(200 * one.chosen_accuracy) for one in rows},
        parent_correct=images < 180,
        blocks=tuple(
            dataclasses.replace(one, macs=sizes[one.name]) for one in described(*blocks)
        ),
        folder=folder,
    )


def picture(study):
    ranking = verdict.reach(study, 0.02).ranking
    return block_map.of_study(study, {b.block: (b.best.method, b.best.cost) for b in ranking})


def test_a_block_is_as_wide_as_its_share_of_the_multiply_accumulates():
    drawn = picture(make_study())
    shown = [(one.name, one.start, one.width, one.share) for one in drawn.segments]
    assert shown == [
        ("block1", 0, 25, "25.0\u00a0%"),
        ("block2", 25, 1, "1.0\u00a0%"),
        ("block3", 26, 50, "50.0\u00a0%"),
    ]
    assert drawn.rest == "24.0\u00a0%"
    assert not drawn.overlaps


def test_a_block_shows_what_its_best_method_loses_with_the_interval():
    first, second, third = picture(make_study()).segments
    assert (first.method, first.cost, first.colour) == ("STN", "\u22121.5", 2)
    assert (second.method, second.cost, second.colour) == ("CM-RW", "+1.0", 0)
    assert (third.method, third.cost, third.colour, third.whisker) == ("", "", None, None)
    summary = verdict.reach(make_study(), 0.02).ranking[1]
    assert first.interval == summary.best.cost.from_parent().split("points ")[1].replace(
        "-", "\u2212"
    ).replace(" ", "\u00a0")


def test_intervals_have_one_scale_with_the_parent_on_it():
    study = make_study()
    drawn = picture(study)
    lowest, highest = (
        end(getattr(one.best.cost.estimate, name) for one in verdict.reach(study, 0.02).ranking)
        for end, name in ((min, "low"), (max, "high"))
    )
    first, second = (one.whisker for one in drawn.segments[:2])
    assert (first.low, second.high) == pytest.approx((4, 96))
    assert first.low < first.mean < drawn.parent < second.mean < second.high
    assert drawn.parent == pytest.approx(4 + 92 * -lowest / (highest - lowest))


@pytest.mark.parametrize(
    ("difference", "colour"),
    [(0.03, 0), (-0.0004, 0), (-0.0006, 1), (-0.0104, 1), (-0.02, 2), (-0.021, 3), (-0.3, 4)],
)
def test_a_colour_fits_the_number_beside_it(difference, colour):
    """The number has one decimal: a loss of 0.04 points is written +0.0 and coloured so."""
    assert block_map.colour(difference) == colour


@pytest.mark.parametrize(
    ("macs", "said", "share"),
    [
        ((400, 100, 300), True, "100"),
        ((400, 100, 300), False, "100"),
        ((40, 10, 30), True, "10"),
    ],
)
def test_blocks_that_share_layers_are_as_wide_as_their_share_of_the_sum(macs, said, share):
    """What lies outside of them can't be told from their sizes. Older studies don't say it."""
    drawn = picture(dataclasses.replace(make_study(macs=macs), share_layers=said))
    assert drawn.overlaps
    assert drawn.rest == ""
    assert [one.width for one in drawn.segments] == [50, 12.5, 37.5]
    assert [one.share for one in drawn.segments][0] == f"{share}.0\u00a0%"


def test_without_sizes_there_is_no_picture():
    assert picture(dataclasses.replace(make_study(), blocks=())) is None
    assert picture(dataclasses.replace(make_study(), rows=())) is None


def test_the_page_draws_these_widths_and_says_the_same_in_words(tmp_path):
    study = make_study(tmp_path)
    page = read(report.write(study, (), verdict.reach(study, 0.02)))
    shown = section(page, "map")
    strip = next(svg for svg in shown.iter("svg") if svg.get("class") == "strip")
    drawn = [
        (one.get("class"), one.get("x"), one.get("width")) for one in strip.findall("rect")
    ]
    assert drawn == [
        ("cost2", "0.0%", "25.0%"),
        ("cost0", "25.0%", "1.0%"),
        ("unmeasured", "26.0%", "50.0%"),
    ]
    assert "block1 25.0 %; block2 1.0 %; block3 50.0 %; other layers 24.0 %." in text(strip[0])
    lines = [" ".join(text(item).split()) for item in shown.find(".//ol")]
    assert lines[0].startswith("block1 25.0 % of MACs \u22121.5 points [")
    assert "by STN" in lines[0]
    assert lines[2] == "block3 50.0 % of MACs not measured"
    legend = [text(item).strip() for item in shown.find(".//ul")]
    assert legend == [
        "nothing lost",
        "1 to 2 points lost",
        "not measured",
        "other layers, 24.0 % of the MACs",
    ]
