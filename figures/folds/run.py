"""Runs the folds of a part of `docs/folds.md`, and copies their small files here.

python figures/folds/run.py --dataset=cifar10 [--part=plan] [--data_dir=FOLDER] [--folds=0,1]

The same command continues where it was stopped; folds that have been copied are not run again.
Two folds at once, each on a core of its own, take less time than one after the other on two:
begin the command with `taskset -c 0` and `--folds=0,1,2`, and again with `taskset -c 1` and the
others.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fold_results import DECIDING, FOLDS, PLANNED

from deep_net_triage.methods import NO_BLOCK
from deep_net_triage.records import provenance
from deep_net_triage.records.results import Failure
from deep_net_triage.records.study_results import read_trials

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(1, str(HERE.parent / "study"))
import collect  # noqa: E402 - copies the first study's files as well

# A trial that fails is repeated once, with a seed that is larger by this.
OTHER_SEED = 100


@dataclass(frozen=True)
class Part:
    """One part of the study.

    Attributes:
        datasets: of which it is run.
        folds: how many folds are run; None for as many as the plan has for the data set.
        seeds: added to a fold's number, for the seeds of its parent and students.
        flags: in which it differs from the plan's folds.
    """

    datasets: tuple[str, ...]
    folds: int | None
    seeds: int = 0
    flags: tuple[str, ...] = ()


PARTS = {
    "plan": Part(tuple(PLANNED), folds=None),
    "geometry": Part(
        ("cifar10",),
        folds=2,
        flags=(
            "--image_size=64",
            "--block=block1,block3,block5",
            "--method=cl_rw,cm_rw,stn,stn_cm,control",
        ),
    ),
    "recipe": Part(("cifar10",), folds=2, flags=("--recipe=paper", "--augment_copies=0")),
    "repeated": Part(DECIDING, folds=1, seeds=10),
}


def main() -> int:
    """Returns 0, or the exit code of the first command that was cut short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", choices=PLANNED, required=True)
    parser.add_argument("--part", choices=PARTS, default="plan")
    parser.add_argument("--data_dir", help="the folder of TFDS's data")
    parser.add_argument("--folds", help="comma-separated; all by default")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="for models")
    arguments = parser.parse_args()
    dataset, part = arguments.dataset, arguments.part
    if dataset not in PARTS[part].datasets:
        allowed = ", ".join(PARTS[part].datasets)
        parser.error(f"--part={part} is not run of {dataset}; allowed: {allowed}")
    runs, copies = (
        folder if part == "plan" else folder / part for folder in (arguments.runs, HERE)
    )
    count = PARTS[part].folds or PLANNED[dataset]
    for fold in arguments.folds.split(",") if arguments.folds else map(str, range(count)):
        output, copy = runs / f"fold{fold}", copies / dataset / f"fold{fold}"
        if (copy / "results.csv").is_file():
            print(f"fold {fold} has been copied to {copy}")
            continue
        flags = flags_of(dataset, part, fold, output, arguments.data_dir)
        for command in commands(flags, output / dataset):
            ended = run_triage(command)
            # 1 says that trials failed; they are repeated once, however that ends. It also says
            # that an error, such as a full disk, stopped the study.
            if ended not in (0, 1) or not is_complete(output / dataset):
                return ended or 1
        collect.keep(output / dataset, copy)
    return 0


def run_triage(flags: Sequence[str]) -> int:
    """Returns the exit code of the program with some flags."""
    program = [sys.executable, str(REPOSITORY / "run_triage.py")]
    return subprocess.run([*program, *flags], check=False).returncode


def is_complete(study: Path) -> bool:
    """Returns whether a study's last command reached its end."""
    ran = provenance.read(study / "study.json").commands
    return bool(ran) and ran[-1].seconds is not None


def commands(flags: list[str], study: Path) -> Iterator[list[str]]:
    """Yields the flags of a fold's commands: all trials, then each that failed once more."""
    yield flags
    yield from [[*flags, *once_more(failure)] for failure in failures(study)]


def failures(study: Path) -> list[Failure]:
    """Returns the trials of a study that failed and have not been repeated."""
    ended = {
        tuple(result.settings[name] for name in ("method", "block", "seed")): result
        for result in read_trials(study).values()
    }
    return [
        result
        for (method, block, seed), result in ended.items()
        if isinstance(result, Failure)
        and seed < OTHER_SEED
        and (method, block, seed + OTHER_SEED) not in ended
    ]


def once_more(failure: Failure) -> list[str]:
    """Returns the flags, after those of its fold, that repeat a trial with another seed."""
    method, block, seed = (failure.settings[name] for name in ("method", "block", "seed"))
    # Without --nocontrol a student's repetition would train another control.
    chosen = [] if block == NO_BLOCK else [f"--block={block}", "--nocontrol"]
    return [f"--method={method}", f"--seeds={seed + OTHER_SEED}", *chosen]


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
