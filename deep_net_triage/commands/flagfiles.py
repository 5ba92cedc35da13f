"""Flag files, read strictly: every line sets a flag, or the file is refused.

absl's own reader takes a line without `--` for a positional argument, keeps a trailing
comment as part of the value, and resolves an included file from the working directory; here
the first two are errors that name the line, and the third is resolved from the including file.
"""

from pathlib import Path

from deep_net_triage.errors import InputError


def read(path: Path, switches: frozenset[str], including: tuple[Path, ...] = ()) -> list[str]:
    """Returns a flag file's lines as command-line arguments, each `--name=value` or `--name`.

    Lines that are empty or begin with `#` or `//` are comments.

    Args:
        path: the file.
        switches: the arguments that set a flag without a value, such as `--overwrite`.
        including: the files that are being read and led to this one.

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
    """Splits command-line arguments into the flag files they name and all the others.

    Raises:
        InputError: if `--flagfile` stands without a file.
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
    """Refuses a line that sets no flag, or whose value would swallow a comment."""
    name, equals, value = line.partition("=")
    if " #" in line or " //" in line:
        raise InputError(f"{where}: a comment must stand on a line of its own")
    if not name.startswith("--") or " " in name or not (value or name in switches):
        raise InputError(f"{where} sets nothing; write --name=value")
