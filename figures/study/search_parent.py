"""Tries learning rates for the studies' parent on part of CIFAR-10's training images.

python figures/study/search_parent.py --data_dir=... [--output=FILE]

Of 5,000 training images 4,000 train and 1,000 judge; no test image is used. What is found
serves all data sets, as the paper has one setting for all (footnote 2).
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import keras

from deep_net_triage.commands import settings
from deep_net_triage.images import datasets
from deep_net_triage.records import results
from deep_net_triage.records.journal import Journal
from deep_net_triage.study import parents

HERE = Path(__file__).resolve().parent
# By learning rate; the higher two were still rising after 30.
EPOCHS = {1e-4: 30, 3e-4: 30, 1e-3: 60, 3e-3: 60}


def main() -> None:
    """Trains a parent by each rate and writes every epoch's accuracy on the judging images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=HERE / "search_parent.json")
    asked = parser.parse_args()
    images = datasets.load(
        "cifar10",
        image_size=32,
        data_dir=asked.data_dir,
        train_examples=5000,
        test_examples=10,
    )
    images = datasets.hold_out(images, 0.2)
    images = dataclasses.replace(images, test=images.validation, validation=None)
    found = {}
    for rate, epochs in EPOCHS.items():
        found[str(rate)] = accuracies(images, rate, epochs)
        asked.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def accuracies(images: datasets.Dataset, learning_rate: float, epochs: int) -> list[float]:
    """Returns the accuracy after each epoch of a parent trained by a rate."""
    wanted = ["--image_size=32", "--width=0.25", f"--parent_epochs={epochs}"]
    chosen = settings.from_command_line([*wanted, f"--learning_rate={learning_rate}"])

    def watch(record: dict[str, object]) -> None:
        print(f"{learning_rate}: epoch {record['epoch']}: {record['val_accuracy']}", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "parent"
        parent = parents.untrained(chosen, images)
        parents.train(parent, chosen, images, None, Journal(folder, {}, watch, print))
        records = results.read_epochs(folder)
    keras.backend.clear_session()
    return [record["val_accuracy"] for record in records]


if __name__ == "__main__":
    main()
