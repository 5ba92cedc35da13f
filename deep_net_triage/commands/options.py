"""The flags of the command line as keyword arguments of the library, typed for editors.

`tests/test_options.py` holds names, types, choices and defaults in step with the flags.
"""

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypedDict

from deep_net_triage.errors import InputError

MethodName = Literal[
    "cl_rw",
    "cm_rw",
    "cl_mw",
    "cm_mw",
    "stn",
    "stn_cm",
    "stn_kd",
    "paper",
    "all",
    "control",
]
Saving = Literal["macs", "parameters", "latency"]
ExportFormat = Literal["litert", "litert_int8", "saved_model"]


class Options(TypedDict, total=False):
    """Keyword arguments of `triage` and `compress_within`; None stands for the default.

    Defaults are in parentheses. They are those of the recipe `settled`; `paper` sets others.

    Attributes:
        name: of the study, in its files and on its page ("study").
        class_names: one for each label (their numbers).
        output_dir: a folder in which the study gets a folder `name`. It keeps all results and
            models there, and the same call continues where it was interrupted (nothing is
            kept).
        save_models: whether to keep each trial's model of its chosen epoch; needs
            `output_dir` (true).
        overwrite: whether to replace results of other options in `output_dir` instead of
            raising an error (false).
        method: how blocks are initialized and retrained; several methods, `paper`, `all`, or
            `control` (all).
        control: whether to train a copy of the model with no block replaced, to compare with
            (true).
        block: numbers from 1, names, `first_layer:last_layer`, or "all" (all).
        seeds: each is a trial of its own (0).
        recipe: sets many of the options below (settled).
        epochs: of a trial's classification phase (15).
        distill_epochs: of a trial's student-teacher phase (10).
        batch_size: images per step, over all replicas (32).
        precision: 16 bits on GPUs made for it if `auto` (auto).
        deterministic: whether equal calls return equal numbers; slower (false).
        optimizer: of all training but distillation, which uses Adam (adamw).
        learning_rate: from scratch, and where the two more specific rates are None (0.002).
        retrain_learning_rate: where a trial updates the whole model (0.0001).
        layer_learning_rate: of the replacement of a block (0.01).
        schedule: of the learning rate in each phase; with `cosine` the last epoch is reported,
            with `constant` the best (cosine).
        warmup_epochs: epochs in which the learning rate rises from 0 (1).
        weight_decay: for `adamw` (0.05).
        label_smoothing: the share of a label spread over all classes (0.0).
        clip_norm: the largest norm of a step's gradient (no limit).
        distill: what the method `stn_kd` learns from the model (logits).
        temperature: divides the logits that `stn_kd` learns from (4.0).
        batchnorm_momentum: of the replacement's moving statistics (0.97).
        replacement: what replaces a block: a convolution, or a depthwise and a pointwise one
            (conv).
        mean_over: what a mean initializer averages (block).
        block_start: `aligned` reorders random filters to match the model's maps; `literal`
            keeps them as drawn (aligned).
        augment: random changes to training images (crop).
        augment_copies: fixed draws of each image for training a block alone from stored
            activations; 0 for images as they are (0).
        validation_fraction: the share of training images held out, which choose the epoch if
            `schedule="constant"`, and judge in `compress_within`, which holds out 0.1 unless
            `validation` is given (0.0).
        activation_memory: GiB of memory for activations, if one trial runs at a time (a quarter
            of what is free).
        activation_disk: GiB of disk for activations beyond that (a quarter of what is free).
        activation_dir: where that disk is (`output_dir`, or the system's temporary folder).
        activation_dtype: `float16` halves what activations take, and rounds them (exact).
        replicas: devices that share each batch (all GPUs).
        shard: the part of the trials to run, `i/n`; needs `output_dir` (all trials).
        latency: whether to measure inference time; nothing else should run (false).
        latency_batches: batch sizes at which a compressed network is timed (1,64).
        export: formats to export the smaller model to, with a line on each that can't be made;
            needs `output_dir` (none).
        tensorboard: whether to write TensorBoard's files; needs `output_dir` (false).
    """

    name: str
    class_names: Sequence[str] | None
    output_dir: str | os.PathLike[str] | None
    save_models: bool
    overwrite: bool
    method: MethodName | Iterable[MethodName]
    control: bool
    block: str | int | Iterable[str | int]
    seeds: int | Iterable[int]
    recipe: Literal["settled", "paper"]
    epochs: int
    distill_epochs: int
    batch_size: int
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
    deterministic: bool
    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: float
    retrain_learning_rate: float
    layer_learning_rate: float
    schedule: Literal["constant", "cosine"]
    warmup_epochs: int
    weight_decay: float
    label_smoothing: float
    clip_norm: float
    distill: Literal["logits", "features", "both"]
    temperature: float
    batchnorm_momentum: float
    replacement: Literal["conv", "separable"]
    mean_over: Literal["block", "channel"]
    block_start: Literal["literal", "aligned"]
    augment: Literal["none", "crop", "flip_crop"]
    augment_copies: int
    validation_fraction: float
    activation_memory: float
    activation_disk: float
    activation_dir: str | os.PathLike[str]
    activation_dtype: Literal["exact", "float16"]
    replicas: int
    shard: str
    latency: bool
    latency_batches: int | Iterable[int]
    export: ExportFormat | Iterable[ExportFormat]
    tensorboard: bool


class CompressOptions(Options, total=False):
    """Keyword arguments of `compress_within`: all `Options`, and these.

    Attributes:
        final_epochs: in which the whole smaller model is finally retrained (`epochs`).
        final_seeds: of that retraining; the first one's model is returned (`seeds`).
        alternatives: whether to train other smaller networks as well, for as many epochs;
            needs `output_dir` (false).
    """

    final_epochs: int
    final_seeds: int | Iterable[int]
    alternatives: bool


# Options that no flag has in this form.
OF_THE_LIBRARY = ("name", "class_names")

# Flags that are not options, and why; `max_drop` and `save` are arguments of their own.
REFUSED = {
    **dict.fromkeys(
        (
            "dataset",
            "image_dir",
            "data_dir",
            "train_examples",
            "test_examples",
            "fold",
            "image_size",
        ),
        "the images are given",
    ),
    **dict.fromkeys(
        (
            "parent",
            "parent_weights",
            "parent_epochs",
            "parent_patience",
            "parent_seed",
            "width",
            "dropout",
        ),
        "the model is given",
    ),
    **dict.fromkeys(
        ("parallel_trials", "launcher", "ray_address"), "trials run in the calling process"
    ),
    "list_blocks": "call find_blocks",
    "estimate": "every call says what it will take",
    "compress": "call compress_within",
    "verbose": "the calling program sets what libraries print",
}

_NEED_A_FOLDER = (
    "save_models",
    "overwrite",
    "shard",
    "export",
    "tensorboard",
    "alternatives",
)


def as_arguments(options: Mapping[str, object], kind: type[Options]) -> list[str]:
    """Returns the flags among keyword arguments as the arguments of a command line.

    Args:
        options: as the caller gave them.
        kind: declares those that are allowed.

    Raises:
        InputError: if a keyword argument is not an option, or needs a folder and has none.
    """
    for name, value in options.items():
        if name in REFUSED:
            raise InputError(f"{name} is not an option: {REFUSED[name]}")
        if name not in kind.__annotations__:
            similar = difflib.get_close_matches(name, kind.__annotations__)
            allowed = ", ".join(similar) or f"those of help(deep_net_triage.{kind.__name__})"
            raise InputError(f"{name} is not an option; allowed: {allowed}")
        if name in _NEED_A_FOLDER and value and options.get("output_dir") is None:
            raise InputError(f"{name} needs output_dir; without one nothing is kept")
    return [
        f"--{name}={_typed(value)}"
        for name, value in options.items()
        if value is not None and name not in OF_THE_LIBRARY
    ]


def _typed(value: object) -> str:
    """Returns a value as it is typed on a command line: several are separated by commas."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)
