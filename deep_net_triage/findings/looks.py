"""What all figures share: colours, markers, legends and names."""

import math
import re
import statistics
from collections.abc import Collection

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from deep_net_triage.methods import METHODS

# The paper's data sets as the literature writes them.
TITLES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "stanford_dogs": "Stanford Dogs",
}
BASELINE = "#F0E442"
INK = "#333333"
GRID = "#E5E5E5"
DPI = 300
_LINE = 26  # letters of a block's name that stand in one line
# A point this many times as far below the parent as the median point is drawn at the edge: to
# scale it would squash all the others into one line.
_FAR = 10
_ROUND = {"marker": "o", "ms": 5, "mfc": "white"}


def title(dataset: str) -> str:
    """Returns a data set's name for figures; those of the paper have a title of their own."""
    return TITLES.get(dataset, dataset)


def block_title(name: str) -> str:
    """Returns a block's name for figures: `block1` is `Block 1`; other names stay."""
    return re.sub(r"^block(\d+)(?:_(first|last))?$", _block_title, name)


def in_two_lines(name: str) -> str:
    """Returns a block's name, in two lines (first and last layer) if it is long."""
    return name.replace("-", "-\n", 1) if len(name) > _LINE else name


def _block_title(name: re.Match[str]) -> str:
    number, half = name.groups()
    return f"Block {number}, {half} half" if half else f"Block {number}"


def trial_style(colour: str, censored: bool) -> dict[str, object]:
    """Returns a trial's marker: a circle, or a triangle if only its last epoch reached 99 %."""
    style = {"ls": "", "mec": colour, "mew": 1.2, "zorder": 3}
    return style | ({"marker": "^", "ms": 6, "mfc": colour} if censored else _ROUND)


def trial(censored: bool) -> Line2D:
    """Returns the legend's entry for the marker of `trial_style`."""
    label = "in the last epoch" if censored else "one trial"
    return Line2D([], [], label=label, **trial_style(INK, censored))


def farthest(drops: Collection[float]) -> float:
    """Returns the drop from the parent beyond which a point would squash all others."""
    usual = statistics.median(map(abs, drops)) if drops else 0.0
    return _FAR * usual or math.inf


def hatched(colour: str) -> dict[str, object]:
    """Returns the style of a box for the epochs of distillation."""
    return {"color": "white", "edgecolor": colour, "hatch": "////", "lw": 0.6, "zorder": 1}


def distilling() -> Patch:
    """Returns the legend's entry for a `hatched` box."""
    return Patch(fc="white", ec=INK, hatch="////", label="distillation")


def marker_style(method: str) -> dict[str, object]:
    """Returns a method's marker, filled if it retrains the whole model, else hollow."""
    row = METHODS[method]
    colour = row.colour
    filled = row.updates == "model"
    return {
        "marker": row.marker,
        "ls": "",
        "ms": 5.5,
        "mec": colour,
        "mfc": colour if filled else "white",
        "mew": 1.4,
    }


def marker(method: str) -> Line2D:
    """Returns a method's entry for a legend."""
    return Line2D([], [], label=METHODS[method].title, **marker_style(method))


def parent() -> Line2D:
    """Returns the parent's entry for a legend."""
    return Line2D([], [], color=BASELINE, lw=2.5, path_effects=outline(), label="parent")


def parent_line(panel: Axes, height: float) -> None:
    """Draws the parent's line across a panel, below everything else."""
    style = {"color": BASELINE, "lw": 2.5, "path_effects": outline(), "zorder": 1}
    panel.axhline(height, **style)


def interval() -> Line2D:
    """Returns the legend's entry for a 95 % interval."""
    return Line2D([], [], color=INK, lw=1.2, label="95 % interval")


def outline() -> list[patheffects.AbstractPathEffect]:
    """Returns a thin dark edge; yellow alone is hard to see on white paper."""
    return [patheffects.Stroke(linewidth=4, foreground=INK), patheffects.Normal()]


def legend(figure: Figure, handles: list) -> None:
    """Adds a legend below a figure's panels."""
    width = figure.get_figwidth()
    columns = 8 if width >= 7 else 3 if width >= 5 else 2  # what fits
    columns = min(len(handles), columns)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def prepare(panel: Axes) -> None:
    """Gives a panel the frame and the grid of all figures."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color=GRID, lw=0.7)
    panel.set_axisbelow(True)
