"""Tries learning rates for the studies' parent on part of CIFAR-10's training images.

python figures/study/search_parent.py --data_dir=... [--output=FILE]

Of 5,000 training images, 4,000 train and 1,000 judge; no test image is used. The best rate
serves all data sets, as the paper has one setting for all (footnote 2).
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import keras

from deep_net_triage.commands import command_line
from deep_net_triage.images import datasets, splits
from deep_net_triage.learning import whole_network
from deep_net_triage.progress import Progress
from deep_net_triage.records.journal import Journal
from deep_net_triage.study import plan
from deep_net_triage.study.watching import ShownTraining

HERE = Path(__file__).resolve().parent
# By learning rate; accuracies of the higher two were still rising after 30 epochs.
EPOCHS = {1e-4: 30, 3e-4: 30, 1e-3: 60, 3e-3: 60}


def main() -> None:
    """Trains a parent by each rate and writes every epoch's accuracy on the judging images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=HERE / "search_parent.json")
    arguments = parser.parse_args()
    images = datasets.load(
        "cifar10",
        image_size=32,
        data_dir=arguments.data_dir,
        train_examples=5000,
        test_examples=10,
    )
    images = splits.hold_out(images, 0.2)
    images = dataclasses.replace(images, test=images.validation, validation=None)
    curves = {}
    for rate, epochs in EPOCHS.items():
        curves[str(rate)] = accuracies(images, rate, epochs)
        arguments.output.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")


def accuracies(images: splits.Dataset, learning_rate: float, epochs: int) -> list[float]:
    """Returns the accuracy after each epoch of a parent that is trained at a learning rate."""
    flags = ["--recipe=paper", "--image_size=32", "--width=0.25", f"--parent_epochs={epochs}"]
    chosen = command_line.parse([*flags, f"--learning_rate={learning_rate}"])
    with tempfile.TemporaryDirectory() as scratch, Progress() as progress:
        watch = ShownTraining(progress, f"rate {learning_rate}", {"train": epochs})
        journal = Journal(Path(scratch) / "parent", {}, watch, progress.say)
        whole_network.train_parent(plan.untrained(chosen, images), images, chosen, journal)
    keras.backend.clear_session()
    return [epoch.val_accuracy for epoch in journal.epochs]


if __name__ == "__main__":
    main()
