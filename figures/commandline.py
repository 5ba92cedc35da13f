"""What the figure scripts share: which results to read, and where the picture goes."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from deep_net_triage.errors import InputError
from deep_net_triage.findings import looks
from deep_net_triage.records import results


def main(script: str, meaning: str, draw: Callable[[list[Path]], Figure]) -> int:
    """Draws a figure from results on disk and returns the process's exit code.

    Args:
        script: the script's path, after which the picture is named.
        meaning: what it draws, for `--help`.
        draw: takes the folders of the chosen studies.
    """
    name = Path(script).stem
    parser = argparse.ArgumentParser(description=meaning)
    parser.add_argument(
        "--results", type=Path, default=Path("runs"), help="an output folder, or one study's"
    )
    parser.add_argument("--dataset", help="comma-separated; by default every one in --results")
    parser.add_argument("--output", type=Path, help=f"by default {name}.png in --results")
    asked = parser.parse_args()
    output = asked.output or asked.results / f"{name}.png"
    try:
        figure = draw(_choose(results.studies_in(asked.results), asked.dataset))
        _save(figure, output)
    except InputError as error:
        print(f"{name}.py: {error}", file=sys.stderr)
        return 2
    print(output)
    return 0


def _choose(found: list[Path], datasets: str | None) -> list[Path]:
    """Returns the studies of the named data sets, in the order named."""
    if datasets is None:
        return found
    by_name = {folder.resolve().name: folder for folder in found}
    for name in datasets.split(","):
        if name not in by_name:
            raise InputError(f"--dataset={name} has no results; there are {', '.join(by_name)}")
    return [by_name[name] for name in datasets.split(",")]


def _save(figure: Figure, output: Path) -> None:
    try:
        figure.savefig(output, dpi=looks.DPI)
    except (OSError, ValueError) as error:  # matplotlib raises ValueError for a wrong suffix
        raise InputError(f"--output={output} can't be written: {error}") from error
