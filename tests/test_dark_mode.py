"""Figures in the page can be read where the screen asks for dark."""

import re

import pytest

from deep_net_triage.findings import compression_path, drawings, structures
from deep_net_triage.methods import METHODS
from tests.conftest import REPOSITORY

STYLE = (REPOSITORY / "deep_net_triage" / "findings" / "report.css").read_text()
LIGHT, DARK = (
    dict(re.findall(r"--(\w+): (#\w{6});", block))
    for block in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[:2]
)


def shown(colour, theme):
    """What the page makes of a colour that matplotlib writes."""
    variable = drawings._THEMED.get(colour.lower())
    return theme[variable.removeprefix("var(--").removesuffix(")")] if variable else colour


def contrast(one, other):
    """The contrast of two colours by WCAG 2, from 1 to 21."""

    def luminance(colour):
        parts = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def test_contrasts_by_hand():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_in_the_boxes_of_layers(theme):
    for _, box in structures._KINDS.values():
        assert contrast(shown(box, theme), theme["ink"]) > 4.5, box


def test_markers_stand_out_from_the_dark_page():
    markers = [method.colour for method in METHODS.values()]
    markers += [colour for _, colour in compression_path._MARKS.values()]
    for colour in markers:
        assert contrast(shown(colour, DARK), DARK["paper"]) > 3, colour
