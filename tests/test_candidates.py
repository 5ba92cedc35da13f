"""What a compression may replace, at which cost, and what it saves."""

from pathlib import Path

import keras
import pytest

from deep_net_triage import steps
from deep_net_triage.network import blocks, costs
from deep_net_triage.network.latency_timing import Timing
from deep_net_triage.records.results import Epoch
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.study import candidates
from deep_net_triage.study.candidates import Judged, Savings
from tests import handmade


@pytest.fixture
def chain():
    """A network whose only block holds four convolutions of four filters."""
    x = images = keras.Input((8, 8, 4))
    for number in (1, 2, 3, 4):
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"c{number}")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(2)(x))


@pytest.fixture
def savings(chain, small_settings, tmp_path):
    def make(**flags):
        settings = small_settings(**flags)
        return Savings(chain, settings, None, tmp_path / "savings.json", steps.ignore)

    return make


def curve(*judged, distilled=1):
    """A distilled epoch, then epochs that validation images judge, not the test images."""
    epochs = [Epoch(phase="distill", epoch=n + 1, loss=1, seconds=1) for n in range(distilled)]
    for number, accuracy in enumerate(judged, 1):
        epochs.append(
            Epoch(
                phase="train",
                epoch=number,
                loss=1,
                seconds=1,
                val_accuracy=0.1,
                held_out_accuracy=accuracy,
            )
        )
    return tuple(epochs)


def test_held_out_images_judge_which_method_is_best():
    rows = [
        handmade.row(method, "block1", 0.9, chosen_epoch=chosen, seed=seed)
        for method, seed, chosen in (("cl_rw", 0, 2), ("cl_rw", 1, 1), ("stn", 0, 1))
    ]
    study = StudyResults(
        "toy",
        0.9,
        tuple(rows),
        folder=Path("toy"),
        epochs={
            ("cl_rw", "block1", 0): curve(0.9, 0.6, distilled=0),
            ("cl_rw", "block1", 1): curve(0.8, 0.9, distilled=0),
            ("stn", "block1", 0): curve(0.71, 0.99),
        },
    )
    # Of the chosen epochs, CL-RW reaches 0.6 and 0.8, STN 0.71.
    folder = Path("toy/trials/stn-block1-seed0")
    best = {"block1": Judged("stn", 0.71, (folder,))}
    assert candidates.best_students(study, ["block1", "block2"]) == best
    # A command that does not compress the block does not need its students.
    assert candidates.best_students(study, ["block2"]) == {}


def test_a_block_whose_curves_are_damaged_is_no_candidate():
    study = StudyResults("toy", 0.9, (handmade.row("stn", "block1", 0.9),), epochs={})
    assert candidates.best_students(study, ["block1"]) == {}


def found(chain, savings, cost, halves_reach):
    """The candidates of a block that costs so much, and the trials of its halves."""
    tried = []

    def run(trial):
        tried.append(trial)
        reached = halves_reach[len(tried) - 1]
        return reached and Judged(trial.method, reached, (Path("half"),))

    def interval(folders):
        return (0.01, len(folders))

    best = {"block1": Judged("cm_rw", 0.9 - cost)}
    network = blocks.find_blocks(chain)
    return list(candidates.find(network, savings, 0.9, best, run, interval)), tried


def test_a_block_within_the_drop_is_not_divided(chain, savings):
    made, tried = found(chain, savings(max_drop=0.05), 0.04, [])
    (whole,) = made
    assert (whole.block.name, whole.method) == ("block1", "cm_rw")
    assert whole.cost == pytest.approx(0.04)
    assert whole.interval == (0.01, 0)
    # One convolution of four remains, beside a dense layer of 4 x 2.
    each = 8 * 8 * 9 * 4 * 4
    assert whole.saved == pytest.approx(3 * each / (4 * each + 8))
    assert tried == []


def test_the_halves_of_a_costly_block_are_tried(chain, savings):
    made, tried = found(chain, savings(max_drop=0.05, seeds="3,4"), 0.2, [0.88, None])
    assert [trial.block.layers for trial in tried] == [("c1", "c2"), ("c3", "c4")]
    assert {(trial.method, trial.seed) for trial in tried} == {("cm_rw", 3)}
    whole, first = made  # the trial of the last half failed
    assert whole.cost == pytest.approx(0.2)
    assert first.block == tried[0].block
    assert first.cost == pytest.approx(0.02)
    assert first.interval == (0.01, 1)
    each = 8 * 8 * 9 * 4 * 4
    assert first.saved == pytest.approx(each / (4 * each + 8))


def test_parameters_can_be_saved_instead(chain, savings):
    (block,) = blocks.find_blocks(chain)
    # Four convolutions of 148 values give way to one, and to batch norm's 16.
    assert costs.parameters(chain) == 4 * 148 + 10
    assert savings(save="parameters").of(block) == pytest.approx((3 * 148 - 16) / 602)


def test_a_saving_of_less_than_runs_vary_is_none(chain, savings, monkeypatch):
    medians = ((4.0, 3.6), (10.0, 8.0), (20.0, 20.5))
    timed = [[Timing(median, 0.5) for median in both] for both in medians]
    monkeypatch.setattr(candidates.latency_timing, "compare", lambda *given: timed)
    (block,) = blocks.find_blocks(chain)
    # Of three numbers of images, one saves a fifth, and two nothing clear.
    assert savings(save="latency").of(block) == pytest.approx(0.2 / 3)


def test_latency_is_measured_once(chain, savings, monkeypatch):
    calls = []

    def compare(parent, smaller, images, batches):
        calls.append(tuple(batches))
        return [[Timing(4.0, 0.0), Timing(3.0, 0.0)], [Timing(10.0, 0.0), Timing(5.0, 0.0)]]

    monkeypatch.setattr(candidates.latency_timing, "compare", compare)
    (block,) = blocks.find_blocks(chain)
    # A quarter of the time of one image is saved, and half of that of 64.
    assert savings(save="latency").of(block) == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert savings(save="latency").of(block) == pytest.approx(3 / 8)
    assert calls == [(1, 64)]
    savings(save="latency", latency_batches="64").of(block)
    assert calls[1:] == [(64,)]
    # What another machine has measured says nothing about this one.
    monkeypatch.setattr(candidates.platform, "node", lambda: "another")
    savings(save="latency", latency_batches="64").of(block)
    assert calls[2:] == [(64,)]
