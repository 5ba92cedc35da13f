"""Which part of a study's trials is a job's: typed, or as Slurm and Kubernetes number jobs."""

import re
from collections.abc import Mapping

from deep_net_triage.errors import InputError

_ALLOWED = "allowed: i/n with i from 0 to n-1, auto (Slurm), or auto/n (Slurm, Kubernetes)"


def parse(text: str | None, environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Returns a job's number, from 0, and the number of jobs; None for all trials in one.

    `auto` reads what Slurm tells each job of an array (`SLURM_ARRAY_TASK_ID`, `_MIN`, `_STEP`
    and `_COUNT`), and `auto/n` also the index of a Kubernetes indexed job
    (`JOB_COMPLETION_INDEX`), which does not tell how many there are.

    Args:
        text: as typed.
        environment: the process's.

    Raises:
        InputError: if it is neither, or the environment does not say.
    """
    if not text:
        return None
    typed = re.fullmatch(r"(auto|\d{1,9})(?:/(\d{1,9}))?", text)
    if not typed or (typed[1] != "auto" and not typed[2]):
        raise InputError(f"--shard={text} is no part of a whole; {_ALLOWED}")
    index, count = typed[1], typed[2]
    if index == "auto":
        index, told = _told(text, environment)
        count = count or told
        if count is None:
            raise InputError(f"--shard={text}: how many jobs there are is not told; {_ALLOWED}")
    if not 0 <= int(index) < int(count):
        raise InputError(f"--shard={text}: job {index} of {count}; {_ALLOWED}")
    return int(index), int(count)


def _told(text: str, environment: Mapping[str, str]) -> tuple[int, str | None]:
    """Returns a job's number, and how many there are where that is told."""
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
