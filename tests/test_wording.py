import pytest

from deep_net_triage import wording


@pytest.mark.parametrize(
    ("max_drop", "text"),
    [(0.01, "1.0 points"), (0.0025, "0.25 points"), (0.07, "7.0 points"), (0.0, "0.0 points")],
)
def test_what_may_be_lost_is_not_rounded(max_drop, text):
    assert wording.allowed(max_drop) == text
