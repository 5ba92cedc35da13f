"""The command line that the figure scripts share."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from deep_net_triage.errors import InputError
from deep_net_triage.findings import looks


def main(script: str, meaning: str, draw: Callable[[list[Path]], Figure]) -> int:
    """Draws and saves a figure of results on disk, and returns the process's exit code.

    Args:
        script: the script's path, which also names the picture.
        meaning: the description for `--help`.
        draw: returns the figure of the studies in a list of folders.
    """
    name = Path(script).stem
    parser = argparse.ArgumentParser(description=meaning)
    parser.add_argument(
        "--results", type=Path, default=Path("runs"), help="an output folder, or one study's"
    )
    parser.add_argument("--dataset", help="comma-separated; by default every one in --results")
    parser.add_argument("--output", type=Path, help=f"by default {name}.png in --results")
    arguments = parser.parse_args()
    output = arguments.output or arguments.results / f"{name}.png"
    try:
        folders = studies_in(arguments.results)
        figure = draw(_choose(folders, arguments.dataset))
        _save(figure, output)
    except InputError as error:
        print(f"{name}.py: {error}", file=sys.stderr)
        return 2
    print(output)
    return 0


def studies_in(folder: Path) -> list[Path]:
    """Returns the study folders among a folder and its subfolders.

    Raises:
        InputError: if there is none.
    """
    candidates = [folder, *sorted(folder.glob("*/"))]
    studies = [candidate for candidate in candidates if (candidate / "results.csv").is_file()]
    if not studies:
        raise InputError(f"no results in {folder}; run a study first, or name its folder")
    return studies


def _choose(folders: list[Path], datasets: str | None) -> list[Path]:
    """Returns the folders of the named data sets, in the same order; all for None."""
    if datasets is None:
        return folders
    by_name = {folder.resolve().name: folder for folder in folders}
    for name in datasets.split(","):
        if name not in by_name:
            raise InputError(f"--dataset={name} has no results; there are {', '.join(by_name)}")
    return [by_name[name] for name in datasets.split(",")]


def _save(figure: Figure, output: Path) -> None:
    try:
        figure.savefig(output, dpi=looks.DPI)
    except (OSError, ValueError) as error:  # matplotlib raises ValueError for a wrong suffix
        raise InputError(f"--output={output} can't be written: {error}") from error
