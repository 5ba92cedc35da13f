"""Copies the small files of a finished study into this folder, to be committed.

python figures/study/collect.py --study=runs/mnist [--repeated]

It copies everything but models, pictures, the page, and what is correct after the last epoch
where that is the chosen one. `figures/study/remake.py` draws all studies together. The paths of
data, given parents and results are removed, and flag files are named from the repository on.
"""

import argparse
import contextlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from deep_net_triage.errors import InputError
from deep_net_triage.records import files, results
from deep_net_triage.wording import listed

HERE = Path(__file__).resolve().parent
NAMES = ("result.json", "epochs.jsonl", results.CORRECT, results.FINAL_CORRECT)
PATTERNS = (
    "results.csv",
    *(f"{folder}/{name}" for folder in ("parent", "trials/*") for name in NAMES),
)
PATHS = ("--data_dir=", "--output_dir=", "--parent=")
# The last parts of a given parent's path: folder, data set, `parent`, `model.keras`.
PARTS = 4


def main() -> None:
    """Copies the study that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="<output_dir>/<dataset>")
    parser.add_argument("--repeated", action="store_true", help="beside the committed one")
    arguments = parser.parse_args()
    folder = HERE / "repeated" if arguments.repeated else HERE
    try:
        print(keep(arguments.study, folder / arguments.study.resolve().name))
    except InputError as error:
        parser.error(str(error))


def run(flags: Iterable[str], output: Path) -> None:
    """Runs the program with some flags; its study goes into a folder of `output`.

    Raises:
        CalledProcessError: if it fails.
    """
    program = HERE.parent.parent / "run_triage.py"
    command = [sys.executable, str(program), *flags, f"--output_dir={output}"]
    subprocess.run(command, check=True)


def keep(study: Path, copied: Path) -> Path:
    """Copies the small files of a study, and returns the folder of the copy.

    Args:
        study: the study's folder.
        copied: the folder of the copy; an earlier copy in it is replaced.

    Raises:
        InputError: if the folder holds no study, or is the copy itself.
    """
    needed = ("results.csv", "study.json", "parent/result.json")
    if study.resolve() == copied.resolve() or not all((study / n).is_file() for n in needed):
        raise InputError(f"{study} is no study that a command left: it needs {listed(needed)}")
    # Under its own name a copy is whole: `results.csv` in it says that a fold is done. Until
    # then it lies one folder deeper, where no analysis looks for studies.
    unfinished = copied.parent / "unfinished"
    whole, copied = copied, unfinished / copied.name
    shutil.rmtree(copied, ignore_errors=True)
    for pattern in PATTERNS:
        for file in sorted(study.glob(pattern)):
            if file.name == results.FINAL_CORRECT and _is_the_chosen(file):
                continue
            copy = copied / file.relative_to(study)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for name in ("study.json", "parent/result.json"):
        content = files.read_json(study / name)
        if "parent" in content["settings"]:
            parts = Path(content["settings"]["parent"]).parts
            content["settings"]["parent"] = str(Path(*parts[-PARTS:]))
        for run in content.get("commands", ()):
            words = shlex.split(run["command"])
            kept = (_relative(word) for word in words if not word.startswith(PATHS))
            run["command"] = shlex.join(kept)
        files.write_json(copied / name, content)
    shutil.rmtree(whole, ignore_errors=True)
    copied.rename(whole)
    with contextlib.suppress(OSError):  # another copy is in it
        unfinished.rmdir()
    return whole


def _is_the_chosen(final: Path) -> bool:
    """Returns whether the last epoch's file equals that of the chosen epoch beside it."""
    return final.read_bytes() == final.with_name(results.CORRECT).read_bytes()


def _relative(word: str) -> str:
    """Returns a word of a command, without the repository's path if it names a flag file."""
    flag, equals, path = word.partition("=")
    _, flags, name = path.rpartition("/flags/")
    return f"{flag}{equals}flags/{name}" if flag == "--flagfile" and flags else word


if __name__ == "__main__":
    main()
