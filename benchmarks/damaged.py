"""Damages each file of a study, runs the study again, and checks the outcome.

python -m benchmarks.damaged [--cuts=20] [--seed=0]

There are three tiny deterministic studies: a finished one, and two that were killed while they
trained a trial or the parent. Each of their files is truncated at random positions, and once
has twenty random bytes changed; each damage is tried alone. The same command must then either
give every number and weight of an undisturbed study, or print one line and exit with an error
code.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import killed

FLAGS = (
    "--method=stn",
    "--block=5",
    "--width=0.02",
    "--train_examples=60",
    "--test_examples=30",
    "--batch_size=30",
    "--parent_epochs=2",
    "--epochs=2",
    "--distill_epochs=2",
    "--deterministic",
)


def main() -> None:
    """Prints one line per damage, and the number of each outcome."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    killed.import_everything()
    with tempfile.TemporaryDirectory() as folder:
        tally = damage_each(Path(folder), options.cuts, random.Random(options.seed))
    print(", ".join(f"{count} {ending}" for ending, count in tally.items()))
    sys.exit(tally["wrong"] > 0)


def damage_each(folder: Path, cuts: int, generator: random.Random) -> dict[str, int]:
    """Returns how many damages were repaired, refused in one line, or gave a wrong outcome."""
    expected = folder / "undisturbed"
    studies = {"finished": expected}
    assert killed.Study(expected, FLAGS).wait() == 0
    for name, place in (("trial", "trials/stn-block5-seed0"), ("parent", "parent")):
        studies[f"killed in its {name}"] = folder / name
        _run_until(folder / name, folder / name / "digits" / place / "checkpoint-2.npz")
    tally = {"mended": 0, "refused by a line": 0, "wrong": 0}
    for state, study in studies.items():
        for file in sorted(path for path in study.rglob("*") if path.is_file()):
            if state != "finished" and file.name not in _OF_A_TRAINING:
                continue
            for number in range(cuts + 1):
                copy = folder / "damaged"
                shutil.copytree(study, copy)
                damage = _damage(copy / file.relative_to(study), number < cuts, generator)
                code, printed = _run(copy, folder / "printed")
                ending = _outcome(code, printed, expected, copy)
                shutil.rmtree(copy)
                tally[ending.partition(":")[0]] += 1
                name = file.relative_to(study)
                print(f"{state}: {name}, {damage}: {ending}", flush=True)
    return tally


_OF_A_TRAINING = ("epochs.jsonl", "checkpoint-1.npz", "checkpoint-2.npz")


def _run_until(folder: Path, file: Path) -> None:
    """Starts a study and kills it as soon as a file exists."""
    process = killed.Study(folder, FLAGS)
    while not file.exists():
        pass
    os.kill(process.process, signal.SIGKILL)
    process.wait()


def _damage(file: Path, cut: bool, generator: random.Random) -> str:
    content = bytearray(file.read_bytes())
    if cut:
        at = generator.randrange(len(content))
        del content[at:]
        description = f"cut at {at}"
    else:
        for _ in range(20):
            content[generator.randrange(len(content))] ^= generator.randrange(1, 256)
        description = "20 bytes changed"
    file.write_bytes(content)
    return description


def _run(study: Path, printed: Path) -> tuple[int, str]:
    code = killed.Study(study, FLAGS, lambda: _print_to(printed)).wait()
    return code, printed.read_text(errors="replace")


def _print_to(file: Path) -> None:
    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)


def _outcome(code: int, printed: str, expected: Path, found: Path) -> str:
    if code == 0:
        differing = killed.differences(expected, found)
        return f"wrong: {'; '.join(differing)}" if differing else "mended"
    one_line = printed.startswith("run_triage.py: ") and printed.count("\n") == 1
    if code in (1, 2) and one_line:
        return f"refused by a line: {printed.strip()[:150]}"
    return f"wrong: exit code {code}, {printed.strip()[-150:]}"


if __name__ == "__main__":
    main()
