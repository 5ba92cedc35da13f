"""Draws Figure 1: a block of the parent beside the single layer that replaces it."""

import sys
from pathlib import Path

from commandline import main
from matplotlib.figure import Figure

from deep_net_triage import devices
from deep_net_triage.findings import structures


def draw(studies: list[Path]) -> Figure:
    """Returns the figure for the largest block of the first study's parent."""
    devices.import_tensorflow()
    from deep_net_triage.network import blocks, surgery
    from deep_net_triage.records import models

    parent = models.load(studies[0] / "parent" / "model.keras")
    found = blocks.find_blocks(parent)
    block = blocks.largest(found)
    student = surgery.compress(parent, block, initializer="glorot_uniform", seed=0)
    return structures.draw(parent, student, block, found)


if __name__ == "__main__":
    sys.exit(main(__file__, __doc__, draw))
