import pytest

from deep_net_triage import wording


@pytest.mark.parametrize(
    ("max_drop", "text"),
    [(0.01, "1.0 points"), (0.0025, "0.25 points"), (0.07, "7.0 points"), (0.0, "0.0 points")],
)
def test_what_may_be_lost_is_not_rounded(max_drop, text):
    assert wording.allowed(max_drop) == text


@pytest.mark.parametrize("images", [37, 999, 1000, 2000, 9999])
def test_one_image_more_changes_an_accuracy_as_it_is_shown(images):
    right = images // 2
    shown = {
        wording.percent(count / images, wording.decimals(images))
        for count in (right, right + 1)
    }
    assert len(shown) == 2
