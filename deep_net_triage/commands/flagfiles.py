"""Reads flag files strictly: every line sets a flag, or the file is refused.

absl's own reader takes a line without `--` for a positional argument, and keeps a trailing
comment as part of the value; both are errors here. It looks for an included file in the working
directory; here its path is relative to the including file. `--flagfile` on a command line also
finds the files that come with the package, from any working directory.
"""

from pathlib import Path

from deep_net_triage.commands import checks
from deep_net_triage.errors import InputError


def packaged() -> Path:
    """Returns the folder of the flag files that come with the package.

    Installed, it is in the package; in a checkout, `flags/` is beside the package.
    """
    package = Path(__file__).resolve().parent.parent
    inside = package / "flags"
    return inside if inside.is_dir() else package.parent / "flags"


def find(path: Path, folder: Path | None) -> Path:
    """Returns the file that `--flagfile` names.

    Args:
        path: as typed. If the working directory has no such file, `small.flags` and
            `flags/small.flags` both name `small.flags` of `folder`.
        folder: the folder with the data sets' flag files; None if there is none.

    Raises:
        InputError: if neither has the file; the message names the files of `folder`.
    """
    if folder is None or checks.holds(path.exists):
        return path
    inside = folder / (path.relative_to("flags") if path.parts[:1] == ("flags",) else path)
    if checks.holds(inside.is_file):
        return inside
    known = ", ".join(str(file.relative_to(folder)) for file in sorted(folder.rglob("*.flags")))
    raise InputError(f"flag file {path} can't be read: No such file; allowed: a path, {known}")


def read(path: Path, switches: frozenset[str], including: tuple[Path, ...] = ()) -> list[str]:
    """Returns a flag file's lines as command-line arguments, each `--name=value` or `--name`.

    Empty lines, and comments that begin with `#` or `//`, are skipped.

    Args:
        path: the flag file.
        switches: the arguments that set a flag without a value, such as `--overwrite`.
        including: the chain of files that include this one.

    Raises:
        InputError: if the file can't be read, includes itself, or has a line that sets
            nothing or ends in a comment; the message names the file and the line.
    """
    if path.resolve() in including:
        raise InputError(f"flag file {path} includes itself")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"flag file {path} can't be read: {reason}") from error
    arguments = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith(("#", "//")):
            continue
        _check(line, switches, f"flag file {path}, line {number}: '{line}'")
        if line.startswith("--flagfile="):
            included = path.parent / line.partition("=")[2]
            arguments += read(included, switches, (*including, path.resolve()))
        else:
            arguments.append(line)
    return arguments


def split(arguments: list[str]) -> tuple[list[Path], list[str]]:
    """Returns the flag files that command-line arguments name, and the other arguments.

    Raises:
        InputError: if a file is missing after `--flagfile`.
    """
    files: list[Path] = []
    others: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        name, equals, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            others.append(argument)
            continue
        file = value if equals else next(remaining, "")
        if not file:
            raise InputError("--flagfile needs a file: --flagfile=FILE")
        files.append(Path(file))
    return files, others


def _check(line: str, switches: frozenset[str], where: str) -> None:
    """Raises InputError if a line sets no flag, or ends in a comment."""
    name, equals, value = line.partition("=")
    if " #" in line or " //" in line:
        raise InputError(f"{where}: a comment must stand on a line of its own")
    if not name.startswith("--") or " " in name or not (value or name in switches):
        raise InputError(f"{where} sets nothing; write --name=value")
