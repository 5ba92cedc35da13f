"""Runs one study four ways: in one process, on two replicas, in two processes, and on Ray.

python -m benchmarks.four_ways [FLAGS...]    (needs pip install ".[ray]")

The Ray cluster has two nodes on this machine, and loses one during the study. All runs are
`--deterministic`. Except for durations, two processes and Ray must give the numbers and weights
of one process, bit for bit. Two replicas sum in another order, and therefore train another
parent: each of their accuracies must agree to within three standard errors of a difference.
"""

import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import run_triage
from deep_net_triage.records import results, study_results
from deep_net_triage.records.results import Row

WAYS = {
    "plain": (),
    "2 replicas": ("--replicas=2",),
    "2 processes": ("--parallel_trials=2",),
    "Ray": ("--launcher=ray",),
}
# Columns that depend on time or on the machine.
_TIMES = {"seconds"}


def main(flags: list[str]) -> int:
    """Runs a study all four ways, prints the differences, and returns the exit code."""
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        for way, own in WAYS.items():
            folder = Path(scratch) / way.replace(" ", "-")
            command = [sys.executable, run_triage.__file__, "--deterministic"]
            command += [f"--output_dir={folder}", *flags, *own]
            started = time.perf_counter()
            killed = on_ray(command, folder) if way == "Ray" else run(command)
            seconds = time.perf_counter() - started
            differing = compare(Path(scratch) / "plain" / "digits", folder / "digits", way)
            wrong += differing
            note = " (one node killed)" if killed else ""
            print(f"{way}{note}: {seconds:.0f} s, {len(differing)} differences", flush=True)
    for line in wrong:
        print(line)
    return 1 if wrong else 0


def run(command: list[str]) -> bool:
    """Runs a command; returns False, because it kills no node."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return False


def on_ray(command: list[str], folder: Path) -> bool:
    """Runs a command on a cluster of two nodes, and kills one while trials run on both."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    killed = False
    try:
        process = subprocess.Popen(
            [*command, f"--ray_address={cluster.address}"], stdout=subprocess.DEVNULL
        )
        while process.poll() is None:
            time.sleep(0.1)
            begun = {file.parent for file in folder.glob("*/trials/*/checkpoint*")}
            if len(begun) > 1 and not killed:
                cluster.remove_node(nodes[1], allow_graceful=False)
                killed = True
    finally:
        cluster.shutdown()
    if process.returncode or not killed:
        raise RuntimeError(f"ended with {process.returncode}; a node was killed: {killed}")
    return killed


def compare(plain: Path, other: Path, way: str) -> list[str]:
    """Returns a line for each trial that differs from the one run in one process."""
    expected, found = study_results.read_study(plain), study_results.read_study(other)
    images = len(expected.parent_correct)
    differing = []
    pairs = zip(
        [*expected.rows, *expected.controls], [*found.rows, *found.controls], strict=True
    )
    for row, its_row in pairs:
        if way == "2 replicas":
            accuracies = (row.max_accuracy, its_row.max_accuracy)
            same = row.trial == its_row.trial
            same &= abs(accuracies[0] - accuracies[1]) <= 3 * _error(*accuracies, images)
        else:
            same = _without_times(row) == _without_times(its_row)
            same &= _same_weights(results.trial_folder(plain, *row.trial), plain, other)
        if not same:
            differing.append(f"{way}: {row.trial} differs")
    return differing


def _without_times(row: Row) -> dict[str, object]:
    return {name: value for name, value in vars(row).items() if name not in _TIMES}


def _error(first: float, second: float, images: int) -> float:
    """Returns the standard error of a difference of accuracies, but at least one image."""
    variance = first * (1 - first) + second * (1 - second)
    return max(math.sqrt(variance / images), 1 / images)


def _same_weights(trial: Path, plain: Path, other: Path) -> bool:
    files = [trial / "model.keras", other / trial.relative_to(plain) / "model.keras"]
    weights = [keras.models.load_model(file, compile=False).get_weights() for file in files]
    return all(map(np.array_equal, *weights))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
