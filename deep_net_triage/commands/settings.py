"""The command line: every flag declared and checked once, turned into one frozen value."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from deep_net_triage import methods
from deep_net_triage.commands import declarations, flagfiles, shards
from deep_net_triage.errors import InputError

_LONGEST_NAME = 100

GIB = 2**30

# Student-teacher training uses Adam at its usual rate whatever the classification phase uses:
# Eq. 3 sums over up to 802,816 elements, and plain SGD diverges on it.
DISTILL_LEARNING_RATE = 1e-3

# What absl passes on of Python's own errors, and what a person should read instead.
_PLAIN_WORDS = (
    (r"invalid literal for int\(\).*", "must be a whole number"),
    (r"could not convert string to float.*", "must be a number"),
    (r"\('Non-boolean argument.*", "must be true or false"),
    (r"value should be one of <(.*)>", r"must be one of \1"),
)


@dataclass(frozen=True)
class Settings:
    """What one command asks for; each attribute is the flag of its name.

    `methods` are those of the table, and `control` says whether the parent is trained on beside
    them; `blocks` is None for all, and otherwise holds what was typed, names or numbers, which
    only the parent can resolve; `train_examples` and `test_examples` are None for all;
    `activation_memory` and `activation_disk` are in bytes, and None for a quarter of what is
    free.
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
        """The settings that determine which images a network sees, and how."""
        return {
            "dataset": self.dataset,
            **({"image_dir": str(self.image_dir)} if self.image_dir else {}),
            "train_examples": self.train_examples,
            "test_examples": self.test_examples,
            "validation_fraction": self.validation_fraction,
            "image_size": self.image_size,
        }

    def of_training(self) -> dict[str, object]:
        """The settings that determine how a network is trained on its labels."""
        return {
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "optimizer": self.optimizer,
            "augment": self.augment,
            "precision": self.precision,
            "deterministic": self.deterministic,
        }

    def of_parent(self) -> dict[str, object]:
        """The settings that determine a parent trained here."""
        return {
            **self.of_data(),
            "width": self.width,
            "parent_weights": self.parent_weights,
            "parent_epochs": self.parent_epochs,
            **self.of_training(),
            "dropout": self.dropout,
            "batchnorm_momentum": self.batchnorm_momentum,
        }

    def of_trial(self, method: str) -> dict[str, object]:
        """The settings that determine a trial of a method or of the control.

        The parent and the data are apart.

        What a method does not use (distillation epochs without distillation, the kind of mean
        without one) is left out, so that changing it leaves the method's trials valid.
        """
        row = methods.TABLE[method]
        determining = {"epochs": self.epochs, **self.of_training()}
        if row.compresses:
            determining["batchnorm_momentum"] = self.batchnorm_momentum
        if row.distil:
            determining["distill_epochs"] = self.distill_epochs
        if row.distil or row.updates == "block":
            determining["activation_dtype"] = self.activation_dtype
        if row.initializer == "mean":
            determining["mean_over"] = self.mean_over
        return determining


def from_command_line(arguments: list[str], flags_dir: Path | None = None) -> Settings:
    """Returns the settings that a command line asks for.

    The data set's own flag file comes first, then each `--flagfile`, then every flag typed,
    wherever it stands on the line; what comes later wins.

    Args:
        arguments: the command line without the program's name.
        flags_dir: the folder that holds `<dataset>.flags`; None without any.

    Raises:
        InputError: if a flag, a value or a flag file is wrong.
    """
    for argument in arguments:
        if "\0" in argument:
            raise InputError(f"{argument!r} holds a null character, which no flag allows")
    files, typed = flagfiles.split(arguments)
    switches = _switches(declarations.declare())
    asked = [line for file in files for line in flagfiles.read(file, switches)] + typed
    values = _parse(asked)
    defaults = []
    if flags_dir and not values.image_dir:
        own = flags_dir / f"{values.dataset}.flags"
        defaults = flagfiles.read(own, switches) if _allows(own.is_file) else []
    return _settings(_parse(defaults + asked))


def help_text() -> str:
    """Returns a paragraph a flag: its name, its meaning, its default."""
    return declarations.declare().get_help()


def _switches(values: flags.FlagValues) -> frozenset[str]:
    names = [name for name in values if values[name].boolean]
    return frozenset(f"--{prefix}{name}" for name in names for prefix in ("", "no"))


def _parse(arguments: list[str]) -> flags.FlagValues:
    """Parses arguments by absl, whose messages name the flag and the value."""
    values = declarations.declare()
    for argument in arguments:
        # absl looks for flags of similar names by a recursion as deep as the name is long.
        if len(argument.partition("=")[0]) > _LONGEST_NAME:
            raise InputError(f"'{argument}' is no flag; write --name=value (--help lists all)")
    try:
        _, *unexpected = values(["run_triage.py", *arguments])
    except flags.Error as error:
        message = " ".join(str(error).split())
        for python, plain in _PLAIN_WORDS:
            message = re.sub(python, plain, message)
        raise InputError(f"{message} (--help lists all flags)") from error
    if unexpected:
        raise InputError(f"'{unexpected[0]}' is no flag; write --name=value (--help lists all)")
    return values


def _settings(values: flags.FlagValues) -> Settings:
    """Turns parsed flags into the frozen value, checking what takes more than one look."""
    asked = values.flag_values_dict()
    method, block = asked.pop("method"), asked.pop("block")
    paths = ("parent", "data_dir", "output_dir", "activation_dir", "image_dir", "class_names")
    for name in paths:
        asked[name] = Path(asked[name]).expanduser() if asked[name] else None
    if asked["output_dir"] is None:
        raise InputError("--output_dir is empty; it must be a folder")
    if asked["class_names"] and not asked["image_dir"]:
        raise InputError("--class_names goes with --image_dir; other data sets name their own")
    if asked["image_dir"]:
        asked["dataset"] = _folder_of_images(values, asked["image_dir"])
    elif not re.fullmatch(r"\w[\w.+/:-]*", asked["dataset"]):
        raise InputError(f"--dataset='{asked['dataset']}' is no data set's name")
    folder = asked["activation_dir"]
    if folder and not (_allows(folder.is_dir) and os.access(folder, os.W_OK)):
        raise InputError(f"--activation_dir={folder} is no folder that can be written to")
    for name in ("activation_memory", "activation_disk"):
        asked[name] = None if asked[name] is None else int(asked[name] * GIB)
    if asked["parent"] and not _allows(asked["parent"].is_file):
        raise InputError(f"--parent={asked['parent']} is no file; it must be a .keras model")
    if asked["parent"] and asked["parent_weights"] != "none":
        raise InputError("--parent and --parent_weights exclude each other: one trained parent")
    _check_weights(asked["parent_weights"], asked["width"])
    asked["seeds"] = _seeds(asked["seeds"])
    asked["export"] = _formats(asked["export"])
    asked["shard"] = shards.parse(asked["shard"], os.environ)
    if asked["launcher"] == "ray" and (asked["parallel_trials"] > 1 or asked["shard"]):
        raise InputError(
            "--launcher=ray divides the trials itself; --parallel_trials and "
            "--shard do not go with it"
        )
    if (asked["compress"] or asked["export"]) and not asked["save_models"]:
        raise InputError("--compress and --export need the models that --nosave_models drops")
    names = tuple(dict.fromkeys(name.strip() for name in block.split(",")))
    if not all(names):
        raise InputError(f"--block='{block}' names no block; allowed: numbers, names, or all")
    chosen = methods.select(method)
    return Settings(
        methods=tuple(name for name in chosen if name in methods.METHODS),
        control=methods.CONTROL in chosen,
        blocks=None if "all" in names else names,
        **asked,
    )


def _allows(exists: Callable[[], bool]) -> bool:
    """Asks for a file or folder by a name that the file system may not even allow."""
    try:
        return exists()
    except OSError:
        return False


def _folder_of_images(values: flags.FlagValues, folder: Path) -> str:
    """Returns a folder's name, which is the data set's."""
    if values["dataset"].present:
        raise InputError("--image_dir and --dataset exclude each other: one set of images")
    if not _allows(folder.is_dir):
        raise InputError(f"--image_dir={folder} is no folder; it must hold train/ and test/")
    return folder.resolve().name


def _check_weights(parent_weights: str, width: float) -> None:
    if parent_weights == "none":
        return
    if width != 1:
        raise InputError(f"--parent_weights needs --width=1, the width of VGG16, not {width}")
    if parent_weights != "imagenet" and not _allows(Path(parent_weights).is_file):
        raise InputError(
            f"--parent_weights={parent_weights} is no file; allowed: none, imagenet, or a file"
        )


def _formats(text: str | None) -> tuple[str, ...]:
    """Returns the formats that a comma-separated list names."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(","))) if text else ()
    for name in names:
        if name not in declarations.EXPORTS:
            allowed = ", ".join(declarations.EXPORTS)
            raise InputError(f"--export: '{name}' is no format; allowed: {allowed}")
    return names


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        seeds = ()
    # Keras seeds are unsigned 32-bit integers.
    if not seeds or not all(0 <= seed < 2**32 for seed in seeds):
        raise InputError(f"--seeds='{text}': must be whole numbers from 0, comma-separated")
    return seeds
