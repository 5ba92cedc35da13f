"""(f): how time and peak memory grow with the size of a study.

python -m benchmarks.growth

Each study runs in a process of its own, on digits at 64 px and a quarter of the width. Memory
is the process's private memory, sampled; memory-mapped files are not counted, because the
system can reclaim their pages.
"""

import subprocess
import sys
import tempfile
import time

import psutil

from benchmarks import side_by_side

BASE = {
    "method": "cl_rw,stn",
    "block": "2,3",
    "train_examples": 600,
    "test_examples": 100,
    "parent_epochs": 1,
    "epochs": 3,
    "distill_epochs": 3,
    "image_size": 64,
    "activation_memory": 0.01,
}
GROWN = {
    "twice the examples": {"train_examples": 1200, "test_examples": 200},
    "six methods": {"method": "all"},
    "twice the blocks": {"block": "2,3,4,5"},
    "twice the epochs": {"epochs": 6, "distill_epochs": 6, "parent_epochs": 2},
}


def main() -> None:
    """Prints time and peak memory of each study, and their ratios to the smallest study."""
    print(side_by_side.machine())
    start_up, _ = _study({**BASE, "method": "cl_rw", "block": "5", "train_examples": 64,
                          "test_examples": 32, "epochs": 1})  # fmt: skip
    base_time, base_memory = _study(BASE)
    print(f"start-up and one small trial {start_up:.0f} s; base {base_time:.0f} s, "
          f"{base_memory / 2**20:.0f} MiB", flush=True)  # fmt: skip
    for name, change in GROWN.items():
        seconds, memory = _study({**BASE, **change})
        print(
            f"{name}: {seconds:.0f} s, {seconds / base_time:.2f} of the time; "
            f"{memory / 2**20:.0f} MiB, {memory / base_memory:.2f} of the memory",
            flush=True,
        )


def _study(flags: dict[str, object]) -> tuple[float, int]:
    """Returns the duration in seconds and the peak memory in bytes of a study."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "run_triage.py", f"--output_dir={folder}"]
        command += [
            "--recipe=paper",
            "--precision=float32",
            "--nocontrol",
            "--parallel_trials=1",
        ]
        command += [f"--{name}={value}" for name, value in flags.items()]
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=side_by_side.REPOSITORY, stdout=subprocess.DEVNULL
        )
        peak = 0
        while process.poll() is None:
            try:
                held = psutil.Process(process.pid).memory_info()
                peak = max(peak, held.rss - held.shared)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.1)
        if process.wait():
            raise RuntimeError(f"failed: {' '.join(command)}")
        return time.perf_counter() - started, peak


if __name__ == "__main__":
    main()
