"""Writes the pages and pictures of the examples again from their committed files.

python figures/own_model/remake.py [--output=FOLDER]

An example is a study of a network that was made smaller. Its files, all but the models, are in
a folder here. `<name>.html` is its page, `<name>.png` the figure of its compression.
`picture.py` takes `page.png`.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path

import keras
import train_resnet

from deep_net_triage.findings import presentation, rivals
from deep_net_triage.network import blocks
from deep_net_triage.network.vgg16 import VGG16
from deep_net_triage.progress import Progress
from deep_net_triage.records.study_results import read_study

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Writes them beside this file, or into another folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE)
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    remake(HERE / "resnet", train_resnet.build(), output)
    pixels = {"mean": (0, 0, 0), "deviation": (1, 1, 1)}
    vgg16 = VGG16((32, 32, 3), classes=10, image_size=32, width=0.5, **pixels)
    remake(HERE / "vgg16", vgg16.build(), output)


def remake(study: Path, parent: keras.Model, output: Path) -> None:
    """Writes the page and the figure of one example.

    Args:
        study: the folder with its files.
        parent: its network; no weight is looked at.
        output: the folder to write to.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / study.name
        shutil.copytree(study, copy)
        results, found = read_study(copy), blocks.find_blocks(parent)
        silent, smaller = Progress(io.StringIO()), rivals.read(results)
        allowed = smaller.compression.max_drop
        presentation.present(results, parent, found, allowed, silent, smaller)
        shutil.copy(copy / "report.html", output / f"{study.name}.html")
        shutil.copy(copy / "figures" / "compression.png", output / f"{study.name}.png")


if __name__ == "__main__":
    main()
