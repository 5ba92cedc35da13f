"""Runs the folds of `docs/folds.md` one after another, and copies their small files here.

python figures/folds/run.py --dataset=cifar10 [--data_dir=FOLDER] [--folds=0,1]

The same command continues where it was stopped; a finished fold takes seconds.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from fold_results import PLANNED

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(1, str(HERE.parent / "study"))
import collect  # noqa: E402 - copies the first study's files as well

FOLDS = 6


def main() -> int:
    """Returns the exit code of the first fold that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=PLANNED, required=True)
    parser.add_argument("--data_dir", help="the folder of TFDS's data")
    parser.add_argument("--folds", help="comma-separated; all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="for models")
    arguments = parser.parse_args()
    chosen = (
        arguments.folds.split(",")
        if arguments.folds
        else map(str, range(PLANNED[arguments.dataset]))
    )
    for fold in chosen:
        output = arguments.runs / f"fold{fold}"
        flags = flags_of(arguments.dataset, fold, output, arguments.data_dir)
        program = [sys.executable, str(REPOSITORY / "run_triage.py")]
        ended = subprocess.run([*program, *flags], check=False).returncode
        if ended:
            return ended
        collect.keep(output / arguments.dataset, HERE / arguments.dataset / f"fold{fold}")
    return 0


def flags_of(dataset: str, fold: str, output: Path, data_dir: str | None) -> list[str]:
    """Returns the flags of one fold's study; its number is the seed of parent and students."""
    flags = [
        f"--flagfile={REPOSITORY / 'flags' / 'study' / 'folds.flags'}",
        f"--dataset={dataset}",
        f"--fold={fold}/{FOLDS}",
        f"--parent_seed={fold}",
        f"--seeds={fold}",
        f"--output_dir={output}",
    ]
    return [*flags, f"--data_dir={data_dir}"] if data_dir else flags


if __name__ == "__main__":
    sys.exit(main())
