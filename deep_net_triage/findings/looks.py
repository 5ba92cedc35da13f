"""What all figures share: colours, markers, legends and names."""

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deep_net_triage.methods import METHODS

# The paper's data sets as the literature writes them.
TITLES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "stanford_dogs": "Stanford Dogs",
}
BASELINE = "#F0E442"
NOISE = {"facecolor": "#FBF8CC", "edgecolor": "none"}
INK = "#333333"
GRID = "#E5E5E5"
DPI = 200


def title(dataset: str) -> str:
    """Returns a data set's name for figures; those of the paper have a title of their own."""
    return TITLES.get(dataset, dataset)


def marker_style(method: str) -> dict[str, object]:
    """Returns a method's marker, filled if it retrains the whole model, else hollow."""
    row = METHODS[method]
    colour = row.colour
    filled = row.updates == "model"
    return {
        "marker": row.marker,
        "ls": "",
        "ms": 6.5,
        "mec": colour,
        "mfc": colour if filled else "white",
        "mew": 1.6,
    }


def marker(method: str) -> Line2D:
    """Returns a method's entry for a legend."""
    return Line2D([], [], label=METHODS[method].title, **marker_style(method))


def parent() -> Line2D:
    """Returns the parent's entry for a legend."""
    return Line2D([], [], color=BASELINE, lw=2.5, path_effects=outline(), label="parent")


def outline() -> list[patheffects.AbstractPathEffect]:
    """Returns a thin dark edge; yellow alone is hard to see on white paper."""
    return [patheffects.Stroke(linewidth=4, foreground=INK), patheffects.Normal()]


def legend(figure: Figure, handles: list) -> None:
    """Adds a legend below a figure's panels."""
    columns = min(len(handles), 3 if figure.get_figwidth() < 7 else 8)  # what fits the width
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )


def prepare(panel: Axes) -> None:
    """Gives a panel the frame and the grid of all figures."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(axis="y", color=GRID, lw=0.7)
    panel.set_axisbelow(True)
