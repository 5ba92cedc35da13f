"""Verdicts on studies made by hand: a model of accuracy 0.9 has the first 90 % of images."""

import subprocess
import sys

import numpy as np
import pytest

from deep_net_triage.findings import verdict
from deep_net_triage.records.results import COLUMNS, StudyResults

IMAGES = 1000


def right(accuracy):
    return np.arange(IMAGES) < round(accuracy * IMAGES)


def trial(method, block, accuracy, seed=0, saves=0.25, **cells):
    return (
        dict.fromkeys(COLUMNS)
        | {
            "dataset": "toy",
            "method": method,
            "block": block,
            "seed": seed,
            "max_accuracy": accuracy,
            "parent_parameters": 1000,
            "parameters": 900,
            "parent_macs": 400,
            "macs": 400 * (1 - saves),
        }
        | cells
    )


def study(*rows, kept=True, **fields):
    correct = {
        (row["method"], row["block"], row["seed"]): right(row["max_accuracy"]) for row in rows
    }
    return StudyResults(
        dataset="toy",
        baseline_accuracy=0.9,
        rows=list(rows),
        correct=correct if kept else {},
        parent_correct=right(0.9) if kept else None,
        **fields,
    )


def test_blocks_are_ranked_by_what_their_best_method_loses():
    reached = verdict.reach(
        study(
            trial("cl_rw", "block1", 0.5),
            trial("stn", "block1", 0.86, saves=0.1),
            trial("cm_rw", "block1", 0.84),
            trial("cm_mw", "block2", 0.92),
            trial("cl_rw", "block3", 0.7),
        ),
        max_drop=0.05,
    )
    assert [block.block for block in reached.ranking] == ["block2", "block1", "block3"]
    second = reached.ranking[1]
    assert second.best.method == "stn"
    assert second.best.difference == pytest.approx(-0.04)
    # 40 lost and none won; with one more of each: -40 of 1002, and a variance of 42 / 1002.
    half = 1.9624 * np.sqrt((42 / 1002 - (40 / 1002) ** 2) / 1001)
    assert second.best.estimate.low == pytest.approx(-40 / 1002 - half, abs=1e-6)
    assert [other.method for other in second.others] == ["cm_rw", "cl_rw"]
    assert second.parameters_saved == pytest.approx(0.1)
    assert not any(block.tied_with for block in reached.ranking)


def test_the_best_method_is_best_on_average_over_seeds():
    reached = verdict.reach(
        study(
            trial("cm_rw", "block1", 0.95, seed=0),
            trial("cm_rw", "block1", 0.75, seed=1),
            trial("cm_mw", "block1", 0.87, seed=0),
            trial("cm_mw", "block1", 0.89, seed=1),
        ),
        max_drop=0.05,
    )
    best = reached.ranking[0].best
    assert (best.method, best.seeds) == ("cm_mw", 2)
    assert best.difference == pytest.approx(-0.02)
    assert best.estimate.deviation == pytest.approx(0.02 / np.sqrt(2))


def test_blocks_inside_the_noise_tie():
    same = study(
        trial("cm_mw", "block1", 0.88),
        trial("cm_rw", "block2", 0.881),  # one image more: nobody can tell
        trial("stn", "block3", 0.8),
    )
    ranking = verdict.reach(same, max_drop=0.05).ranking
    assert [(block.block, block.tied_with) for block in ranking] == [
        ("block2", ("block1",)),
        ("block1", ("block2",)),
        ("block3", ()),
    ]
    assert "no interval tells it apart from block1" in verdict.describe(
        verdict.reach(same, max_drop=0.05)
    )


def test_without_images_there_is_no_interval_and_nothing_is_sure():
    reached = verdict.reach(
        study(trial("stn", "block1", 0.9), trial("stn", "block2", 0.5), kept=False), 0.05
    )
    first, second = reached.ranking
    assert first.best.estimate is None
    assert (first.tied_with, second.tied_with) == (("block2",), ("block1",))
    assert not reached.recommendation.sure
    assert "no interval kept" in verdict.describe(reached)
    assert "tells it apart" not in verdict.describe(reached)
    assert "Not sure" in verdict.describe(reached)


def test_the_chosen_accuracy_counts_where_there_is_one():
    rows = [
        trial("stn", "block1", 0.95, chosen_accuracy=0.8),
        trial("cl_rw", "block1", 0.85),
    ]
    del rows[1]["chosen_accuracy"]  # as in older files
    best = verdict.reach(study(*rows, kept=False), 0.05).ranking[0].best
    assert best.method == "cl_rw"
    assert best.difference == pytest.approx(-0.05)


def test_what_was_not_compressed_is_never_ranked():
    reached = verdict.reach(
        study(
            trial("stn", "block1", 0.88),
            trial("control", "none", 0.95, saves=0.9),
            blocks=({"name": "block1"}, {"name": "block2"}),
            refused=({"first": "conv9", "last": "add9", "reason": "it branches"},),
        ),
        max_drop=0.05,
    )
    assert [block.block for block in reached.ranking] == ["block1"]
    assert reached.not_run == ("block2",)
    refused = verdict.NotCompressible("conv9", "add9", "it branches")
    assert reached.not_compressible == (refused,)
    assert reached.recommendation.block == "block1"
    text = verdict.describe(reached)
    assert "not compressible: conv9 to add9: it branches" in text
    assert "not run: block2" in text


def test_the_largest_saving_that_is_surely_within_is_recommended():
    reached = verdict.reach(
        study(
            trial("stn", "block1", 0.9, saves=0.2),
            trial("stn", "block2", 0.88, saves=0.3, seed=0),
            trial("stn", "block2", 0.885, saves=0.3, seed=1),
            trial("stn", "block3", 0.86, saves=0.4),  # within, but not its interval
            trial("stn", "block4", 0.5, saves=0.9),
        ),
        max_drop=0.05,
    )
    advised = reached.recommendation
    assert (advised.block, advised.method, advised.seed) == ("block2", "stn", 1)
    assert advised.sure
    assert advised.estimate.count == 1
    assert advised.macs_saved == pytest.approx(0.3)
    assert "Recommended, within 5.0 points of the parent: block2 by STN, seed 1" in (
        verdict.describe(reached)
    )


def test_equal_multiply_accumulates_are_decided_by_parameters():
    rows = [trial("stn", "block1", 0.9), trial("stn", "block2", 0.89, parameters=800)]
    assert verdict.reach(study(*rows), 0.05).recommendation.block == "block2"
    rows.append(trial("stn", "block3", 0.89, saves=0.26))
    assert verdict.reach(study(*rows), 0.05).recommendation.block == "block3"


def test_within_on_average_only_is_not_sure():
    reached = verdict.reach(study(trial("stn", "block1", 0.88)), max_drop=0.02)
    assert reached.recommendation.difference == pytest.approx(-0.02)
    assert not reached.recommendation.sure
    assert "Not sure" in verdict.describe(reached)
    assert "its interval reaches below" in verdict.describe(reached)


def test_a_drop_of_just_as_much_as_allowed_counts():
    # 0.88 - 0.9 is a little below -0.02.
    reached = verdict.reach(study(trial("stn", "block1", 0.88), kept=False), max_drop=0.02)
    assert reached.recommendation.block == "block1"


def test_a_difference_is_that_of_its_interval():
    # The images are those of the kept model, whatever its learning curve once reached.
    row = trial("stn", "block1", 0.88)
    toy = study(row)
    row["max_accuracy"] = 0.95
    reached = verdict.reach(toy, max_drop=0.05)
    assert reached.ranking[0].best.difference == pytest.approx(-0.02)
    assert reached.recommendation.difference == pytest.approx(-0.02)


def test_nothing_is_recommended_that_loses_too_much_or_saves_nothing():
    reached = verdict.reach(
        study(
            trial("stn", "block1", 0.85),
            trial("stn", "block2", 0.95, saves=0, parameters=1000),
            trial("stn", "block3", 0.95, saves=-0.5),
        ),
        max_drop=0.02,
    )
    assert reached.recommendation is None
    assert "No compression that was run stays within 2.0 points" in verdict.describe(reached)


def test_text():
    assert verdict.describe(
        verdict.reach(study(trial("cm_mw", "block1", 0.9), trial("stn", "block2", 0.8)), 0.01)
    ).splitlines() == [
        "toy: blocks from the most compressible to the most critical",
        "  1. block1: CM-MW +0.0 points [-0.3, +0.3], 1 seed; saves 25.0 % of the "
        "multiply-accumulates, 10.0 % of the parameters",
        "  2. block2: STN -10.0 points [-11.9, -8.1], 1 seed; saves 25.0 % of the "
        "multiply-accumulates, 10.0 % of the parameters",
        "Recommended, within 1.0 points of the parent: block1 by CM-MW, seed 0",
        "  +0.0 points [-0.3, +0.3]; saves 25.0 % of the multiply-accumulates, 10.0 % of the "
        "parameters",
    ]


def test_a_study_without_trials():
    reached = verdict.reach(study(blocks=({"name": "block1"},)), max_drop=0.05)
    assert (reached.ranking, reached.not_run) == ((), ("block1",))
    assert "not run: block1" in verdict.describe(reached)


def test_no_verdict_needs_tensorflow():
    script = (
        "import sys, deep_net_triage.findings.claims; sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
