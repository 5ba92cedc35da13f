"""Turns a command line into settings, in which every flag has been checked."""

import os
import re
from pathlib import Path

from absl import flags

from deep_net_triage import methods
from deep_net_triage.commands import checks, declarations, flagfiles, manual, program, shards
from deep_net_triage.commands.recipes import flags_of
from deep_net_triage.commands.settings import GIB, Settings
from deep_net_triage.errors import InputError

_LONGEST_NAME = 100
_NOT_A_FLAG = "'{}' is not a flag; write --name=value (--help lists all)"
_PATHS = ("parent", "data_dir", "output_dir", "activation_dir", "image_dir", "class_names")

# `--compress` judges by images that it neither trains nor tests on.
_HELD_OUT = "--validation_fraction=0.1"

# Mirrored digits and letters often look like others, or like none; mirrored clothes do not.
_NEVER_FLIPPED = re.compile("(?<!fashion_)mnist|digits|svhn|omniglot|cmaterdb|letters")

# Python's error messages that absl passes on, and plain words for them.
_PLAIN_WORDS = (
    (r"invalid literal for int\(\).*", "must be a whole number"),
    (r"could not convert string to float.*", "must be a number"),
    (r"\('Non-boolean argument.*", "must be true or false"),
    (r"value should be one of <(.*)>", r"must be one of \1"),
)


def parse(
    arguments: list[str], flags_dir: Path | None = None, in_memory: bool = False
) -> Settings:
    """Returns the settings of a command line.

    Flags are read from the recipe, then from the data set's own flag file, then from each
    `--flagfile`, then from the command line, wherever they stand on it; later values win.

    Args:
        arguments: the command line without the program's name.
        flags_dir: the folder with `<dataset>.flags` and other flag files that `--flagfile`
            finds from anywhere; None to read no such file.
        in_memory: whether parent and images are given in memory, which no flag says.

    Raises:
        InputError: if a flag, a value or a flag file is wrong.
    """
    return _settings(_values(arguments, flags_dir, in_memory), in_memory)


def help_text(arguments: list[str], flags_dir: Path | None = None) -> str:
    """Returns examples, and the name, meaning and default of every flag.

    Args:
        arguments: the command line without the program's name. Its values, those of its recipe
            and of its data set are shown as defaults, if the command line is right.
        flags_dir: as for `parse`.
    """
    others = [argument for argument in arguments if argument not in ("--help", "-h")]
    try:
        values = _values(others, flags_dir)
    except InputError:
        values = _values([], flags_dir)
    return manual.text(values)


def _values(
    arguments: list[str], flags_dir: Path | None, in_memory: bool = False
) -> flags.FlagValues:
    """Returns all flags, parsed as `parse` describes it."""
    for argument in arguments:
        if "\0" in argument:
            raise InputError(f"{argument!r} holds a null character, which no flag allows")
    files, typed = flagfiles.split(arguments)
    declared = declarations.declare()
    switches = frozenset(
        f"--{prefix}{name}"
        for name in declared
        if declared[name].boolean
        for prefix in ("", "no")
    )
    found = [flagfiles.find(file, flags_dir) for file in files]
    flags_given = [line for file in found for line in flagfiles.read(file, switches)] + typed
    values = _parse(flags_given)
    own = flags_dir / f"{values.dataset}.flags" if flags_dir and not values.image_dir else None
    if own and checks.holds(own.is_file):
        flags_given = flagfiles.read(own, switches) + flags_given
        values = _parse(flags_given)
    recipe = flags_of(
        values.recipe,
        given_parent=in_memory or values.parent is not None,
        own_images=in_memory or values.image_dir is not None,
    )
    held_out = (_HELD_OUT,) if values.compress else ()
    return _parse([*recipe, *held_out, *flags_given])


def _parse(arguments: list[str]) -> flags.FlagValues:
    """Returns parsed flags; absl's error messages name the flag and the value."""
    values = declarations.declare()
    for argument in arguments:
        # absl searches for similar names by a recursion as deep as the name is long.
        if len(argument.partition("=")[0]) > _LONGEST_NAME:
            raise InputError(_NOT_A_FLAG.format(argument))
    try:
        _, *unexpected = values([program.name(), *arguments])
    except flags.Error as error:
        message = " ".join(str(error).split())
        for python, plain in _PLAIN_WORDS:
            message = re.sub(python, plain, message)
        raise InputError(f"{message} (--help lists all flags)") from error
    if unexpected:
        raise InputError(_NOT_A_FLAG.format(unexpected[0]))
    return values


def _settings(values: flags.FlagValues, in_memory: bool) -> Settings:
    """Returns the settings of parsed flags, after the checks that absl can't make."""
    given = values.flag_values_dict()
    for name in (*_PATHS, "fold", "shard"):
        if given[name] == "":
            raise InputError(f"--{name} is empty; give it a value, or leave the flag out")
    for name in _PATHS:
        given[name] = given[name] and Path(os.path.expanduser(given[name]))
    given["parent_weights"] = os.path.expanduser(given["parent_weights"])
    checks.check(given, values["dataset"].present, in_memory)
    if given["image_dir"]:
        # The name that `image_folders.load` gives; a symbolic link keeps its own name.
        given["dataset"] = Path(os.path.abspath(given["image_dir"])).name
    # In memory, the data set's name is only what the user calls it.
    elif not in_memory and _NEVER_FLIPPED.search(given["dataset"]):
        given["augment"] = "crop" if given["augment"] == "flip_crop" else given["augment"]
    for name in ("activation_memory", "activation_disk"):
        given[name] = None if given[name] is None else int(given[name] * GIB)
    given["seeds"] = _seeds("seeds", given["seeds"])
    final = given["final_seeds"]
    given["final_seeds"] = _seeds("final_seeds", final) if final else given["seeds"]
    given["latency_batches"] = _batches(given["latency_batches"])
    given["parallel_trials"] = _at_once(given["parallel_trials"])
    given["export"] = checks.names(given["export"]) if given["export"] else ()
    for name in given["export"]:
        if name not in declarations.EXPORTS:
            allowed = ", ".join(declarations.EXPORTS)
            raise InputError(f"--export: '{name}' is not a format; allowed: {allowed}")
    given["fold"] = _fold(given["fold"])
    given["shard"] = shards.parse(given["shard"], os.environ)
    blocks, chosen = checks.names(given.pop("block")), methods.select(given.pop("method"))
    given["control"] |= methods.CONTROL in chosen
    return Settings(
        methods=tuple(name for name in chosen if name in methods.METHODS),
        blocks=None if "all" in blocks else blocks,
        **given,
    )


def _at_once(text: str) -> int | None:
    """Returns the number of trials at once; None if the program chooses it."""
    if text == "auto":
        return None
    if not re.fullmatch(r"0*[1-9]\d{0,5}", text):
        raise InputError(f"--parallel_trials={text}: must be auto, or a number from 1")
    return int(text)


def _fold(text: str | None) -> tuple[int, int] | None:
    """Returns the number of the tested fold, and of all folds; None for the usual splits."""
    if not text:
        return None
    typed = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    number, count = map(int, typed.groups()) if typed else (0, 0)
    if count < 2 or number >= count:
        raise InputError(f"--fold={text}: must be i/n, with n from 2 and i from 0 to n-1")
    return number, count


def _batches(text: str) -> tuple[int, ...]:
    batches = checks.names(text)
    if not all(re.fullmatch(r"0*[1-9]\d{0,5}", batch) for batch in batches):
        raise InputError(f"--latency_batches='{text}': must be numbers from 1, comma-separated")
    return tuple(map(int, batches))


def _seeds(flag: str, text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(map(int, checks.names(text)))
    except ValueError:
        seeds = ()
    if not seeds or not all(0 <= seed < checks.SEEDS for seed in seeds):
        raise InputError(
            f"--{flag}='{text}': must be whole numbers from 0 to {checks.SEEDS - 1}, "
            "comma-separated"
        )
    return tuple(dict.fromkeys(seeds))
