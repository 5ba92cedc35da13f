"""Measures what each ingredient of the settled recipe does alone.

python figures/study/ingredients.py --data_dir=... [--output=FOLDER] [--only=NAME,NAME]

It runs block 3 on 2,000 training and 1,000 test images of CIFAR-10 with two seeds: by the
paper's recipe, by that recipe with one ingredient of the settled recipe at a time, and by the
settled recipe. Where an ingredient does not affect the parent, the first run's parent is used.
Finished runs are not repeated. Their small files are copied to `ingredients/`, from which
`remake.py` makes a table.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from collect import keep, run

HERE = Path(__file__).resolve().parent
SETTINGS = (
    "--precision=float32",
    "--parallel_trials=1",
    "--recipe=paper",
    "--dataset=cifar10",
    "--image_size=32",
    "--width=0.25",
    "--train_examples=2000",
    "--test_examples=1000",
    "--parent_epochs=16",
    "--epochs=5",
    "--method=cl_rw,cm_rw,control",
    "--block=3",
    "--seeds=0,1",
)
PAPER = "paper"


@dataclass(frozen=True)
class Ingredient:
    """A part of the settled recipe.

    Attributes:
        words: what it is.
        flags: its flags on the command line, separated by spaces.
        of_parent: whether it changes the parent's training as well.
    """

    words: str
    flags: str
    of_parent: bool = False


# By the name of the run's folder.
RUNS = {
    PAPER: Ingredient("as it is", "", of_parent=True),
    "cosine": Ingredient(
        "the rate falls by a cosine", "--schedule=cosine --warmup_epochs=1", True
    ),
    "flips": Ingredient(
        "flips and crops", "--augment=flip_crop --augment_copies=0", of_parent=True
    ),
    "decay": Ingredient("weight decay", "--optimizer=adamw --weight_decay=0.05", True),
    "smoothing": Ingredient("smoothed labels", "--label_smoothing=0.1", True),
    "momentum": Ingredient(
        "batch norms' momentum 0.97, not 0.9", "--batchnorm_momentum=0.97", of_parent=True
    ),
    "aligned": Ingredient("aligned filters", "--block_start=aligned"),
    "rates": Ingredient(
        "two rates", "--retrain_learning_rate=0.0001 --layer_learning_rate=0.01"
    ),
    "settled": Ingredient(
        "all of them, but images as they are for CL-RW", "--recipe=settled", of_parent=True
    ),
}


def main() -> None:
    """Runs what has not been run yet, and copies the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/ingredients"))
    parser.add_argument("--only", default="", help="names of runs, separated by commas")
    arguments = parser.parse_args()
    data = (f"--data_dir={arguments.data_dir}",) if arguments.data_dir else ()
    parent = f"--parent={arguments.output / PAPER / 'cifar10' / 'parent' / 'model.keras'}"
    for name, ingredient in RUNS.items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        shared = () if ingredient.of_parent else (parent,)
        folder = arguments.output / name
        run((*SETTINGS, *data, *ingredient.flags.split(), *shared), folder)
        keep(folder / "cifar10", HERE / "ingredients" / name)


if __name__ == "__main__":
    main()
