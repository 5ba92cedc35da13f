"""Verdicts on studies made by hand: a model of accuracy 0.9 has the first 90 % of images."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

from deep_net_triage.findings import parent_doubts, recommendation, tables, verdict
from deep_net_triage.network.descriptions import Refused
from deep_net_triage.records.study_results import StudyResults
from tests.handmade import described, row

IMAGES = 1000
CHOSEN = "A student's test accuracy is taken at the epoch that did best on the test images."


def right(accuracy):
    return np.arange(IMAGES) < round(accuracy * IMAGES)


def study(*rows, kept=True, baseline=0.9, **fields):
    if kept:
        correct = {one.trial: right(one.chosen_accuracy) for one in rows}
        fields = {"correct": correct, "parent_correct": right(baseline)} | fields
    return StudyResults("toy", baseline, rows, **fields)


def test_blocks_are_ranked_by_what_their_best_method_loses():
    reached = verdict.reach(
        study(
            row("cl_rw", "block1", 0.5),
            row("stn", "block1", 0.86),
            row("cm_rw", "block1", 0.84),
            row("cm_mw", "block2", 0.92),
            row("cl_rw", "block3", 0.7),
        ),
        max_drop=0.05,
    )
    assert [block.block for block in reached.ranking] == ["block2", "block1", "block3"]
    second = reached.ranking[1]
    assert second.best.method == "stn"
    assert second.best.cost.difference == pytest.approx(-0.04)
    # 40 lost and none won; with one more of each: -40 of 1002, and a variance of 42 / 1002.
    half = 1.9624 * np.sqrt((42 / 1002 - (40 / 1002) ** 2) / 1001)
    assert second.best.cost.estimate.low == pytest.approx(-40 / 1002 - half, abs=1e-6)
    assert second.parameters_saved == pytest.approx(0.1)
    assert second.macs_saved == pytest.approx(0.25)
    assert not any(block.tied_with for block in reached.ranking)


def test_the_best_method_is_best_on_average_over_seeds():
    reached = verdict.reach(
        study(
            row("cm_rw", "block1", 0.95, seed=0),
            row("cm_rw", "block1", 0.75, seed=1),
            row("cm_mw", "block1", 0.87, seed=0),
            row("cm_mw", "block1", 0.89, seed=1),
        ),
        max_drop=0.05,
    )
    best = reached.ranking[0].best
    assert (best.method, best.seeds) == ("cm_mw", 2)
    assert best.cost.difference == pytest.approx(-0.02)


def test_blocks_inside_the_noise_tie():
    same = study(
        row("cm_mw", "block1", 0.88),
        row("cm_rw", "block2", 0.881),  # one image more: nobody can tell
        row("stn", "block3", 0.8),
    )
    reached = verdict.reach(same, max_drop=0.05)
    assert [(block.block, block.tied_with) for block in reached.ranking] == [
        ("block2", ("block1",)),
        ("block1", ("block2",)),
        ("block3", ()),
    ]
    assert "not distinguishable from block1" in verdict.describe(reached)


def test_blocks_whose_best_trials_share_no_seed_may_tie_too():
    reached = verdict.reach(
        study(row("stn", "block1", 0.88, seed=0), row("stn", "block2", 0.881, seed=1)), 0.05
    )
    assert [block.tied_with for block in reached.ranking] == [("block1",), ("block2",)]


def test_without_images_there_is_no_interval_and_nothing_is_sure():
    reached = verdict.reach(
        study(row("stn", "block1", 0.9), row("stn", "block2", 0.5), kept=False), 0.05
    )
    first, second = reached.ranking
    assert first.best.cost.estimate is None
    assert (first.tied_with, second.tied_with) == ((), ())
    assert not reached.recommendation.sure
    text = verdict.describe(reached)
    assert "STN +0.0 points (no interval) from the parent, 1 seed" in text
    assert "not distinguishable" not in text
    assert "with reservations" in text


def test_the_chosen_accuracy_counts():
    rows = [
        row("stn", "block1", 0.95, chosen_accuracy=0.8),
        row("cl_rw", "block1", 0.85),
    ]
    best = verdict.reach(study(*rows, kept=False), 0.05).ranking[0].best
    assert best.method == "cl_rw"
    assert best.cost.difference == pytest.approx(-0.05)


def test_what_was_not_compressed_is_never_ranked():
    refused = Refused("conv9", "add9", "it branches")
    reached = verdict.reach(
        study(
            row("stn", "block1", 0.88),
            controls=(row("control", "no-block", 0.95, macs=1),),
            blocks=described("block1", "block2"),
            refused=(refused,),
        ),
        max_drop=0.05,
    )
    assert [block.block for block in reached.ranking] == ["block1"]
    assert reached.unfinished == ("block2",)
    assert reached.not_compressible == (refused,)
    assert reached.recommendation.block == "block1"
    text = verdict.describe(reached)
    assert "not compressible: conv9 to add9: it branches" in text
    assert "not run, or not finished: block2" in text


def test_the_largest_saving_that_is_surely_within_is_recommended():
    reached = verdict.reach(
        study(
            row("stn", "block1", 0.9, macs=320),
            row("stn", "block2", 0.88, macs=280, seed=0),
            row("stn", "block2", 0.885, macs=280, seed=1),
            row("stn", "block3", 0.86, macs=240),  # within, but not its interval
            row("stn", "block4", 0.5, macs=40),
        ),
        max_drop=0.05,
    )
    advised = reached.recommendation
    assert (advised.block, advised.method, advised.seed) == ("block2", "stn", 1)
    assert advised.sure
    assert advised.cost.estimate.count == 1
    assert advised.macs_saved == pytest.approx(0.3)
    assert reached.no_recommendation is None
    assert verdict.sentences(reached) == [
        "Recommended: block2 by STN, seed 1.",
        "It saves 30.0 % of the multiply-accumulates and 10.0 % of the parameters; its "
        "accuracy differs by -1.5 points [-2.3, -0.7] from the parent.",
        "Even the low end of its interval is within the allowed drop of 5.0 points.",
        CHOSEN,
    ]


def test_a_compressed_network_is_recommended_before_any_student_of_one_block():
    network = "Recommended: the compressed network."
    reached = verdict.reach(study(row("stn", "block2", 0.885, macs=280)), max_drop=0.05)
    first, second, *_ = verdict.sentences(reached, network)
    assert first == network
    assert second == "If only one block is to be compressed: block2 by STN, seed 0."
    assert f"{network}\nIf only one block" in verdict.describe(reached, network)

    reached = verdict.reach(study(row("stn", "block2", 0.6)), max_drop=0.05)
    assert verdict.sentences(reached, network)[:2] == [network, reached.no_recommendation]


def test_equal_multiply_accumulates_are_decided_by_parameters():
    rows = [row("stn", "block1", 0.9), row("stn", "block2", 0.89, parameters=800)]
    assert verdict.reach(study(*rows), 0.05).recommendation.block == "block2"
    rows.append(row("stn", "block3", 0.89, macs=296))
    assert verdict.reach(study(*rows), 0.05).recommendation.block == "block3"


def test_within_on_average_only_is_not_sure():
    reached = verdict.reach(study(row("stn", "block1", 0.88)), max_drop=0.02)
    assert reached.recommendation.cost.difference == pytest.approx(-0.02)
    assert not reached.recommendation.sure
    first, _, last, _ = verdict.sentences(reached)
    assert first == "Recommended with reservations: block1 by STN, seed 0."
    assert last == (
        "It is within the allowed drop of 2.0 points, but the low end of its interval is not."
    )


def test_a_drop_of_just_as_much_as_allowed_counts():
    # 0.88 - 0.9 is a little below -0.02.
    reached = verdict.reach(study(row("stn", "block1", 0.88), kept=False), max_drop=0.02)
    assert reached.recommendation.block == "block1"


def test_a_difference_is_that_of_its_interval():
    # The images are those of the saved model, whatever its row says.
    one = row("stn", "block1", 0.95)
    reached = verdict.reach(study(one, correct={one.trial: right(0.88)}), max_drop=0.05)
    assert reached.ranking[0].best.cost.difference == pytest.approx(-0.02)
    assert reached.recommendation.cost.difference == pytest.approx(-0.02)


def test_nothing_is_recommended_that_loses_too_much_or_saves_nothing():
    reached = verdict.reach(
        study(
            row("stn", "block1", 0.85),
            row("stn", "block2", 0.9, macs=400),  # saves parameters alone
            row("stn", "block3", 0.9, macs=401),
        ),
        max_drop=0.02,
    )
    assert reached.recommendation is None
    assert verdict.sentences(reached) == [
        "Nothing is recommended.",
        "None of the trained students both saves multiply-accumulates and stays within 2.0 "
        "points of the parent.",
        CHOSEN,
    ]


def test_parameters_that_grow_are_said_to():
    reached = verdict.reach(study(row("stn", "block1", 0.9, parameters=1032, macs=399)), 0.05)
    growing = "saves 0.2 % of the multiply-accumulates and needs 3.2 % more parameters"
    assert reached.recommendation.block == "block1"
    assert growing in verdict.sentences(reached)[1]
    assert f"1 seed; {growing}" in verdict.describe(reached)
    assert recommendation.savings_text(-0.5, 0.1) == (
        "saves 10.0 % of the parameters and needs 50.0 % more multiply-accumulates"
    )
    assert recommendation.savings_text(-0.5, -0.1) == (
        "needs 50.0 % more multiply-accumulates and 10.0 % more parameters"
    )


def test_a_parent_that_has_not_learned_recommends_nothing():
    """Digits after one epoch: the parent was at 10 %, and a student 44 points above it."""
    rows = [row("stn_cm", "block2", 0.54, baseline=0.1), row("cl_rw", "block1", 0.1)]
    weak = study(*rows, baseline=0.1, classes=10)
    reached = verdict.reach(weak, max_drop=0.05)
    assert reached.recommendation is None
    assert reached.ranking[0].block == "block2"
    # Wilson's interval of 100 of 1000, by hand: (0.1 + 1.9207 / 1000 +- 1.96 x
    # sqrt(0.1 x 0.9 / 1000 + 0.9604 / 1000 / 1000)) / (1 + 3.8415 / 1000).
    reason = (
        "The parent has not learned: its accuracy is 10.0 % (95 % interval 8.3 % to 12.0 %); "
        "the whole interval must be above chance (10.0 %), and the accuracy at least 50.0 % "
        "(five times chance)."
    )
    assert reached.no_recommendation == reason
    assert verdict.describe(reached).endswith(f"Nothing is recommended.\n{reason}\n{CHOSEN}")
    assert tables.table(weak).endswith(f"\n{reason}")
    # Where the number of classes is not known, nobody can tell.
    unknown = dataclasses.replace(weak, classes=None, rows=rows[1:])
    assert verdict.reach(unknown, max_drop=0.05).recommendation.block == "block1"


@pytest.mark.parametrize(
    ("classes", "accuracy", "images", "learned"),
    [
        (2, 0.74, 1000, False),  # half way from 1/2 to 1
        (2, 0.75, 1000, True),
        (2, 0.75, 12, False),  # 9 of 12: the interval reaches down to 0.47
        (4, 0.62, 1000, False),  # half way is 0.625; five times chance is above 1
        (4, 0.63, 1000, True),
        (10, 0.49, 1000, False),
        (10, 0.5, 1000, True),  # five times chance, below half way, 0.55
        (100, 0.05, 1000, True),
        (100, 0.05, 20, False),  # 1 of 20: the interval reaches down to 0.009
        (100, 0.05, None, True),  # without the number of images there is no interval
        (None, 0.01, 1000, True),
    ],
)
def test_when_a_parent_has_learned(classes, accuracy, images, learned):
    assert (parent_doubts.not_learned(accuracy, classes, images) is None) == learned


def test_students_that_outdo_the_parent_beyond_its_noise_recommend_nothing():
    # Of 1000 images, the interval of 90 % is 3.7 points wide: gains of 1.8 points are usual.
    usual = study(row("stn", "block1", 0.918), row("cl_rw", "block2", 0.9), classes=10)
    assert verdict.reach(usual, max_drop=0.05).recommendation
    assert "Students" not in tables.table(usual)
    large = study(row("stn", "block1", 0.92), row("cl_rw", "block2", 0.9), classes=10)
    reached = verdict.reach(large, max_drop=0.05)
    assert reached.recommendation is None
    assert reached.no_recommendation == (
        "Students outdo the parent: STN at block1 by +2.0 points [+1.1, +2.9], more than half "
        "the width of the parent's own 95 % interval (1.9 points); train the parent for longer "
        "first."
    )
    assert reached.no_recommendation in tables.table(large)
    # Nor is a network of which several blocks are compressed.
    said = verdict.sentences(reached, "Recommended: the compressed network.")
    assert said[:2] == ["Nothing is recommended.", reached.no_recommendation]


def test_a_gain_that_may_be_none_says_nothing_against_the_parent():
    """A gain of 2 points, by 100 images won and 80 lost: its interval holds zero."""
    images = np.arange(IMAGES)
    student = (images < 720) | (images >= 800)
    one = row("stn", "block1", student.mean())
    assert student.mean() - 0.9 == pytest.approx(0.02)
    reached = verdict.reach(study(one, correct={one.trial: student}, classes=10), max_drop=0.2)
    assert reached.recommendation.block == "block1"


def test_layers_that_are_not_counted_are_named_once():
    layers = ("norm", "Attention")
    reached = verdict.reach(study(row("stn", "block1", 0.9), uncounted=layers), max_drop=0.05)
    said = "The multiply-accumulates are incomplete (not counted: layer norm, layer Attention)."
    assert verdict.sentences(reached)[-2] == said
    assert verdict.describe(reached).count("not counted") == 1
    many = recommendation.uncounted_text([f"l{n}" for n in range(7)])
    assert many == "not counted: layer l0, layer l1, layer l2, layer l3, layer l4, 2 more"


def test_text():
    assert verdict.describe(
        verdict.reach(study(row("cm_mw", "block1", 0.9), row("stn", "block2", 0.8)), 0.01)
    ).splitlines() == [
        "toy: blocks, the most compressible first, with 95 % intervals",
        "  1. block1: CM-MW +0.0 points [-0.3, +0.3] from the parent, 1 seed; saves 25.0 % "
        "of the multiply-accumulates and 10.0 % of the parameters",
        "     at the last epoch +0.0 points (no interval) from the parent",
        "  2. block2: STN -10.0 points [-11.9, -8.1] from the parent, 1 seed; saves 25.0 % "
        "of the multiply-accumulates and 10.0 % of the parameters",
        "     at the last epoch -10.0 points (no interval) from the parent",
        "Recommended: block1 by CM-MW, seed 0.",
        "It saves 25.0 % of the multiply-accumulates and 10.0 % of the parameters; its "
        "accuracy differs by +0.0 points [-0.3, +0.3] from the parent.",
        "Even the low end of its interval is within the allowed drop of 1.0 points.",
        CHOSEN,
    ]


def controlled(**fields):
    """Students of two seeds at one block; one control gained 2 points, the other lost 1.

    The students' last epochs are 2 points below their best, the controls' 1 point.
    """
    students = [
        row("stn", "block1", accuracy, seed=n) for n, accuracy in enumerate((0.88, 0.9))
    ]
    controls = [
        row("control", "no-block", accuracy, seed=n, macs=400)
        for n, accuracy in enumerate((0.92, 0.89))
    ]
    last = {one.trial: right(one.chosen_accuracy - 0.02) for one in students}
    last |= {one.trial: right(one.chosen_accuracy - 0.01) for one in controls}
    correct = {one.trial: right(one.chosen_accuracy) for one in (*students, *controls)}
    made = {"correct": correct, "final_correct": last, "controls": tuple(controls)}
    return study(*students, **(made | fields))


def test_each_cost_is_shown_against_the_parent_and_against_the_control():
    reached = verdict.reach(controlled(), max_drop=0.05)
    best = reached.ranking[0].best
    assert best.cost.difference == pytest.approx(-0.01)  # of -2 and 0
    assert best.cost.against_control.mean == pytest.approx(-0.015)  # of -4 and +1, by seed
    assert best.cost.against_control.count == 2
    assert best.last.difference == pytest.approx(-0.03)
    assert best.last.against_control.mean == pytest.approx(-0.025)  # of -5 and 0
    assert reached.control.difference == pytest.approx(0.005)
    assert reached.control.against_control is None
    assert reached.recommendation.cost.against_control.mean == pytest.approx(0.01)  # seed 1
    by_numbers = re.sub(r" \[.*?\]", "", verdict.describe(reached)).splitlines()
    assert by_numbers[1].startswith(
        "  1. block1: STN -1.0 points from the parent, -1.5 from the control, 2 seeds; "
    )
    assert by_numbers[2] == (
        "     at the last epoch -3.0 points from the parent, -2.5 from the control"
    )
    assert by_numbers[3] == "  the control, not compressed: +0.5 points from the parent"
    recommended = by_numbers[5]
    assert "differs by +0.0 points from the parent, +1.0 from the control." in recommended


def test_a_control_of_fewer_seeds_is_said_to_be():
    full = controlled()
    reached = verdict.reach(controlled(controls=full.controls[:1]), max_drop=0.05)
    said = re.sub(r" \[.*?\]", "", verdict.describe(reached)).splitlines()[1]
    assert re.search(r"from the parent, \S+ \(1 seed\) from the control, 2 seeds", said)


def test_the_interval_against_the_control_is_paired_by_image_and_seed():
    student, control = right(0.88), right(0.92)
    one = row("stn", "block1", 0.88)
    reached = verdict.reach(
        study(
            one,
            controls=(row("control", "no-block", 0.92),),
            correct={one.trial: student, ("control", "no-block", 0): control},
        ),
        max_drop=0.05,
    )
    # 40 lost and none won; with one more of each: -40 of 1002, and a variance of 42 / 1002.
    half = 1.9624 * np.sqrt((42 / 1002 - (40 / 1002) ** 2) / 1001)
    estimate = reached.ranking[0].best.cost.against_control
    assert estimate.low == pytest.approx(-40 / 1002 - half, abs=1e-6)
    assert estimate.high == pytest.approx(-40 / 1002 + half, abs=1e-6)


def test_without_a_finished_control_nothing_of_it_is_said():
    bare = controlled(controls=())
    reached = verdict.reach(bare, max_drop=0.05)
    assert reached.control is None
    assert reached.ranking[0].best.cost.against_control is None
    assert "control" not in verdict.describe(reached)
    assert "control" not in tables.table(bare)


def test_where_the_schedule_settles_the_last_epoch_is_the_one_that_counts():
    settled = controlled(settings={"schedule": "cosine", "epochs": 15})
    reached = verdict.reach(settled, max_drop=0.05)
    assert reached.ranking[0].best.last is None
    text = verdict.describe(reached)
    assert "at the last epoch -" not in text
    assert text.endswith(
        "Accuracies are those of the last epoch, at which the learning rate has fallen to zero."
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"epochs": 15, "schedule": "constant"},
            "the epoch, of 15, that did best on the test images.",
        ),
        (
            {"epochs": 15, "validation_fraction": 0.1},
            "of 15, that did best on validation images.",
        ),
    ],
)
def test_the_verdict_says_which_epoch_was_chosen(settings, said):
    reached = verdict.reach(controlled(settings=settings), max_drop=0.05)
    assert verdict.sentences(reached)[-1].endswith(said)
    assert verdict.describe(reached).endswith(said)


def test_a_study_without_trials():
    reached = verdict.reach(study(blocks=described("block1")), max_drop=0.05)
    assert (reached.ranking, reached.unfinished) == ((), ("block1",))
    assert "not run, or not finished: block1" in verdict.describe(reached)


def test_no_verdict_needs_tensorflow():
    script = (
        "import sys, deep_net_triage.findings.claims; sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
