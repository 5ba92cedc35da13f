"""Draws Figure 2: test accuracy by compressed block and method, beside the parent's."""

import sys
from pathlib import Path

from commandline import main
from matplotlib.figure import Figure

from deep_net_triage.findings import plots
from deep_net_triage.records.study_results import read_study


def draw(studies: list[Path]) -> Figure:
    """Returns the figure, one panel for each data set."""
    return plots.accuracy([read_study(folder) for folder in studies])


if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, draw))
