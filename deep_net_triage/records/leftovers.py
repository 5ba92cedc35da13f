"""What killed processes leave in a study's folder."""

from pathlib import Path

from deep_net_triage.records import checkpoints, files
from deep_net_triage.records.locks import Lock


def remove(folder: Path, scratch: Path | None) -> None:
    """Removes the locks, checkpoints and temporary files that killed processes left behind.

    Checkpoints of trainings that have not ended stay.

    Args:
        folder: of the study.
        scratch: where processes shared activations; other studies may do so there as well.
    """
    files.remove_leftovers(folder)
    if scratch:
        files.remove_leftovers(scratch, nested=False)
    for file in folder.rglob("*.lock"):
        with Lock(file):  # takes over a dead process's lock, then releases it
            pass
    for result in folder.rglob("result.json"):
        checkpoints.remove(result.parent)
