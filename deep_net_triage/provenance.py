"""Where results come from: `study.json` with settings, commands, versions and hardware."""

import importlib.metadata
from pathlib import Path

from deep_net_triage import devices, results

_PACKAGES = ("deep_net_triage", "tensorflow", "keras", "tensorflow-datasets", "numpy")


def write(file: Path, description: dict[str, object], run: dict[str, object]) -> None:
    """Writes what a study is and what ran where; the runs of earlier commands are kept.

    Args:
        file: `study.json`.
        description: what all runs share: data set and settings.
        run: one run's `command`, when it `started` in seconds since 1970, and its `seconds`,
            None until it has ended; it replaces what the same run wrote before.
    """
    earlier = results.read_json(file) or {}
    runs = [
        other for other in earlier.get("commands", []) if other["started"] != run["started"]
    ]
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    run = {**run, "versions": versions, "hardware": devices.describe()}
    results.write_json(file, {**description, "commands": [*runs, run]})
