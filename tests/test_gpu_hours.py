"""The plan for GPUs, `docs/scaling.md`, has the numbers of `python -m benchmarks.scaling`."""

from benchmarks import scaling
from tests.conftest import REPOSITORY


def test_the_tables_of_the_page_are_those_that_are_printed():
    page = (REPOSITORY / "docs" / "scaling.md").read_text()
    for table in (scaling.costs_of_blocks(), scaling.plan(sustained=50, efficiency=0.85)):
        assert [line for line in table if line not in page] == []


def test_trials_wait_for_a_free_gpu_and_the_long_ones_start_first():
    # 5 and 2 on one GPU, 4 and 3 on the other.
    assert scaling.longest([2, 3, 4, 5], 2) == 7
    assert scaling.longest([2, 3, 4, 5], 8) == 5
