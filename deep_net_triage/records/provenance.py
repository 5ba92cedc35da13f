"""Where results come from: `study.json` with settings, commands, versions and hardware."""

import importlib.metadata
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
        command: as it was typed.
        started: in seconds since 1970.
        seconds: that it took; None until it has ended.
        versions: of the packages that it ran with.
        hardware: processors, GPUs and replicas.
    """

    command: str
    started: float
    seconds: float | None
    versions: dict[str, str]
    hardware: dict[str, object]


@dataclass(frozen=True)
class Description:
    """The content of `study.json`.

    Attributes:
        dataset: its name.
        settings: what all trials share.
        classes: how many the data set has; None where there is no file.
        blocks: the network's blocks in its order.
        refused: segments that can't be replaced by one convolution.
        uncounted: layers whose multiply-accumulates are not counted.
        commands: that added to the study, in their order.
    """

    dataset: str = ""
    settings: dict[str, object] = field(default_factory=dict)
    classes: int | None = None
    blocks: tuple[BlockDescription, ...] = ()
    refused: tuple[Refused, ...] = ()
    uncounted: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()


def this_command(command: str, started: float, seconds: float | None) -> Command:
    """Returns a command as it runs here, with this machine's versions and hardware."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return Command(command, started, seconds, versions, devices.describe())


def read(file: Path) -> Description:
    """Returns what `study.json` says; an empty description if there is no such file.

    Raises:
        DamagedFile: if it is not as it was written.
    """
    told = files.read_json(file)
    if told is None:
        return Description()
    values = {
        "blocks": tuple(map(_block, told.pop("blocks", ()))),
        "refused": tuple(Refused(**segment) for segment in told.pop("refused", ())),
        "uncounted": tuple(told.pop("uncounted", ())),
        "commands": tuple(Command(**command) for command in told.pop("commands", ())),
    }
    return Description(**told, **values)


def _block(told: dict[str, object]) -> BlockDescription:
    shapes = {name: tuple(told[name]) for name in ("received", "returned")}  # JSON has lists
    return BlockDescription(**told | shapes)


def blocks_of(file: Path) -> tuple[BlockDescription, ...]:
    """Returns the blocks in `study.json`; none if the file is missing or damaged."""
    try:
        return read(file).blocks
    except DamagedFile:
        return ()


def write(file: Path, description: Description, say: Callable[[str], None]) -> None:
    """Writes `study.json`; earlier commands stay in it.

    Args:
        file: `study.json`.
        description: with one command, which replaces what the same command wrote before.
        say: is told of a damaged file, whose earlier commands are lost.
    """
    try:
        earlier = read(file)
    except DamagedFile as damage:
        say(f"{damage}; it begins anew")
        earlier = Description()
    (command,) = description.commands
    others = [one for one in earlier.commands if one.started != command.started]
    whole = replace(description, commands=(*others, command))
    files.write_json(file, asdict(whole))
