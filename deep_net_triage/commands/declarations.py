"""Every flag with its default, the same for every data set, its meaning and its check."""

import math
from collections.abc import Callable

from absl import flags

from deep_net_triage.learning import methods

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
    names = ", ".join(methods.METHODS)
    text("method", "all", f"Comma-separated: {names}, paper, all, control.")
    text("block", "all", "Comma-separated numbers, names, first_layer:last_layer, or all.")
    switch("list_blocks", False, "Show the parent's blocks and what is none, and stop.")
    text("seeds", "0", "Comma-separated; each is a trial of its own.")
    text("parent", None, "A saved model (.keras, .h5) to triage instead of training one.")
    text("parent_weights", "none", "A trained parent starts from: none, imagenet, or a file.")
    text("image_dir", None, "Your own images, {train,test}/class/*.jpg, instead of --dataset.")
    text("class_names", None, "A file: a class of --image_dir a line, as --parent has them.")
    text("data_dir", None, "Where TFDS keeps its data; by default TFDS's own folder.")
    count("train_examples", None, "Use only N training images, class-balanced.")
    count("test_examples", None, "Use only N test images, class-balanced.")
    number(
        "validation_fraction",
        0.0,
        "Of the training images, held out to choose the epoch; 0: the test images choose it.",
        below_one,
        "from 0 to below 1",
    )
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
    count("replicas", None, "Devices that share each batch; by default all GPUs.")
    count("parallel_trials", 1, "Trials at once, each on a GPU or share of cores of its own.")
    choice("launcher", "local", LAUNCHERS, "ray: trials run on a Ray cluster.")
    text("ray_address", "auto", "Of the Ray cluster, as `ray start` names it.")
    text("shard", None, "Run part i of n of the trials: i/n; auto, auto/n in job arrays.")
    text("output_dir", "runs", "Where results go, in a folder named after the data set.")
    switch("save_models", True, "Keep each trial's best model.")
    # What most users of a compressed network accept (accuracy, 0..1).
    allowed = "from 0 to below 1"
    number("max_drop", 0.02, "The accuracy that may be lost, 0..1.", below_one, allowed)
    switch("compress", False, "Compress several blocks, one by one, within --max_drop.")
    text("export", None, f"The model to take, for others: {', '.join(EXPORTS)}, or both.")
    switch("tensorboard", False, "Write learning curves for TensorBoard as well.")
    switch("latency", False, "Measure how long models take; nothing else should run.")
    switch("overwrite", False, "Replace results whose settings differ instead of stopping.")
    return values


def _check(
    values: flags.FlagValues, name: str, valid: Callable[[float], bool], allowed: str
) -> None:
    flags.register_validator(name, valid, f"must be {allowed}", flag_values=values)
