"""Measures how the results change if a decision that the paper leaves open is made differently.

python figures/study/decisions.py --data_dir=... [--output=FOLDER]

It runs block 3 on 2,000 training and 2,000 test images of CIFAR-10 with three seeds: first as
decided, then with one decision changed at a time, by a method that the decision affects. Where
the decision does not affect the parent, the first run's parent is used. Finished runs are not
repeated. Their small files are copied to `decisions/`, from which `remake.py` makes a table.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from collect import keep, run

from deep_net_triage.methods import CONTROL

HERE = Path(__file__).resolve().parent
SETTINGS = (
    "--precision=float32",
    "--parallel_trials=1",
    "--recipe=paper",
    "--dataset=cifar10",
    "--image_size=32",
    "--width=0.25",
    "--train_examples=2000",
    "--test_examples=2000",
    "--parent_epochs=40",
    "--epochs=8",
    "--distill_epochs=5",
    "--block=3",
    "--seeds=0,1,2",
)
DECIDED = "as_decided"
FAST, SLOW = "--learning_rate=0.01", "--learning_rate=0.0001"


@dataclass(frozen=True)
class Change:
    """A decision made differently.

    Attributes:
        name: the name of its run's folder.
        decided: the default, in words.
        otherwise: what is tried instead, in words.
        method: the method that tries it.
        flags: its flags on the command line, separated by spaces.
        of_parent: whether the parent is trained differently as well.
    """

    name: str
    decided: str
    otherwise: str
    method: str
    flags: str
    of_parent: bool = False


CHANGES = (
    Change("channel", "mean over the block", "per channel", "cl_mw", "--mean_over=channel"),
    Change("distill_1", "5 epochs of distillation", "1", "stn", "--distill_epochs=1"),
    Change("distill_20", "5 epochs of distillation", "20", "stn", "--distill_epochs=20"),
    Change("slowly", "retrained at 0.001", "0.0001", "cm_rw", SLOW),
    Change("slowly_layer", "retrained at 0.001", "0.0001", "cl_rw", SLOW),
    Change("slowly_control", "retrained at 0.001", "0.0001", CONTROL, SLOW),
    Change("epochs", "8 epochs of retraining", "24", "cm_rw", "--epochs=24"),
    Change("dropout", "no dropout", "0.5", "cm_rw", "--dropout=0.5", True),
    Change("momentum", "momentum 0.9", "0.99", "cl_rw", "--batchnorm_momentum=0.99", True),
    Change("sgd", "Adam, 0.001", "SGD, 0.01", "cm_rw", f"--optimizer=sgd {FAST}", True),
    Change("batches", "batches of 32", "128", "cm_rw", "--batch_size=128", True),
    Change("flips", "images as they are", "flips, crops", "cm_rw", "--augment=flip_crop", True),
    # Sums of two half batches round differently: after 40 epochs it is another parent.
    Change("rounded", "one device", "two replicas", "cm_rw", "--replicas=2", True),
)


def main() -> None:
    """Runs what has not been run yet, and copies the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/decisions"))
    arguments = parser.parse_args()
    data = (f"--data_dir={arguments.data_dir}",) if arguments.data_dir else ()
    methods = ",".join(dict.fromkeys(change.method for change in CHANGES))
    runs = {DECIDED: (f"--method={methods}",)}
    parent = f"--parent={arguments.output / DECIDED / 'cifar10' / 'parent' / 'model.keras'}"
    for change in CHANGES:
        shared = () if change.of_parent else (parent,)
        runs[change.name] = (f"--method={change.method}", *change.flags.split(), *shared)
    for name, flags in runs.items():
        folder = arguments.output / name
        run((*SETTINGS, *data, *flags), folder)
        keep(folder / "cifar10", HERE / "decisions" / name)


if __name__ == "__main__":
    main()
