"""Runs the folds of `docs/folds.md` one after another, and copies their small files here.

python figures/folds/run.py --dataset=cifar10 [--part=plan] [--data_dir=FOLDER] [--folds=0,1]

The same command continues where it was stopped; a finished fold takes seconds. Two folds at
once, each on a core of its own, take less time than one after the other on two: begin the
command with `taskset -c 0` and `--folds=0,1,2`, and again with `taskset -c 1` and the others.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fold_results import PLANNED

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(1, str(HERE.parent / "study"))
import collect  # noqa: E402 - copies the first study's files as well

FOLDS = 6


@dataclass(frozen=True)
class Part:
    """One part of the study.

    Attributes:
        folds: how many folds are run; None for as many as the plan has for the data set.
        seeds: added to a fold's number, for the seeds of its parent and students.
        flags: in which it differs from the plan's folds.
    """

    folds: int | None
    seeds: int = 0
    flags: tuple[str, ...] = ()


PARTS = {
    "plan": Part(folds=None),
    "geometry": Part(
        folds=2,
        flags=(
            "--image_size=64",
            "--block=block1,block3,block5",
            "--method=cl_rw,cm_rw,stn,stn_cm,control",
        ),
    ),
    "recipe": Part(folds=2, flags=("--recipe=paper", "--augment_copies=0")),
    "repeated": Part(folds=1, seeds=10),
}


def main() -> int:
    """Returns the exit code of the first fold that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=PLANNED, required=True)
    parser.add_argument("--part", choices=PARTS, default="plan")
    parser.add_argument("--data_dir", help="the folder of TFDS's data")
    parser.add_argument("--folds", help="comma-separated; all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="for models")
    arguments = parser.parse_args()
    dataset, part = arguments.dataset, arguments.part
    runs, copies = (
        folder if part == "plan" else folder / part for folder in (arguments.runs, HERE)
    )
    count = PARTS[part].folds or PLANNED[dataset]
    for fold in arguments.folds.split(",") if arguments.folds else map(str, range(count)):
        output = runs / f"fold{fold}"
        flags = flags_of(dataset, part, fold, output, arguments.data_dir)
        program = [sys.executable, str(REPOSITORY / "run_triage.py")]
        ended = subprocess.run([*program, *flags], check=False).returncode
        if ended:
            return ended
        collect.keep(output / dataset, copies / dataset / f"fold{fold}")
    return 0


def flags_of(
    dataset: str, part: str, fold: str, output: Path, data_dir: str | None
) -> list[str]:
    """Returns the flags of one fold's study."""
    seed = int(fold) + PARTS[part].seeds
    flags = [
        "--flagfile=flags/study/folds.flags",
        f"--dataset={dataset}",
        f"--fold={fold}/{FOLDS}",
        f"--parent_seed={seed}",
        f"--seeds={seed}",
        f"--output_dir={output}",
        *PARTS[part].flags,
    ]
    return [*flags, f"--data_dir={data_dir}"] if data_dir else flags


if __name__ == "__main__":
    sys.exit(main())
