"""A digits study with trials side by side, beside one with a trial at a time.

python -m benchmarks.small_network [--rounds=3] [FLAG...]

The two take turns. Printed are the seconds of each study, start-up and figures included, the
mean and the lowest accuracy of its trials, and the ratio of the medians.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.side_by_side import machine

RUN = Path(__file__).resolve().parent.parent / "run_triage.py"
WAYS = ("1", "auto")


def main() -> None:
    """Prints the seconds of each study, and their ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    options, flags = parser.parse_known_args()
    print(machine(), *flags, flush=True)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            seconds[way].append(study(way, flags))
    one, several = (statistics.median(seconds[way]) for way in WAYS)
    print(f"medians: {one:.0f} s, {several:.0f} s, ratio {several / one:.2f}")


def study(way: str, flags: list[str]) -> float:
    """Runs a study and returns its seconds.

    Args:
        way: the value of `--parallel_trials`.
        flags: others.
    """
    with tempfile.TemporaryDirectory() as folder:
        typed = [f"--parallel_trials={way}", f"--output_dir={folder}/runs", *flags]
        started = time.monotonic()
        subprocess.run([sys.executable, str(RUN), *typed], check=True, capture_output=True)
        seconds = time.monotonic() - started
        (table,) = Path(folder).rglob("results.csv")
        with table.open(encoding="utf-8") as file:
            reached = [100 * float(row["chosen_accuracy"]) for row in csv.DictReader(file)]
    mean, lowest = statistics.mean(reached), min(reached)
    took = f"--parallel_trials={way}: {seconds:.0f} s"
    print(f"{took}, accuracies: mean {mean:.1f} %, lowest {lowest:.1f} %", flush=True)
    return seconds


if __name__ == "__main__":
    main()
