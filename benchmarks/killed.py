"""Kills studies at random moments, continues them, and compares their results.

python -m benchmarks.killed [--runs=100] [--seed=0]
python -m benchmarks.killed --digits [--kills=30]

The first command kills many tiny deterministic studies once each: one half at a random time,
the other half inside a random write, which leaves a truncated file. It then kills a study after
each of its trials; activations are rounded to 16 bits, which reveals a trial that read from
another source. The second command kills one study of the digits repeatedly. Each study is then
continued to its end, and compared with an undisturbed study: all numbers except durations, all
weights bit for bit, all pictures, and the names of all files.

TensorFlow is imported once. Each study runs in a process forked before TensorFlow's first
thread.
"""

import argparse
import csv
import importlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py

TINY = (
    "--method=stn,cm_rw",
    "--block=4,5",
    "--width=0.02",
    "--train_examples=60",
    "--test_examples=30",
    "--batch_size=30",
    "--parent_epochs=2",
    "--epochs=3",
    "--distill_epochs=2",
    "--deterministic",
)
BETWEEN = (*TINY, "--method=cl_rw,cm_rw,stn", "--activation_dtype=float16")
DIGITS = ("--deterministic",)
_TIMES = {"seconds", "started", "sha256", "files"}


def main() -> None:
    """Prints one line per killed study, and how many equal an undisturbed one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        if options.digits:
            equal, of = kill_one_again_and_again(Path(folder), options.kills, generator)
        else:
            counts = kill_many_once(Path(folder), options.runs, generator)
            counts_between = kill_after_each_trial(Path(folder) / "between")
            equal, of = map(sum, zip(counts, counts_between, strict=True))
    print(f"{equal} of {of} equal")
    sys.exit(equal != of)


def kill_many_once(
    folder: Path, runs: int, generator: random.Random, flags: tuple[str, ...] = TINY
) -> tuple[int, int]:
    """Kills many studies once each; returns how many ended equal, of how many."""
    import_everything()
    started = time.monotonic()
    expected = folder / "undisturbed"
    writes = folder / "writes"
    assert Study(expected, flags, lambda: _count_writes(writes)).wait() == 0
    seconds, count = time.monotonic() - started, len(writes.read_bytes())
    print(f"undisturbed: {seconds:.1f} s, {count} writes", flush=True)
    equal = done = 0
    while done < runs:
        study = folder / "killed"
        if done % 2:
            chosen, share = generator.randint(1, count), generator.random()
            process = Study(study, flags, lambda c=chosen, s=share: _die_inside_write(c, s))
            when = f"inside write {chosen}"
        else:
            moment = generator.uniform(0, seconds)
            process = Study(study, flags)
            process.kill_after(moment)
            when = f"after {moment:.2f} s"
        killed = process.wait() == -signal.SIGKILL
        if killed:  # otherwise it had already ended, and is not counted
            done += 1
            left = sum(file.is_file() for file in study.rglob("*"))
            code = Study(study, flags).wait()
            differing = [f"exit code {code}"] if code else differences(expected, study)
            equal += not differing
            ending = "; ".join(differing) or "equal"
            print(f"{done}: killed {when}, {left} files then; {ending}", flush=True)
        shutil.rmtree(study, ignore_errors=True)
    return equal, runs


def kill_after_each_trial(folder: Path, flags: tuple[str, ...] = BETWEEN) -> tuple[int, int]:
    """Kills a study after each of its trials; returns how many ended equal, of how many."""
    import_everything()
    folder.mkdir()
    expected = folder / "undisturbed"
    assert Study(expected, flags).wait() == 0
    trials = len(list(expected.glob("*/trials/*/result.json")))
    equal = 0
    for number in range(1, trials):
        study = folder / str(number)
        assert (
            Study(study, flags, lambda n=number: _die_after_trial(n)).wait() == -signal.SIGKILL
        )
        code = Study(study, flags).wait()
        differing = [f"exit code {code}"] if code else differences(expected, study)
        equal += not differing
        print(f"killed after trial {number}: {'; '.join(differing) or 'equal'}", flush=True)
    return equal, trials - 1


def kill_one_again_and_again(
    folder: Path, kills: int, generator: random.Random, flags: tuple[str, ...] = DIGITS
) -> tuple[int, int]:
    """Kills one study many times; returns 1 if it ended equal, else 0, and 1."""
    import_everything()
    started = time.monotonic()
    expected, study = folder / "undisturbed", folder / "killed"
    assert Study(expected, flags).wait() == 0
    seconds = time.monotonic() - started
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    done = 0
    while done < kills:
        process = Study(study, flags)
        # Enough time to start training again, so that the study makes progress.
        process.kill_after(generator.uniform(0, seconds / kills) + START_UP)
        if process.wait() != -signal.SIGKILL:
            break
        done += 1
        finished = len(list(study.glob("*/trials/*/result.json")))
        print(f"kill {done}: {finished} trials finished", flush=True)
    code = Study(study, flags).wait()
    differing = [f"exit code {code}"] if code else differences(expected, study)
    print(f"killed {done} times: {'; '.join(differing) or 'equal'}", flush=True)
    return int(done == kills and not differing), 1


START_UP = 3.0  # seconds until a continued study trains


def differences(expected: Path, found: Path) -> list[str]:
    """Returns the names of files that differ, apart from times and digests of times."""
    names = [
        {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        for folder in (expected, found)
    ]
    differing = [f"only in one: {name}" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        if _content(expected / name) != _content(found / name):
            differing.append(f"differs: {name}")
    return differing


def _content(file: Path) -> object:
    """Returns a file's content without times."""
    if file.suffix == ".keras":
        return _weights(file)
    if file.suffix == ".csv":
        with file.open(newline="") as rows:
            return [_without_times(row) for row in csv.DictReader(rows)]
    if file.suffix == ".jsonl":
        return [_without_times(json.loads(line)) for line in file.read_text().splitlines()]
    if file.name == "report.html":
        return None  # derived from the other files and their times
    if file.name == "study.json":
        return json.loads(file.read_text())["settings"]
    if file.suffix == ".json":
        return _without_times(json.loads(file.read_text()))
    return file.read_bytes()


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k not in _TIMES}
    return value


def _weights(file: Path) -> dict[str, bytes]:
    """Returns a saved model's configuration and arrays, read without Keras."""
    with zipfile.ZipFile(file) as archive:
        # These ids are memory addresses.
        config = re.sub(rb'"shared_object_id": \d+', b"", archive.read("config.json"))
        found = {"config.json": config}
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    weights.visititems(keep)
    return found


class Study:
    """A study that runs silently in a forked process.

    Args:
        folder: the value of `--output_dir`.
        flags: the other flags.
        prepare: a function to call in the new process before the study.
    """

    def __init__(
        self, folder: Path, flags: tuple[str, ...], prepare: Callable[[], None] | None = None
    ) -> None:
        import run_triage

        self.process = os.fork()
        if self.process == 0:
            try:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 1)
                os.dup2(nowhere, 2)
                if prepare:
                    prepare()
                code = run_triage.main([f"--output_dir={folder}", *flags])
            except BaseException:
                code = 99  # stands for a traceback
            os._exit(code)

    def kill_after(self, seconds: float) -> None:
        """Kills the process after some seconds, if it still runs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return
            time.sleep(0.002)
        os.kill(self.process, signal.SIGKILL)

    def wait(self) -> int:
        """Waits for the process, and returns its exit code, or minus a signal's number."""
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def import_everything() -> None:
    """Imports the modules of a study; they start no thread, which a fork would lose."""
    from deep_net_triage import quiet

    with quiet.native_messages_held():
        heavy = ("sklearn.datasets", "sklearn.model_selection")
        for name in (*heavy, "deep_net_triage.study.command"):
            importlib.import_module(name)


def _at_each_write(act: Callable[[int, int], None]) -> None:
    """Calls `act(number, descriptor)` before each `os.fsync` of this process."""
    synchronize, numbers = os.fsync, iter(range(1, 10**9))

    def counting(descriptor: int) -> None:
        act(next(numbers), descriptor)
        synchronize(descriptor)

    os.fsync = counting


def _count_writes(file: Path) -> None:
    def note(number: int, descriptor: int) -> None:
        with file.open("ab") as notes:
            notes.write(b".")

    _at_each_write(note)


def _die_inside_write(chosen: int, share: float) -> None:
    """Makes this process truncate a file and die at its `chosen`-th write."""

    def die(number: int, descriptor: int) -> None:
        if number == chosen:
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            if path.is_file():
                os.truncate(path, int(path.stat().st_size * share))
            os.kill(os.getpid(), signal.SIGKILL)

    _at_each_write(die)


def _die_after_trial(number: int) -> None:
    """Makes this process die when a number of trials have ended."""
    from deep_net_triage.study.trials import BlockTrials

    run, left = BlockTrials.run, iter(range(number - 1, -1, -1))

    def run_and_die(self: BlockTrials, *arguments: object) -> object:
        result = run(self, *arguments)
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    BlockTrials.run = run_and_die


if __name__ == "__main__":
    main()
