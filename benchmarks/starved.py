"""Runs studies on a disk, or in an address space, that is too small.

python -m benchmarks.starved

The disk is a tmpfs that only the study's process sees; mounting it requires user namespaces
(`unshare`) or root. On a small disk the study must print one line and exit with code 1. After
the disk is enlarged, the same command must give the results of an undisturbed study. In a small
address space the study must print one line.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import run_triage
from benchmarks import killed

FLAGS = (
    "--method=cm_rw",
    "--block=5",
    "--parent_epochs=2",
    "--epochs=2",
    "--train_examples=100",
    "--test_examples=50",
    "--deterministic",
)
DISKS = (1, 20, 50, 72, 76, 84, 110)  # MiB; checkpoints of 34 MB, models of 8 MB
ADDRESS_SPACES = (0.5, 1, 2, 2.5, 3, 3.2, 3.4, 3.8)  # GiB
WIDE = (*FLAGS, "--width=1", "--batch_size=64")


def main() -> None:
    """Prints the outcome of each study, and the number of wrong outcomes."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        expected = Path(folder) / "undisturbed"
        subprocess.run([*command(expected), *FLAGS], check=True, capture_output=True)
        for size in DISKS:
            ending = on_a_small_disk(size, Path(folder), expected)
            wrong += ending.startswith(("wrong", "not run"))
            print(f"disk of {size} MiB: {ending}", flush=True)
        for size in ADDRESS_SPACES:
            ending = in_a_small_space(size, Path(folder) / f"space_{size}")
            wrong += ending.startswith("wrong")
            print(f"address space of {size} GiB: {ending}", flush=True)
    print(f"{wrong} ended otherwise than they should")
    sys.exit(wrong > 0)


def on_a_small_disk(size: int, folder: Path, expected: Path, flags: tuple = FLAGS) -> str:
    """Returns the outcome of a study on a disk of `size` MiB, and after its enlargement."""
    disk, copy = folder / "disk", folder / "copy"
    disk.mkdir(exist_ok=True)
    script = f"""
        mount -t tmpfs -o size={size}m tmpfs {disk} || exit 77
        "$@"; echo $? > {folder}/first
        ls -lR {disk} >&2
        mount -o remount,size=2g {disk}
        "$@" 2>> {folder}/second_printed; echo $? > {folder}/second
        rm -rf {copy}; cp -r {disk} {copy}
    """
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script, "bash"]
    done = subprocess.run(
        [*unshare, *command(disk), *flags], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return f"not run: {done.stderr.strip()[:100]}"
    first, second = ((folder / name).read_text().strip() for name in ("first", "second"))
    line = done.stderr.splitlines()[0] if done.stderr else ""
    if first == "0":
        return "it was large enough"
    if first != "1" or "No space left" not in line:
        return f"wrong: exit code {first}, {done.stderr[:200]}"
    differing = killed.differences(expected, copy)
    if second != "0" or differing:
        return f"wrong: exit code {second} then; {'; '.join(differing)}"
    return f"'{line}', then as if undisturbed"


def in_a_small_space(size: float, folder: Path) -> str:
    """Returns the outcome of a study in an address space of `size` GiB."""
    limit = int(size * 2**30)
    try:
        done = subprocess.run(
            [*command(folder), *WIDE],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "wrong: it hung"
    lines = [line for line in done.stderr.splitlines() if line.startswith("run_triage.py: ")]
    if done.returncode == 0:
        return "it was large enough"
    if len(lines) != 1 or "Traceback" in done.stderr:
        return f"wrong: exit code {done.returncode}, {done.stderr[-300:]}"
    return f"exit code {done.returncode}, '{lines[0]}'"


def command(folder: Path) -> list[str]:
    """Returns the command line of a study with its results in a folder."""
    return [sys.executable, run_triage.__file__, f"--output_dir={folder}"]


if __name__ == "__main__":
    main()
