"""The program's name as it was typed, in error lines, in `--help` and in `study.json`."""

import sys
from pathlib import Path

from deep_net_triage.streams import BrokenPipeSafe

_SCRIPT, _COMMAND = "run_triage.py", "deep-net-triage"


def name() -> str:
    """Returns how this process's program was typed, without `python` for the script.

    Whatever else calls the program, such as a test or a benchmark, counts as the script.
    """
    started = Path(sys.argv[0])
    if started.parts[-2:] == ("deep_net_triage", "__main__.py"):
        return "python -m deep_net_triage"
    return _COMMAND if started.name == _COMMAND else _SCRIPT


def in_shell(command: str) -> str:
    """Returns a recorded command as a shell takes it: the script needs `python` before it."""
    return f"python {command}" if command.startswith(_SCRIPT) else command


def print_error(message: str) -> None:
    """Prints a line on standard error that begins with the program's name."""
    print(f"{name()}: {message}", file=BrokenPipeSafe(sys.stderr))
