"""Turns a command line into one frozen value, in which every flag has been checked."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from deep_net_triage import methods
from deep_net_triage.commands import checks, declarations, flagfiles, shards
from deep_net_triage.commands.recipes import RECIPES
from deep_net_triage.errors import InputError

GIB = 2**30
_LONGEST_NAME = 100
_NOT_A_FLAG = "'{}' is not a flag; write --name=value (--help lists all)"
_PATHS = ("parent", "data_dir", "output_dir", "activation_dir", "image_dir", "class_names")

# Adam's usual rate, whatever suits other phases and another optimiser.
DISTILL_LEARNING_RATE = 1e-3

# Mirrored, many digits and letters become others, or none.
_NEVER_FLIPPED = re.compile(r"(digits|(e|k|q)?mnist|svhn_cropped|omniglot)\b")

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
    recipe: str
    parent_epochs: int
    parent_patience: int | None
    parent_seed: int
    epochs: int
    distill_epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    retrain_learning_rate: float | None
    layer_learning_rate: float | None
    schedule: str
    warmup_epochs: int
    weight_decay: float
    label_smoothing: float
    clip_norm: float | None
    distill: str
    temperature: float
    dropout: float
    batchnorm_momentum: float
    augment: str
    augment_copies: int | None
    mean_over: str
    block_start: str
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

    @property
    def settles(self) -> bool:
        """Whether the rate falls to zero in each phase, so that the last epoch counts."""
        return self.schedule == "cosine"

    def classification_rate(self, updates: str) -> float:
        """Returns the learning rate of a trial's classification phase.

        Args:
            updates: `block` if the compressed block is trained alone, `model` if all layers.
        """
        own = {"block": self.layer_learning_rate, "model": self.retrain_learning_rate}
        return own[updates] or self.learning_rate

    @property
    def distillation_rate(self) -> float:
        """The learning rate of the student-teacher phase.

        The phase always uses Adam: Eq. 3 sums over up to 802,816 elements, and plain SGD
        diverges on it.
        """
        return self.layer_learning_rate or DISTILL_LEARNING_RATE

    def of_training(self) -> dict[str, object]:
        """Returns the settings that determine how a network is trained on labels."""
        optimizing = ("batch_size", "learning_rate", "optimizer", "schedule", "warmup_epochs")
        regularizing = ("weight_decay", "label_smoothing", "clip_norm", "augment")
        return self._only(*optimizing, *regularizing, "precision", "deterministic")

    def of_parent(self) -> dict[str, object]:
        """Returns the settings that determine a parent that is trained here."""
        epochs = ("parent_epochs", "parent_patience", "parent_seed")
        return {
            **self.of_data(),
            **self._only("width", "parent_weights", *epochs),
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
            "distillation_rate": row.distil,
            "activation_dtype": reads_activations,
            "augment_copies": reads_activations,
            "layer_learning_rate": row.compresses and row.updates == "model",
            "mean_over": row.initializer == "mean",
            "block_start": row.initializer == "glorot_uniform",
            "distill": row.taught,
            "temperature": row.taught and self.distill != "features",
        }
        names = [name for name, is_used in used.items() if is_used]
        rate = {"learning_rate": self.classification_rate(row.updates)}
        return {**self._only("epochs"), **self.of_training(), **rate, **self._only(*names)}

    def _only(self, *names: str) -> dict[str, object]:
        return {name: getattr(self, name) for name in names}


def from_command_line(arguments: list[str], flags_dir: Path | None = None) -> Settings:
    """Returns the settings of a command line.

    Flags are read from the recipe, then from the data set's own flag file, then from each
    `--flagfile`, then from the command line, wherever they stand on it; later values win.

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
    own = flags_dir / f"{values.dataset}.flags" if flags_dir and not values.image_dir else None
    if own and checks.is_true(own.is_file):
        flags_given = flagfiles.read(own, switches) + flags_given
        values = _parse(flags_given)
    return _settings(_parse([*RECIPES[values.recipe], *flags_given]))


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
    checks.check(given, values["dataset"].present)
    if given["image_dir"]:
        given["dataset"] = given["image_dir"].resolve().name
    elif given["augment"] == "flip_crop" and _NEVER_FLIPPED.match(given["dataset"]):
        given["augment"] = "crop"
    for name in ("activation_memory", "activation_disk"):
        given[name] = None if given[name] is None else int(given[name] * GIB)
    given["seeds"] = _seeds(given["seeds"])
    given["export"] = checks.names(given["export"]) if given["export"] else ()
    for name in given["export"]:
        if name not in declarations.EXPORTS:
            allowed = ", ".join(declarations.EXPORTS)
            raise InputError(f"--export: '{name}' is not a format; allowed: {allowed}")
    given["shard"] = shards.parse(given["shard"], os.environ)
    blocks, chosen = checks.names(given.pop("block")), methods.select(given.pop("method"))
    given["control"] |= methods.CONTROL in chosen
    return Settings(
        methods=tuple(name for name in chosen if name in methods.METHODS),
        blocks=None if "all" in blocks else blocks,
        **given,
    )


def _seeds(text: str) -> tuple[int, ...]:
    try:
        seeds = tuple(map(int, checks.names(text)))
    except ValueError:
        seeds = ()
    # Keras seeds are unsigned 32-bit integers.
    if not seeds or not all(0 <= seed < 2**32 for seed in seeds):
        raise InputError(f"--seeds='{text}': must be whole numbers from 0, comma-separated")
    return tuple(dict.fromkeys(seeds))
