"""Times contestants in turns, A B A B, each in its own long-lived process.

Contestants need processes of their own, because TensorFlow reads some of their settings on
import. They take turns, because a machine's speed drifts over minutes.

A contestant is named `module:function`. This function takes keyword arguments, prepares
everything, and returns a function without arguments, whose calls are timed. If a call returns a
number, that is the time in seconds instead.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Contestant:
    """A contestant: a title, `module:function`, its arguments, and environment variables."""

    title: str
    function: str
    arguments: dict[str, object]
    environment: dict[str, str]


def contestant(
    title: str, function: str, *, onednn: str | None = None, **arguments: object
) -> Contestant:
    """Returns a contestant; `onednn` is TensorFlow's switch, None for its default."""
    environment = {} if onednn is None else {"TF_ENABLE_ONEDNN_OPTS": onednn}
    return Contestant(title, function, arguments, environment)


def compare(
    contestants: list[Contestant], rounds: int = 5, warm: bool = True
) -> dict[str, float]:
    """Times contestants in turns, and returns the median seconds of each by title.

    Args:
        contestants: the contestants.
        rounds: the number of timed calls of each.
        warm: whether each is called once before, untimed.
    """
    seconds: dict[str, list[float]] = {one.title: [] for one in contestants}
    with contextlib.ExitStack() as stack:
        workers = {one.title: stack.enter_context(_worker(one)) for one in contestants}
        for run in workers.values() if warm else ():
            run()
        for _ in range(rounds):
            for title, run in workers.items():
                seconds[title].append(run())
    for title, values in seconds.items():
        shown = " ".join(f"{value:.3g}" for value in values)
        print(f"    {title}: median {statistics.median(values):.4g} s of {shown}", flush=True)
    return {title: statistics.median(values) for title, values in seconds.items()}


def report(what: str, ratio: float, goal: str) -> None:
    """Prints one line of the table."""
    print(f"{what}: {ratio:.2f} (goal {goal})", flush=True)


def machine() -> str:
    """Returns the processor and package versions on one line."""
    names = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in names.splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    wide = "with" if "avx512_vnni" in names else "without"
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras")
    )
    return f"{os.cpu_count()} cores of {model} {wide} AVX512-VNNI; {versions}"


@contextlib.contextmanager
def _worker(one: Contestant) -> Iterator[Callable[[], float]]:
    environment = {
        **{name: value for name, value in os.environ.items() if "ONEDNN" not in name},
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        **one.environment,
    }
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks.side_by_side",
            one.function,
            json.dumps(one.arguments),
        ],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def run() -> float:
        process.stdin.write("run\n")
        process.stdin.flush()
        while True:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{one.title} ended; run {' '.join(process.args)} by hand")
            if line.startswith("seconds "):
                return float(line.split()[1])

    yield run
    process.stdin.close()
    process.wait()


def _serve(function: str, arguments: dict[str, object]) -> None:
    module, name = function.split(":")
    run = getattr(importlib.import_module(module), name)(**arguments)
    for _ in sys.stdin:
        started = time.perf_counter()
        counted = run()
        elapsed = time.perf_counter() - started
        print(f"seconds {elapsed if counted is None else counted}", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
