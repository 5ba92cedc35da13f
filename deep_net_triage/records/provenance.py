"""Where results come from: `study.json` with settings, commands, versions and hardware."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

from deep_net_triage import devices
from deep_net_triage.errors import DamagedFile
from deep_net_triage.records import files

_PACKAGES = ("deep_net_triage", "tensorflow", "keras", "tensorflow-datasets", "numpy")


def write(
    file: Path,
    description: dict[str, object],
    run: dict[str, object],
    say: Callable[[str], None],
) -> None:
    """Writes what a study is and what ran where; the runs of earlier commands are kept.

    Args:
        file: `study.json`.
        description: what all runs share: data set and settings.
        run: one run's `command`, when it `started` in seconds since 1970, and its `seconds`,
            None until it has ended; it replaces what the same run wrote before.
        say: is told of a damaged file, whose earlier runs are lost.
    """
    try:
        earlier = files.read_json(file) or {}
    except DamagedFile as damage:
        say(f"{damage}; it begins anew")
        earlier = {}
    runs = [
        other for other in earlier.get("commands", []) if other["started"] != run["started"]
    ]
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    run = {**run, "versions": versions, "hardware": devices.describe()}
    files.write_json(file, {**description, "commands": [*runs, run]})
