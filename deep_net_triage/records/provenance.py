"""Where results come from: `study.json` with settings, commands, versions and hardware."""

import functools
import importlib.metadata
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from deep_net_triage import devices
from deep_net_triage.errors import DamagedFile
from deep_net_triage.network.descriptions import BlockDescription, Refused
from deep_net_triage.records import files

_PACKAGES = ("deep_net_triage", "tensorflow", "keras", "tensorflow-datasets", "numpy")


@dataclass(frozen=True)
class Command:
    """A command that added to a study.

    Attributes:
        command: the command line as typed.
        started: start time in seconds since 1970.
        seconds: its duration; None until it has ended.
        versions: package versions by name. This package's ends with its commit if it runs from
            a git checkout: `1.0.0+g1a2b3c4`, or `1.0.0+g1a2b3c4.dirty` if changed since.
        hardware: processors, GPUs and replicas.
    """

    command: str
    started: float
    seconds: float | None
    versions: dict[str, str]
    hardware: dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `study.json`.

    Attributes:
        dataset: the data set's name.
        settings: the settings that all trials share.
        classes: the number of classes; None if there is no file.
        blocks: the network's blocks in network order.
        share_layers: whether a layer belongs to several of these blocks.
        refused: segments that can't be replaced by one convolution.
        uncounted: layers whose multiply-accumulates are not counted.
        near_duplicates: the number of test images that are nearly equal to a training image;
            None if they were not counted, as without `--fold`.
        parent_ended: when and why the parent's training ended; None if it was not trained here,
            or has not ended.
        commands: the commands that added to the study, in order.
    """

    dataset: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    classes: int | None = None
    blocks: tuple[BlockDescription, ...] = ()
    share_layers: bool = False
    refused: tuple[Refused, ...] = ()
    uncounted: tuple[str, ...] = ()
    near_duplicates: int | None = None
    parent_ended: str | None = None
    commands: tuple[Command, ...] = ()


def this_command(command: str, started: float, seconds: float | None) -> Command:
    """Returns a command with the versions and hardware of this machine."""
    versions = {name: _version(name) for name in _PACKAGES}
    versions[_PACKAGES[0]] += _this_checkout()
    return Command(command, started, seconds, versions, devices.describe())


def _version(package: str) -> str:
    """Returns a package's version; `unknown` for one that was not installed by its name."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.cache  # a later commit is not the code that runs
def _this_checkout() -> str:
    return checkout(Path(__file__).resolve().parents[2])


def checkout(folder: Path) -> str:
    """Returns the commit of a git checkout as the end of a version number (PEP 440).

    Returns:
        `+g` and the short hash, and `.dirty` if tracked files have changed since. An empty
        string if git is missing, or the folder is not the root of a checkout, such as the
        `site-packages` of an installed package.
    """
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", folder, "describe", "--always", "--exclude=*", "--dirty=.dirty"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"+g{described.stdout.strip()}"


def read(file: Path) -> Description:
    """Returns the content of `study.json`; an empty description if there is no such file.

    Raises:
        DamagedFile: if the file has changed since it was written.
    """
    content = files.read_json(file)
    if content is None:
        return Description()
    values = {
        "blocks": tuple(map(_block, content.pop("blocks", ()))),
        "refused": tuple(Refused(**segment) for segment in content.pop("refused", ())),
        "uncounted": tuple(content.pop("uncounted", ())),
        "commands": tuple(Command(**command) for command in content.pop("commands", ())),
    }
    return Description(**content, **values)


def _block(content: dict[str, object]) -> BlockDescription:
    shapes = {name: tuple(content[name]) for name in ("received", "returned")}  # not lists
    return BlockDescription(**content | shapes)


def blocks_of(file: Path) -> tuple[BlockDescription, ...]:
    """Returns the blocks in `study.json`; empty if the file is missing or damaged."""
    description = files.unless_damaged(read, file)
    return description.blocks if description else ()


def write(file: Path, description: Description, say: Callable[[str], None]) -> None:
    """Writes `study.json`, and keeps the earlier commands in it.

    Args:
        file: `study.json`.
        description: has one command, which replaces the entry with the same start time.
        say: receives a message if the file is damaged and its earlier commands are lost.
    """
    try:
        earlier = read(file)
    except DamagedFile as damage:
        say(f"{damage}; writing a new one")
        earlier = Description()
    (command,) = description.commands
    others = [one for one in earlier.commands if one.started != command.started]
    whole = replace(description, commands=(*others, command))
    files.write_json(file, asdict(whole))
