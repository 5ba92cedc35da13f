"""Every flag with its default, the same for every data set, its meaning and its check."""

import math
from collections.abc import Callable

from absl import flags

from deep_net_triage import methods

OPTIMIZERS = ("adam", "sgd")
AUGMENTATIONS = ("none", "flip_crop")
MEANS = ("block", "channel")
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
EXPORTS = ("litert", "saved_model")
LAUNCHERS = ("local", "ray")
KEPT_AS = ("exact", "float16")
SMALLEST_IMAGE = 32  # five poolings by two leave one pixel


def declare() -> flags.FlagValues:
    """Declares every flag with its default, the same for every data set, and its check."""
    declared = _Declared(flags.FlagValues())
    for declare_some in (_what_runs, _images, _network, _training, _resources, _outcome):
        declare_some(declared)
    return declared.values


class _Declared:
    """Flags that are being declared, by the kind of their values."""

    def __init__(self, values: flags.FlagValues) -> None:
        self.values = values

    def text(self, name: str, default: str | None, meaning: str) -> None:
        flags.DEFINE_string(name, default, meaning, flag_values=self.values)

    def choice(self, name: str, default: str, allowed: tuple[str, ...], meaning: str) -> None:
        flags.DEFINE_enum(name, default, allowed, meaning, flag_values=self.values)

    def switch(self, name: str, default: bool, meaning: str) -> None:
        flags.DEFINE_boolean(name, default, meaning, flag_values=self.values)

    def count(self, name: str, default: int | None, meaning: str, at_least: int = 1) -> None:
        flags.DEFINE_integer(name, default, meaning, flag_values=self.values)
        self._check(name, lambda n: n >= at_least, f"at least {at_least}")

    def positive(self, name: str, default: float, meaning: str) -> None:
        self._number(name, default, meaning, lambda x: x > 0, "above 0")

    def fraction(self, name: str, default: float, meaning: str) -> None:
        self._number(name, default, meaning, lambda x: 0 <= x < 1, "from 0 to below 1")

    def room(self, name: str, meaning: str) -> None:
        self._number(name, None, meaning, lambda x: x >= 0, "at least 0")

    def _number(
        self,
        name: str,
        default: float | None,
        meaning: str,
        valid: Callable[[float], bool],
        allowed: str,
    ) -> None:
        flags.DEFINE_float(name, default, meaning, flag_values=self.values)
        self._check(name, lambda x: math.isfinite(x) and valid(x), allowed)

    def _check(self, name: str, valid: Callable[[float], bool], allowed: str) -> None:
        flags.register_validator(
            name,
            lambda value: value is None or valid(value),
            f"must be {allowed}",
            flag_values=self.values,
        )


def _what_runs(declared: _Declared) -> None:
    declared.text("dataset", "digits", "digits (embedded), or a TFDS image classification set.")
    names = ", ".join(methods.METHODS)
    declared.text("method", "all", f"Comma-separated: {names}, paper, all, control.")
    declared.text(
        "block", "all", "Comma-separated numbers, names, first_layer:last_layer, or all."
    )
    declared.switch(
        "list_blocks", False, "Show the parent's blocks and what is none, and stop."
    )
    declared.text("seeds", "0", "Comma-separated; each is a trial of its own.")
    declared.text(
        "parent", None, "A saved model (.keras, .h5) to triage instead of training one."
    )
    declared.text(
        "parent_weights", "none", "A trained parent starts from: none, imagenet, or a file."
    )


def _images(declared: _Declared) -> None:
    declared.text(
        "image_dir", None, "Your own images, {train,test}/class/*.jpg, instead of --dataset."
    )
    declared.text(
        "class_names", None, "A file: a class of --image_dir a line, as --parent has them."
    )
    declared.text("data_dir", None, "Where TFDS keeps its data; by default TFDS's own folder.")
    declared.count("train_examples", None, "Use only N training images, class-balanced.")
    declared.count("test_examples", None, "Use only N test images, class-balanced.")
    declared.fraction(
        "validation_fraction",
        0.0,
        "Of the training images, held out to choose the epoch; 0: the test images choose it.",
    )
    declared.choice("augment", "none", AUGMENTATIONS, "Random changes to training images.")


def _network(declared: _Declared) -> None:
    # The paper's network and its input (section 3).
    declared.count("image_size", 224, "Side of the network's input in pixels.", SMALLEST_IMAGE)
    declared.positive("width", 1.0, "Factor of filters and dense units.")
    declared.fraction("dropout", 0.0, "After fc1 and fc2.")
    # Keras's 0.99 needs hundreds of steps before its statistics mean anything; a retrained
    # block on a small set has fewer.
    declared.fraction("batchnorm_momentum", 0.9, "Of moving statistics.")
    declared.choice("mean_over", "block", MEANS, "What mean initialisation averages over.")


def _training(declared: _Declared) -> None:
    # The paper gives no epochs. From scratch a parent needs more than a student, which starts
    # from trained weights everywhere but in one layer.
    declared.count("parent_epochs", 30, "Epochs of the parent's training.")
    declared.count("epochs", 15, "Epochs of a trial's classification phase.")
    declared.count("distill_epochs", 10, "Epochs of a trial's student-teacher phase.")
    # Small enough for many updates on the smallest sets, large enough for batch statistics.
    declared.count("batch_size", 32, "Images a step, over all replicas.")
    # Adam's own default; docs/reproduction.md has what else was tried.
    declared.positive("learning_rate", 1e-3, "Of the optimiser.")
    declared.choice("optimizer", "adam", OPTIMIZERS, "Of parent and classification phase.")
    declared.choice(
        "precision", "auto", PRECISIONS, "auto: half on GPUs made for it, else float32."
    )
    declared.switch(
        "deterministic", False, "Equal commands, interrupted or not, give equal numbers."
    )


def _resources(declared: _Declared) -> None:
    declared.room(
        "activation_memory",
        "GiB of memory for what frozen layers return; by default a quarter of what is free.",
    )
    declared.room(
        "activation_disk",
        "GiB of disk for what exceeds that; by default a quarter of what is free.",
    )
    declared.text(
        "activation_dir", None, "Where that disk space is; by default in --output_dir."
    )
    declared.choice("activation_dtype", "exact", KEPT_AS, "float16 halves both, and rounds.")
    declared.count("replicas", None, "Devices that share each batch; by default all GPUs.")
    declared.count(
        "parallel_trials", 1, "Trials at once, each on a GPU or share of cores of its own."
    )
    declared.choice("launcher", "local", LAUNCHERS, "ray: trials run on a Ray cluster.")
    declared.text("ray_address", "auto", "Of the Ray cluster, as `ray start` names it.")
    declared.text(
        "shard", None, "Run part i of n of the trials: i/n; auto, auto/n in job arrays."
    )


def _outcome(declared: _Declared) -> None:
    declared.text(
        "output_dir", "runs", "Where results go, in a folder named after the data set."
    )
    declared.switch("save_models", True, "Keep each trial's best model.")
    # What most users of a compressed network accept (accuracy, 0..1).
    declared.fraction("max_drop", 0.02, "The accuracy that may be lost, 0..1.")
    declared.switch(
        "compress", False, "Compress several blocks, one by one, within --max_drop."
    )
    declared.text(
        "export", None, f"The model to take, for others: {', '.join(EXPORTS)}, or both."
    )
    declared.switch("tensorboard", False, "Write learning curves for TensorBoard as well.")
    declared.switch("latency", False, "Measure how long models take; nothing else should run.")
    declared.switch(
        "overwrite", False, "Replace results whose settings differ instead of stopping."
    )
