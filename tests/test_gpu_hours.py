"""The plan for GPUs, `docs/scaling.md`, has the numbers of `python -m benchmarks.scaling`."""

import types

from benchmarks import scaling
from deep_net_triage.methods import METHODS
from tests.conftest import REPOSITORY


def test_the_tables_of_the_page_are_those_that_are_printed():
    page = (REPOSITORY / "docs" / "scaling.md").read_text()
    for table in (scaling.costs_of_blocks(), scaling.plan(sustained=50, efficiency=0.85)):
        assert [line for line in table if line not in page] == []


def test_a_parents_hours_by_hand():
    """A forward pass of VGG16 at 224 pixels takes 15.5 G multiply-accumulates.

    Each of 30 epochs has a step, of three passes, for each of 50,000 images, and one pass for
    each of 10,000; a GPU computes 50 T operations per second, two a multiply-accumulate.
    """
    hours = 30 * 15.5e9 * (3 * 50_000 + 10_000) * 2 / 50e12 / 3600
    rows = scaling.plan(sustained=50, efficiency=0.85)
    row = next(line for line in rows if line.startswith("| CIFAR-10 "))
    assert row.split(" | ")[1] == f"{hours:.1f} h"


def test_a_trials_multiply_accumulates_by_hand():
    place = scaling.Place("block2", 5, 7, 2, 3, received=1, returned=1)
    options = types.SimpleNamespace(epochs=4, distill_epochs=2)
    # The layer alone: forward and gradient of 2 + 3; 10 test images go forward. Distillation:
    # forward and gradient of 2, for 100 images and two epochs.
    assert place.trial(METHODS["stn"], 100, 10, options) == 4 * (10 * 100 + 5 * 10) + 800
    # The whole model: three passes of 5 + 2 + 3.
    assert place.trial(METHODS["cm_rw"], 100, 10, options) == 4 * (30 * 100 + 10 * 10)


def test_trials_wait_for_a_free_gpu_and_the_long_ones_start_first():
    # 5 and 2 on one GPU, 4 and 3 on the other.
    assert scaling.longest([2, 3, 4, 5], 2) == 7
    assert scaling.longest([2, 3, 4, 5], 8) == 5
