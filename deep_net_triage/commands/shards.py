"""Reads which part of a study's trials a job runs, from `--shard` or the job's environment."""

import re
from collections.abc import Mapping

from deep_net_triage.errors import InputError

_ALLOWED = "allowed: i/n with i from 0 to n-1, auto (Slurm), or auto/n (Slurm, Kubernetes)"


def parse(text: str | None, environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Returns a job's number, from 0, and the number of jobs; None if one job runs all trials.

    `auto` reads both from the environment of a Slurm array job (`SLURM_ARRAY_TASK_ID`, `_MIN`,
    `_STEP` and `_COUNT`). `auto/n` also reads the index of a Kubernetes indexed job
    (`JOB_COMPLETION_INDEX`), where the environment does not hold the number of jobs.

    Raises:
        InputError: if the value is malformed or out of range, or the environment lacks it.
    """
    if not text:
        return None
    typed = re.fullmatch(r"(auto|\d{1,9})(?:/(\d{1,9}))?", text)
    if not typed or (typed[1] != "auto" and not typed[2]):
        raise InputError(f"--shard={text} is not a part of the trials; {_ALLOWED}")
    index, count = typed[1], typed[2]
    if index == "auto":
        index, array_count = _from_environment(text, environment)
        if count and array_count and int(array_count) != int(count):
            # Its number counts from the first job of this array, not of the one before.
            raise InputError(
                f"--shard={text}: this job array has {array_count} jobs, not {count}; to run "
                f"some of the {count} again, name the part of each: --shard=i/{count}"
            )
        count = count or array_count
        if count is None:
            raise InputError(f"--shard={text}: the number of jobs is unknown; {_ALLOWED}")
    if not 0 <= int(index) < int(count):
        raise InputError(f"--shard={text}: job {index} of {count}; {_ALLOWED}")
    return int(index), int(count)


def _from_environment(text: str, environment: Mapping[str, str]) -> tuple[int, str | None]:
    """Returns a job's number, and the number of jobs; None in its place if it is unknown."""
    try:
        if "SLURM_ARRAY_TASK_ID" in environment:
            number = int(environment["SLURM_ARRAY_TASK_ID"])
            first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0))
            step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
            return (number - first) // step, environment.get("SLURM_ARRAY_TASK_COUNT")
        return int(environment["JOB_COMPLETION_INDEX"]), None
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"--shard={text}: neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX says which "
            f"job this is; {_ALLOWED}"
        ) from error
