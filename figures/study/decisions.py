"""Measures what changes where the paper is silent and a decision is taken otherwise.

python figures/study/decisions.py --data_dir=... [--output=FOLDER]

On 2,000 training and 2,000 test images of CIFAR-10, block 3 alone, three seeds: first as
decided, then with one decision changed at a time, by the method that it bears on. What does not
bear on the parent shares the first one. Prints the table of `docs/reproduction.md`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from deep_net_triage.findings import verdict
from deep_net_triage.records import results

RUN = Path(__file__).resolve().parent.parent.parent / "run_triage.py"
BASE = (
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
DECIDED = "as decided"
# By what is changed: the method that shows it, whether the parent changes with it, the flags.
DECISIONS = {
    "mean over channels": ("cl_mw", False, ("--mean_over=channel",)),
    "dropout 0.5": ("cm_rw", True, ("--dropout=0.5",)),
    "batch-norm momentum 0.99": ("cl_rw", True, ("--batchnorm_momentum=0.99",)),
    "SGD at 0.01": ("cm_rw", True, ("--optimizer=sgd", "--learning_rate=0.01")),
    "flips and crops": ("cm_rw", True, ("--augment=flip_crop",)),
    "1 epoch of distillation": ("stn", False, ("--distill_epochs=1",)),
    "20 epochs of distillation": ("stn", False, ("--distill_epochs=20",)),
}


def main() -> None:
    """Runs what has not been run yet, and prints what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--output", type=Path, default=Path("runs/decisions"))
    asked = parser.parse_args()
    data = (f"--data_dir={asked.data_dir}",) if asked.data_dir else ()

    def study(name: str, *flags: str) -> results.StudyResults:
        folder = asked.output / name.replace(" ", "-")
        command = [sys.executable, str(RUN), *BASE, *data, *flags, f"--output_dir={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return results.read_study(folder / "cifar10")

    methods = dict.fromkeys(method for method, _, _ in DECISIONS.values())
    decided = study(DECIDED, f"--method={','.join(methods)}")
    print("| decision | method | parent | as decided | changed | epochs to 99 % |")
    print("|---|---|---|---|---|---|")
    for name, (method, of_parent, flags) in DECISIONS.items():
        if not of_parent:
            flags = (*flags, f"--parent={decided.folder / 'parent' / 'model.keras'}")
        changed = study(name, f"--method={method}", *flags)
        print(line(name, method, decided, changed), flush=True)


def line(
    name: str, method: str, decided: results.StudyResults, changed: results.StudyResults
) -> str:
    """Returns a row: parents, accuracies against them, and epochs, before and after."""
    parents = [f"{100 * study.baseline_accuracy:.1f}" for study in (decided, changed)]
    cells, epochs = [], []
    for study in (decided, changed):
        rows = [row for row in study.rows if row["method"] == method]
        accuracy = 100 * results.mean(row["max_accuracy"] for row in rows)
        difference = verdict.against_parent(study, method, "block3").text("", 100)
        cells.append(f"{accuracy:.1f} ({' '.join(difference.split())})")
        epochs.append(f"{results.mean(row['epochs_to_99'] for row in rows):.1f}")
    columns = (name, method, ", ".join(parents), *cells, ", ".join(epochs))
    return f"| {' | '.join(columns)} |"


if __name__ == "__main__":
    main()
