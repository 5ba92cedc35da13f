"""Keeps of a finished study what is small and telling, beside this script.

python figures/study/collect.py --study=runs/mnist [--repeated]

That is all but its models, its pictures and its page; `figures/study/remake.py` draws all
studies together. It leaves out where data, given parents and results lay.
"""

import argparse
import shlex
import shutil
from pathlib import Path

from deep_net_triage.errors import InputError
from deep_net_triage.records import files

HERE = Path(__file__).resolve().parent
KEPT = ("results.csv", "*/result.json", "*/epochs.jsonl", "*/correct.npy")
PLACES = ("--data_dir=", "--output_dir=", "--parent=")
# Of a given parent's path: folder, data set, `parent`, `model.keras`.
OF_STUDY = 4


def main() -> None:
    """Keeps a study under its name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="<output_dir>/<dataset>")
    parser.add_argument("--repeated", action="store_true", help="beside the committed one")
    asked = parser.parse_args()
    kept = HERE / "repeated" if asked.repeated else HERE
    try:
        print(keep(asked.study, kept / asked.study.resolve().name))
    except InputError as error:
        parser.error(str(error))


def keep(study: Path, kept: Path) -> Path:
    """Copies a study's files to where they are kept, in place of those kept before.

    Raises:
        InputError: if there is no study, or it is the kept one itself.
    """
    if study.resolve() == kept.resolve() or not (study / "results.csv").is_file():
        raise InputError(f"{study} is no study that a command left: it needs its results.csv")
    shutil.rmtree(kept, ignore_errors=True)
    for pattern in (*KEPT, *(f"trials/{name}" for name in KEPT[1:])):
        for file in sorted(study.glob(pattern)):
            copy = kept / file.relative_to(study)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    for name in ("study.json", "parent/result.json"):
        told = files.read_json(study / name)
        if "parent" in told["settings"]:
            parts = Path(told["settings"]["parent"]).parts
            told["settings"]["parent"] = str(Path(*parts[-OF_STUDY:]))
        for run in told.get("commands", ()):
            words = shlex.split(run["command"])
            run["command"] = shlex.join(word for word in words if not word.startswith(PLACES))
        files.write_json(kept / name, told)
    return kept


if __name__ == "__main__":
    main()
