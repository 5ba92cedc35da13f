"""Turns a command line into one frozen value, in which every flag has been checked."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from deep_net_triage import methods
from deep_net_triage.commands import declarations, flagfiles, shards
from deep_net_triage.errors import InputError

GIB = 2**30
_LONGEST_NAME = 100
_NOT_A_FLAG = "'{}' is not a flag; write --name=value (--help lists all)"
_PATHS = ("parent", "data_dir", "output_dir", "activation_dir", "image_dir", "class_names")

# The student-teacher phase always uses Adam at its usual rate: Eq. 3 sums over up to 802,816
# elements, and plain SGD diverges on it.
DISTILL_LEARNING_RATE = 1e-3

# Python's error messages that absl passes on, and plain words for them.
_PLAIN_WORDS = (
    (r"invalid literal for int\(\).*", "must be a whole number"),
    (r"could not convert string to float.*", "must be a number"),
    (r"\('Non-boolean argument.*", "must be true or false"),
    (r"value should be one of <(.*)>", r"must be one of \1"),
)


@dataclass(frozen=True)
class Settings:
    """The flags of one command, checked; each attribute is the flag of the same name, except:

    Attributes:
        methods: names from `METHODS`; `control` is separate.
        control: whether the control runs: by its flag, or because `--method` names it.
        blocks: names or numbers as typed, which only the parent can resolve; None for all.
        activation_memory, activation_disk: in bytes; None for a quarter of what is free.
        shard: the job's number, from 0, and the number of jobs; None for all trials.
    """

    dataset: str
    methods: tuple[str, ...]
    control: bool
    blocks: tuple[str, ...] | None
    seeds: tuple[int, ...]
    list_blocks: bool
    parent: Path | None
    parent_weights: str
    image_dir: Path | None
    class_names: Path | None
    data_dir: Path | None
    train_examples: int | None
    test_examples: int | None
    validation_fraction: float
    image_size: int
    width: float
    parent_epochs: int
    epochs: int
    distill_epochs: int
    batch_size: int
    learning_rate: float
    optimizer: str
    dropout: float
    batchnorm_momentum: float
    augment: str
    mean_over: str
    output_dir: Path
    save_models: bool
    overwrite: bool
    precision: str
    activation_memory: int | None
    activation_disk: int | None
    activation_dir: Path | None
    activation_dtype: str
    deterministic: bool
    replicas: int | None
    parallel_trials: int
    launcher: str
    ray_address: str
    shard: tuple[int, int] | None
    max_drop: float
    compress: bool
    export: tuple[str, ...]
    latency: bool
    tensorboard: bool

    @property
    def folder(self) -> Path:
        """The study's folder: `<output_dir>/<dataset>`."""
        return self.output_dir / re.sub(r"[^\w.-]", "-", self.dataset)

    def of_data(self) -> dict[str, object]:
        """Returns the settings that determine which images a network sees, and how."""
        folder = {"image_dir": str(self.image_dir)} if self.image_dir else {}
        counts = ("train_examples", "test_examples", "validation_fraction", "image_size")
        return self._only("dataset") | folder | self._only(*counts)

    def of_training(self) -> dict[str, object]:
        """Returns the settings that determine how a network is trained on labels."""
        optimizing = ("batch_size", "learning_rate", "optimizer", "augment")
        return self._only(*optimizing, "precision", "deterministic")

    def of_parent(self) -> dict[str, object]:
        """Returns the settings that determine a parent that is trained here."""
        return {
            **self.of_data(),
            **self._only("width", "parent_weights", "parent_epochs"),
            **self.of_training(),
            **self._only("dropout", "batchnorm_momentum"),
        }

    def of_trial(self, method: str) -> dict[str, object]:
        """Returns the settings that determine a trial, besides those of data and parent.

        Settings that a method does not use are left out, so that changing them leaves its
        trials valid.

        Args:
            method: a name from `TABLE`.
        """
        row = methods.TABLE[method]
        reads_activations = row.distil or row.updates == "block"
        used = {
            "batchnorm_momentum": row.compresses,
            "distill_epochs": row.distil,
            "activation_dtype": reads_activations,
            "mean_over": row.initializer == "mean",
        }
        names = [name for name, is_used in used.items() if is_used]
        return {**self._only("epochs"), **self.of_training(), **self._only(*names)}

    def _only(self, *names: str) -> dict[str, object]:
        return {name: getattr(self, name) for name in names}


def from_command_line(arguments: list[str], flags_dir: Path | None = None) -> Settings:
    """Returns the settings of a command line.

    Flags are read from the data set's own flag file, then from each `--flagfile`, then from the
    command line, wherever they stand on it; later values win.

    Args:
        arguments: the command line without the program's name.
        flags_dir: the folder with `<dataset>.flags`; None to read no such file.

    Raises:
        InputError: if a flag, a value or a flag file is wrong.
    """
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
    flags_given = [line for file in files for line in flagfiles.read(file, switches)] + typed
    values = _parse(flags_given)
    if flags_dir and not values.image_dir:
        own = flags_dir / f"{values.dataset}.flags"
        if _is_true(own.is_file):
            values = _parse(flagfiles.read(own, switches) + flags_given)
    return _settings(values)


def help_text() -> str:
    """Returns the name, meaning and default of every flag, for people."""
    return declarations.declare().get_help()


def _parse(arguments: list[str]) -> flags.FlagValues:
    """Returns parsed flags; absl's error messages name the flag and the value."""
    values = declarations.declare()
    for argument in arguments:
        # absl searches for similar names by a recursion as deep as the name is long.
        if len(argument.partition("=")[0]) > _LONGEST_NAME:
            raise InputError(_NOT_A_FLAG.format(argument))
    try:
        _, *unexpected = values(["run_triage.py", *arguments])
    except flags.Error as error:
        message = " ".join(str(error).split())
        for python, plain in _PLAIN_WORDS:
            message = re.sub(python, plain, message)
        raise InputError(f"{message} (--help lists all flags)") from error
    if unexpected:
        raise InputError(_NOT_A_FLAG.format(unexpected[0]))
    return values


def _settings(values: flags.FlagValues) -> Settings:
    """Returns the settings of parsed flags, after the checks that absl can't make."""
    given = values.flag_values_dict()
    for name in _PATHS:
        given[name] = Path(given[name]).expanduser() if given[name] else None
    _check(given, values["dataset"].present)
    if given["image_dir"]:
        given["dataset"] = given["image_dir"].resolve().name
    for name in ("activation_memory", "activation_disk"):
        given[name] = None if given[name] is None else int(given[name] * GIB)
    given["seeds"] = _seeds(given["seeds"])
    given["export"] = _names(given["export"]) if given["export"] else ()
    for name in given["export"]:
        if name not in declarations.EXPORTS:
            allowed = ", ".join(declarations.EXPORTS)
            raise InputError(f"--export: '{name}' is not a format; allowed: {allowed}")
    given["shard"] = shards.parse(given["shard"], os.environ)
    blocks, chosen = _names(given.pop("block")), methods.select(given.pop("method"))
    given["control"] |= methods.CONTROL in chosen
    return Settings(
        methods=tuple(name for name in chosen if name in methods.METHODS),
        blocks=None if "all" in blocks else blocks,
        **given,
    )


def _check(given: dict[str, object], dataset_typed: bool) -> None:
    """Raises InputError if paths, names or combinations of flags are wrong."""
    parent, weights, folder = (given[n] for n in ("parent", "parent_weights", "image_dir"))
    scratch = given["activation_dir"]
    trials_divided = given["parallel_trials"] > 1 or given["shard"]
    wrong = {
        "--output_dir is empty; it must be a folder": not given["output_dir"],
        "--class_names goes with --image_dir; other data sets name their own": (
            given["class_names"] and not folder
        ),
        "--image_dir and --dataset exclude each other: one set of images": (
            folder and dataset_typed
        ),
        f"--image_dir={folder} is not a folder; it must hold train/ and test/": (
            folder and not _is_true(folder.is_dir)
        ),
        f"--dataset='{given['dataset']}' is not the name of a data set": (
            not folder and not re.fullmatch(r"\w[\w.+/:-]*", given["dataset"])
        ),
        f"--activation_dir={scratch} is not a folder that can be written to": (
            scratch and not (_is_true(scratch.is_dir) and os.access(scratch, os.W_OK))
        ),
        f"--parent={parent} is not a file; it must be a .keras model": (
            parent and not _is_true(parent.is_file)
        ),
        "--parent and --parent_weights exclude each other: one trained parent": (
            parent and weights != "none"
        ),
        f"--parent_weights needs --width=1, the width of VGG16, not {given['width']}": (
            weights != "none" and given["width"] != 1
        ),
        f"--parent_weights={weights} is not a file; allowed: none, imagenet, or a file": (
            weights not in ("none", "imagenet") and not _is_true(Path(weights).is_file)
        ),
        "--launcher=ray divides the trials itself; --parallel_trials and --shard exclude it": (
            given["launcher"] == "ray" and trials_divided
        ),
        "--compress and --export need the models that --nosave_models drops": (
            (given["compress"] or given["export"]) and not given["save_models"]
        ),
        f"--block='{given['block']}' names no block; allowed: numbers, names, or all": (
            not all(_names(given["block"]))
        ),
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise InputError(message)


def _is_true(exists: Callable[[], bool]) -> bool:
    """Returns the result of a test of a path; False if the system allows no such path."""
    try:
        return exists()
    except OSError:
        return False


def _names(text: str) -> tuple[str, ...]:
    """Returns the different names of a comma-separated list, in order."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(map(int, _names(text)))
    except ValueError:
        seeds = ()
    # Keras seeds are unsigned 32-bit integers.
    if not seeds or not all(0 <= seed < 2**32 for seed in seeds):
        raise InputError(f"--seeds='{text}': must be whole numbers from 0, comma-separated")
    return tuple(dict.fromkeys(seeds))
