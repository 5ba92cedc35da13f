"""How long a study is said to take, beside how long it takes.

python -m benchmarks.foretold FLAG...

It runs `run_triage.py` with the flags in a folder of its own, and notes when each line is
printed. The truth is the time from the estimate to the last trial's end. Printed are the ratios
to it of the estimate, and of the time left after the first epoch; of all later lines that name
a time left, the largest error and the median error, in percent of the truth that was left. The
last minute is not counted.
"""

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.side_by_side import machine

RUN = Path(__file__).resolve().parent.parent / "run_triage.py"
UNITS = {"s": 1, "min": 60, "h": 3600, "days": 86400}
ESTIMATE = re.compile(r"^about ([\d.]+) (s|min|h|days) on this machine")
LEFT = re.compile(r" ([\d.]+) (s|min|h|days) left$")
TRIAL_ENDED = re.compile(r"^\[\d+/\d+\] .* accuracy .*, 99 % of its best at epoch")
LAST_MINUTE = 60.0


def main() -> None:
    """Runs a study, and prints how well its times were foretold."""
    flags = sys.argv[1:]
    lines = record(flags)
    print(machine(), *flags)
    for line in report(lines):
        print(line)


def record(flags: list[str]) -> list[tuple[float, str]]:
    """Returns the lines of a study, each with the second in which it was printed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-u", str(RUN), *flags, f"--output_dir={folder}/runs"]
        started, lines = time.monotonic(), []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as study:
            for line in study.stdout:
                lines.append((time.monotonic() - started, line.rstrip()))
                print(f"{lines[-1][0]:7.1f}  {lines[-1][1]}", file=sys.stderr, flush=True)
    if study.returncode:
        raise SystemExit(f"the study ended with exit code {study.returncode}")
    return lines


def report(lines: list[tuple[float, str]]) -> list[str]:
    """Returns what a record tells.

    Args:
        lines: of a study, each with the second in which it was printed.
    """
    end = max(second for second, line in lines if TRIAL_ENDED.search(line))
    (begun, estimate), *_ = [
        (second, _seconds(found)) for second, line in lines if (found := ESTIMATE.search(line))
    ]
    told = [
        (second, _seconds(found))
        for second, line in lines
        if (found := LEFT.search(line)) and end - second > LAST_MINUTE
    ]
    truth = end - begun
    (first, left), *later = told
    errors = [abs(left / (end - second) - 1) for second, left in later]
    return [
        f"estimate after {begun:.0f} s; estimated {estimate:.0f} s, took {truth:.0f} s: "
        f"ratio {estimate / truth:.2f}",
        f"after the first epoch: {first - begun + left:.0f} s in all: "
        f"ratio {(first - begun + left) / truth:.2f}",
        f"time left, {len(errors)} later lines: error at most {100 * max(errors):.0f} %, "
        f"median {100 * statistics.median(errors):.0f} %",
    ]


def _seconds(found: re.Match) -> float:
    return float(found[1]) * UNITS[found[2]]


if __name__ == "__main__":
    main()
