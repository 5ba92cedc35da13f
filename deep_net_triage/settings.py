"""The command line: every flag declared and checked once, turned into one frozen value."""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from deep_net_triage import flagfiles, methods
from deep_net_triage.errors import InputError

OPTIMIZERS = ("adam", "sgd")
AUGMENTATIONS = ("none", "flip_crop")
MEANS = ("block", "channel")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
_LONGEST_NAME = 100
KEPT_AS = ("exact", "float16")
SMALLEST_IMAGE = 32  # five poolings by two leave one pixel

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

    `blocks` is None for all, and otherwise holds what was typed, names or numbers, which only
    the parent can resolve; `train_examples` and `test_examples` are None for all;
    `activation_memory` and `activation_disk` are in bytes, and None for a quarter of what is
    free.
    """

    dataset: str
    methods: tuple[str, ...]
    blocks: tuple[str, ...] | None
    seeds: tuple[int, ...]
    parent: Path | None
    parent_weights: str
    data_dir: Path | None
    train_examples: int | None
    test_examples: int | None
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

    @property
    def folder(self) -> Path:
        """The study's folder: `<output_dir>/<dataset>`."""
        return self.output_dir / re.sub(r"[^\w.-]", "-", self.dataset)

    def of_data(self) -> dict[str, object]:
        """The settings that determine which images a network sees, and how."""
        return {
            "dataset": self.dataset,
            "train_examples": self.train_examples,
            "test_examples": self.test_examples,
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
        """The settings that determine a trial of a method, the parent and the data apart.

        What a method does not use (distillation epochs without distillation, the kind of mean
        without one) is left out, so that changing it leaves the method's trials valid.
        """
        row = methods.METHODS[method]
        determining = {
            "epochs": self.epochs,
            **self.of_training(),
            "batchnorm_momentum": self.batchnorm_momentum,
        }
        if row.distil:
            determining["distill_epochs"] = self.distill_epochs
        if row.distil or row.updates == "block":
            determining["activation_dtype"] = self.activation_dtype
        if row.initializer == "mean":
            determining["mean_over"] = self.mean_over
        return determining


def from_command_line(arguments: list[str], flags_dir: Path) -> Settings:
    """Returns the settings that a command line asks for.

    The data set's own flag file comes first, then each `--flagfile`, then every flag typed,
    wherever it stands on the line; what comes later wins.

    Args:
        arguments: the command line without the program's name.
        flags_dir: the folder that holds `<dataset>.flags`.

    Raises:
        InputError: if a flag, a value or a flag file is wrong.
    """
    for argument in arguments:
        if "\0" in argument:
            raise InputError(f"{argument!r} holds a null character, which no flag allows")
    files, typed = flagfiles.split(arguments)
    switches = _switches(_declare())
    asked = [line for file in files for line in flagfiles.read(file, switches)] + typed
    own = flags_dir / f"{_parse(asked).dataset}.flags"
    defaults = flagfiles.read(own, switches) if _allows(own.is_file) else []
    return _settings(_parse(defaults + asked))


def help_text() -> str:
    """Returns a paragraph a flag: its name, its meaning, its default."""
    return _declare().get_help()


def _declare() -> flags.FlagValues:
    """Declares every flag with its default, the same for every data set, and its check."""
    values = flags.FlagValues()

    def text(name: str, default: str | None, meaning: str) -> None:
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def choice(name: str, default: str, allowed: tuple[str, ...], meaning: str) -> None:
        flags.DEFINE_enum(name, default, allowed, meaning, flag_values=values)

    def count(name: str, default: int | None, meaning: str, at_least: int = 1) -> None:
        flags.DEFINE_integer(name, default, meaning, flag_values=values)
        _check(values, name, lambda n: n is None or n >= at_least, f"at least {at_least}")

    def number(
        name: str,
        default: float | None,
        meaning: str,
        valid: Callable[[float], bool],
        allowed: str,
    ) -> None:
        flags.DEFINE_float(name, default, meaning, flag_values=values)
        _check(values, name, lambda x: x is None or (math.isfinite(x) and valid(x)), allowed)

    def switch(name: str, default: bool, meaning: str) -> None:
        flags.DEFINE_boolean(name, default, meaning, flag_values=values)

    def below_one(x: float) -> bool:
        return 0 <= x < 1

    def not_negative(x: float) -> bool:
        return x >= 0

    text("dataset", "digits", "digits (embedded), or a TFDS image classification set.")
    text("method", "all", f"Comma-separated: {', '.join(methods.METHODS)}, paper or all.")
    text("block", "all", "Comma-separated numbers or names of blocks, or all.")
    text("seeds", "0", "Comma-separated; each is a trial of its own.")
    text("parent", None, "A saved .keras model to triage instead of training one.")
    text("parent_weights", "none", "A trained parent starts from: none, imagenet, or a file.")
    text("data_dir", None, "Where TFDS keeps its data; by default TFDS's own folder.")
    count("train_examples", None, "Use only N training images, class-balanced.")
    count("test_examples", None, "Use only N test images, class-balanced.")
    # The paper's network and its input (section 3).
    count("image_size", 224, "Side of the network's input in pixels.", SMALLEST_IMAGE)
    number("width", 1.0, "Factor of filters and dense units.", lambda x: x > 0, "above 0")
    # The paper gives no epochs. From scratch a parent needs more than a student, which starts
    # from trained weights everywhere but in one layer.
    count("parent_epochs", 30, "Epochs of the parent's training.")
    count("epochs", 15, "Epochs of a trial's classification phase.")
    count("distill_epochs", 10, "Epochs of a trial's student-teacher phase.")
    # Small enough for many updates on the smallest sets, large enough for batch statistics.
    count("batch_size", 32, "Images a step, over all replicas.")
    # Adam's own default rate; one optimiser has to serve five data sets untuned.
    number("learning_rate", 1e-3, "Of the optimiser.", lambda x: x > 0, "above 0")
    choice("optimizer", "adam", OPTIMIZERS, "Of parent and classification phase.")
    number("dropout", 0.0, "After fc1 and fc2.", below_one, "from 0 to below 1")
    # Keras's 0.99 needs hundreds of steps before its statistics mean anything; a retrained
    # block on a small set has fewer.
    number("batchnorm_momentum", 0.9, "Of moving statistics.", below_one, "from 0 to below 1")
    choice("augment", "none", AUGMENTATIONS, "Random changes to training images.")
    choice("mean_over", "block", MEANS, "What mean initialisation averages over.")
    choice("precision", "auto", PRECISIONS, "auto: half on GPUs made for it, else float32.")
    number(
        "activation_memory",
        None,
        "GiB of memory for what frozen layers return; by default a quarter of what is free.",
        not_negative,
        "at least 0",
    )
    number(
        "activation_disk",
        None,
        "GiB of disk for what exceeds that; by default a quarter of what is free.",
        not_negative,
        "at least 0",
    )
    text("activation_dir", None, "Where that disk space is; by default in --output_dir.")
    choice("activation_dtype", "exact", KEPT_AS, "float16 halves both, and rounds.")
    switch("deterministic", False, "Equal commands, interrupted or not, give equal numbers.")
    text("output_dir", "runs", "Where results go, in a folder named after the data set.")
    switch("save_models", True, "Keep each trial's best model.")
    switch("overwrite", False, "Replace results whose settings differ instead of stopping.")
    return values


def _check(
    values: flags.FlagValues, name: str, valid: Callable[[float], bool], allowed: str
) -> None:
    flags.register_validator(name, valid, f"must be {allowed}", flag_values=values)


def _switches(values: flags.FlagValues) -> frozenset[str]:
    names = [name for name in values if values[name].boolean]
    return frozenset(f"--{prefix}{name}" for name in names for prefix in ("", "no"))


def _parse(arguments: list[str]) -> flags.FlagValues:
    """Parses arguments by absl, whose messages name the flag and the value."""
    values = _declare()
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
    for name in ("parent", "data_dir", "output_dir", "activation_dir"):
        asked[name] = Path(asked[name]).expanduser() if asked[name] else None
    if asked["output_dir"] is None:
        raise InputError("--output_dir is empty; it must be a folder")
    if not re.fullmatch(r"\w[\w.+/:-]*", asked["dataset"]):
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
    names = tuple(dict.fromkeys(name.strip() for name in block.split(",")))
    if not all(names):
        raise InputError(f"--block='{block}' names no block; allowed: numbers, names, or all")
    blocks = None if "all" in names else names
    return Settings(methods=methods.select(method), blocks=blocks, **asked)


def _allows(exists: Callable[[], bool]) -> bool:
    """Asks for a file or folder by a name that the file system may not even allow."""
    try:
        return exists()
    except OSError:
        return False


def _check_weights(parent_weights: str, width: float) -> None:
    if parent_weights == "none":
        return
    if width != 1:
        raise InputError(f"--parent_weights needs --width=1, the width of VGG16, not {width}")
    if parent_weights != "imagenet" and not _allows(Path(parent_weights).is_file):
        raise InputError(
            f"--parent_weights={parent_weights} is no file; allowed: none, imagenet, or a file"
        )


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        seeds = ()
    # Keras seeds are unsigned 32-bit integers.
    if not seeds or not all(0 <= seed < 2**32 for seed in seeds):
        raise InputError(f"--seeds='{text}': must be whole numbers from 0, comma-separated")
    return seeds
