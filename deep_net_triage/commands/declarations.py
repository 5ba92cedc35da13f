"""Every flag: its meaning, its check, and its default, unless the recipe sets another value."""

import math
from collections.abc import Callable

from absl import flags

from deep_net_triage import methods
from deep_net_triage.commands.recipes import RECIPES

EXPORTS = ("litert", "litert_int8", "saved_model")
_PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
_SMALLEST_IMAGE = 32  # five poolings by two leave one pixel


def declare() -> flags.FlagValues:
    """Returns all flags, declared and not parsed yet."""
    declared = _Declared()
    for declare_some in _tasks().values():
        declare_some(declared)
    return declared.values


def by_task() -> dict[str, list[str]]:
    """Returns the names of all flags by what they are for."""
    names, declared = {}, _Declared()
    for task, declare_some in _tasks().items():
        earlier = set(declared.values)
        declare_some(declared)
        names[task] = [name for name in declared.values if name not in earlier]
    return names


def _tasks() -> dict[str, Callable[["_Declared"], None]]:
    return {
        "What to run": _what_runs,
        "Images": _images,
        "Network and blocks": _network,
        "Compression of several blocks": _compression,
        "Training": _training,
        "Optimiser": _optimization,
        "Memory, devices and machines": _resources,
        "Results": _outcome,
    }


class _Declared:
    """Declares flags, with a method for each kind of value."""

    def __init__(self) -> None:
        self.values = flags.FlagValues()

    def text(self, name: str, default: str | None, meaning: str) -> None:
        flags.DEFINE_string(name, default, meaning, flag_values=self.values)

    def choice(self, name: str, allowed: tuple[str, ...], meaning: str) -> None:
        flags.DEFINE_enum(name, allowed[0], allowed, meaning, flag_values=self.values)

    def switch(self, name: str, default: bool, meaning: str) -> None:
        flags.DEFINE_boolean(name, default, meaning, flag_values=self.values)

    def count(self, name: str, default: int | None, meaning: str, at_least: int = 1) -> None:
        flags.DEFINE_integer(name, default, meaning, flag_values=self.values)
        self._check(name, lambda n: n >= at_least, f"at least {at_least}")

    def positive(self, name: str, default: float | None, meaning: str) -> None:
        flags.DEFINE_float(name, default, meaning, flag_values=self.values)
        self._check(name, lambda x: x > 0, "above 0")

    def not_negative(self, name: str, default: float | None, meaning: str) -> None:
        flags.DEFINE_float(name, default, meaning, flag_values=self.values)
        self._check(name, lambda x: x >= 0, "at least 0")

    def fraction(self, name: str, default: float, meaning: str) -> None:
        flags.DEFINE_float(name, default, meaning, flag_values=self.values)
        self._check(name, lambda x: 0 <= x < 1, "at least 0 and below 1")

    def _check(self, name: str, valid: Callable[[float], bool], allowed: str) -> None:
        flags.register_validator(
            name,
            lambda value: value is None or (-math.inf < value < math.inf and valid(value)),
            f"must be {allowed}",
            flag_values=self.values,
        )


def _what_runs(declared: _Declared) -> None:
    declared.text(
        "dataset",
        "digits",
        "digits, which comes with the package, or the name of a TFDS image classification set.",
    )
    names = ", ".join(methods.METHODS)
    groups = ", ".join(f"{name} ({len(group)})" for name, group in methods.GROUPS.items())
    declared.text("method", "all", f"Comma-separated: {names}, {groups}, control.")
    declared.switch(
        "control",
        True,
        "Also train a copy of the parent further with nothing replaced, as a control.",
    )
    declared.text(
        "block", "all", "Comma-separated numbers, names, first_layer:last_layer, or all."
    )
    declared.switch(
        "list_blocks",
        False,
        "List the blocks that can be replaced, and say why other parts can't; then stop.",
    )
    declared.switch(
        "estimate",
        False,
        "Print the time, memory and disk that the study needs, write nothing, and stop.",
    )
    declared.text("seeds", "0", "Comma-separated; each method and block has a trial per seed.")
    declared.text(
        "parent",
        None,
        "A trained model (.keras, .h5) to triage; without it VGG16 is trained first.",
    )
    declared.text(
        "parent_weights", "none", "Weights to start a parent from: none, imagenet, or a file."
    )


def _images(declared: _Declared) -> None:
    declared.text(
        "image_dir",
        None,
        "A folder of your own images, {train,test}/class/*.jpg, instead of --dataset.",
    )
    declared.text(
        "class_names", None, "File of --image_dir's classes, one a line, in the model's order."
    )
    declared.text("data_dir", None, "Where TFDS stores data sets; by default its own folder.")
    declared.count("train_examples", None, "Use only N training images, class-balanced.")
    declared.count("test_examples", None, "Use only N test images, class-balanced.")
    declared.text(
        "fold",
        None,
        "i/n: pool the training and test images, divide them into n folds, and test on fold i, "
        "counted from 0. A --parent must not have been trained on images of that fold.",
    )
    declared.fraction(
        "validation_fraction",
        0.0,
        "Share of the training images held out to choose the best epoch (--schedule=constant) "
        "and to judge --compress, for which it is 0.1 by default; 0: the test images do both. "
        "A folder `validation` in --image_dir is used instead, unless this is 0.",
    )
    declared.choice(
        "augment",
        ("none", "crop", "flip_crop"),
        "Random changes of training images; known sets of digits or letters are not flipped.",
    )
    declared.count(
        "augment_copies",
        None,
        "For training a block alone, from stored outputs: augmented copies of each image, "
        "drawn once; 0: images as they are; not set (recipe paper): new changes in each epoch.",
        at_least=0,
    )


def _network(declared: _Declared) -> None:
    # The paper's network and its input (section 3).
    declared.count("image_size", 224, "Side of the network input, in pixels.", _SMALLEST_IMAGE)
    declared.positive("width", 1.0, "Factor on filters and dense units.")
    declared.fraction("dropout", 0.0, "Dropout rate after fc1 and fc2.")
    # Keras's 0.99 needs hundreds of steps before its statistics mean anything; a retrained
    # block on a small set has fewer.
    declared.fraction(
        "batchnorm_momentum", 0.9, "Momentum of the moving statistics of batch normalisation."
    )
    declared.choice(
        "replacement",
        ("conv", "separable"),
        "What replaces a block: a 3x3 convolution, or a depthwise 3x3 and a pointwise one.",
    )
    declared.choice(
        "mean_over",
        ("block", "channel"),
        "What cl_mw and cm_mw average: all filters of the block, or those of each channel.",
    )
    declared.choice(
        "block_start",
        ("literal", "aligned"),
        "Order of the new layer's random filters. literal: as drawn; aligned: reordered, and "
        "some negated, so that their maps together best match the parent's.",
    )


def _compression(declared: _Declared) -> None:
    # What most users of a compressed network accept (accuracy, 0..1).
    declared.fraction("max_drop", 0.02, "Accuracy that may be lost; 0.02 is two points.")
    declared.switch(
        "compress",
        False,
        "Replace as many blocks as --max_drop allows, one after another.",
    )
    declared.choice(
        "save", ("macs", "parameters", "latency"), "What --compress reduces as far as it can."
    )
    declared.text(
        "latency_batches", "1,64", "Batch sizes at which --compress measures latency."
    )
    declared.count(
        "final_epochs",
        None,
        "Epochs of the last retraining in --compress; not set: as --epochs.",
    )
    declared.text(
        "final_seeds",
        None,
        "Comma-separated seeds of that retraining and of --alternatives; not set: as --seeds.",
    )
    declared.switch(
        "alternatives",
        False,
        "Also train other small networks for as many epochs, for comparison.",
    )
    declared.switch(
        "latency", False, "Measure how long inference takes; run nothing else meanwhile."
    )
    formats = ", ".join(EXPORTS)
    declared.text("export", None, f"Comma-separated formats of the smaller model: {formats}.")


def _training(declared: _Declared) -> None:
    declared.choice(
        "recipe",
        tuple(RECIPES),
        "A set of values for the flags on training; each can be overridden.",
    )
    # The paper gives no epochs. From scratch a parent needs more than a student, which starts
    # from trained weights everywhere but in one layer.
    declared.count("parent_epochs", 30, "Epochs of the parent's training.")
    declared.count(
        "parent_patience",
        None,
        "Stop the parent's training after N epochs without a better one; constant rate only.",
    )
    declared.count(
        "parent_seed", 0, "Seed of the parent's first weights and of its images' order.", 0
    )
    declared.count("epochs", 15, "Epochs in which a student is trained on the labels.")
    declared.count(
        "distill_epochs", 10, "Epochs in which a new layer learns the block's output (stn...)."
    )
    # Small enough for many updates on the smallest sets, large enough for batch statistics.
    declared.count("batch_size", 32, "Images per step, over all replicas.")
    declared.choice(
        "precision",
        _PRECISIONS,
        "Precision of training; auto: 16 bits on GPUs with tensor cores, on CPUs if faster.",
    )
    declared.switch(
        "deterministic",
        False,
        "Make identical commands give identical numbers, even if interrupted.",
    )
    declared.choice(
        "distill",
        ("logits", "features", "both"),
        "What the method stn_kd learns from the parent besides the labels.",
    )
    declared.positive("temperature", 4.0, "Divides all logits that are distilled.")


def _optimization(declared: _Declared) -> None:
    declared.choice(
        "optimizer",
        ("adam", "adamw", "sgd"),
        "Optimiser of all training but the student-teacher phase, which uses Adam.",
    )
    # Adam's own default; docs/reproduction.md lists the rates that were tried.
    declared.positive(
        "learning_rate",
        1e-3,
        "Learning rate from scratch, and wherever the more specific rates are not set.",
    )
    declared.positive(
        "retrain_learning_rate", None, "Learning rate of a student's old layers, if trained."
    )
    declared.positive(
        "layer_learning_rate",
        None,
        "Learning rate of the new layer; not set (recipe paper): that of the model around it, "
        "and 0.001 in the student-teacher phase.",
    )
    declared.choice(
        "schedule",
        ("constant", "cosine"),
        "Course of the learning rate; cosine: it falls to 0, and the last epoch is reported.",
    )
    declared.count("warmup_epochs", 0, "Epochs in which the learning rate rises from 0.", 0)
    declared.not_negative(
        "weight_decay", 0.0, "Weight decay of adamw; biases and batch normalisation have none."
    )
    declared.fraction(
        "label_smoothing", 0.0, "Share of each label that is spread over all classes."
    )
    declared.positive(
        "clip_norm", None, "Largest norm of a step's gradient; not set: no limit."
    )


def _resources(declared: _Declared) -> None:
    declared.not_negative(
        "activation_memory",
        None,
        "GiB of memory for outputs of frozen layers, if one trial runs at a time; not set: a "
        "quarter of what is free.",
    )
    declared.not_negative(
        "activation_disk",
        None,
        "GiB of disk for what exceeds that memory; not set: a quarter of what is free.",
    )
    declared.text("activation_dir", None, "Folder of --activation_disk; not set: --output_dir.")
    declared.choice(
        "activation_dtype",
        ("exact", "float16"),
        "Type of stored outputs; float16 takes half the room, and rounds.",
    )
    declared.count("replicas", None, "Devices that share each batch; not set: all GPUs.")
    declared.text(
        "parallel_trials",
        "auto",
        "Trials at once, each on its own GPU or share of the cores; auto: as many as keep all "
        "cores busy, 1 with GPUs, --replicas or --deterministic.",
    )
    declared.choice(
        "launcher", ("local", "ray"), "Where trials run: on this machine, or on a Ray cluster."
    )
    declared.text("ray_address", "auto", "Address of the Ray cluster, as for `ray.init`.")
    declared.text("shard", None, "Part of the trials to run: i/n; auto, auto/n in job arrays.")


def _outcome(declared: _Declared) -> None:
    declared.text(
        "output_dir", "runs", "Folder of results, with a subfolder for each data set."
    )
    declared.switch("save_models", True, "Save each trial's model, as of the epoch it reports.")
    declared.switch("tensorboard", False, "Write learning curves for TensorBoard as well.")
    declared.switch(
        "verbose", False, "Show the messages of TensorFlow and other libraries, too."
    )
    declared.switch(
        "overwrite", False, "Replace results whose settings differ instead of stopping."
    )
