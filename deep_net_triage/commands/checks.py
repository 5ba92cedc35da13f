"""Checks of paths, names and combinations of flags, which absl can't make flag by flag."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from deep_net_triage import methods
from deep_net_triage.errors import InputError

DATASET_NAME = re.compile(r"\w[\w.+/:-]*")
SEEDS = 2**32  # Keras takes unsigned 32-bit integers


def check(given: dict[str, object], dataset_typed: bool, in_memory: bool = False) -> None:
    """Raises InputError if paths, names or combinations of flags are wrong.

    Args:
        given: the value of each flag.
        dataset_typed: whether the command line names the data set.
        in_memory: whether parent and images are given in memory, which no flag says.
    """
    has_parent = bool(in_memory or given["parent"])
    problems = itertools.chain(
        _of_images(given, dataset_typed),
        _of_parent(given),
        _of_run(given),
        _of_compression(given),
        _of_training(given, has_parent),
    )
    if first := next(problems, None):
        raise InputError(first)


def _of_images(given: dict[str, object], dataset_typed: bool) -> Iterator[str]:
    """Yields what is wrong with the flags on images."""
    folder, dataset = given["image_dir"], given["dataset"]
    if given["class_names"] and not folder:
        yield "--class_names needs --image_dir; other data sets have their own class names"
    if folder and dataset_typed:
        yield "--image_dir and --dataset can't be combined: choose one set of images"
    if folder and not holds(folder.is_dir):
        yield f"--image_dir={folder} is not a folder; it must hold train/ and test/"
    if not folder and not DATASET_NAME.fullmatch(dataset):
        yield f"--dataset='{dataset}' is not the name of a data set"


def _of_parent(given: dict[str, object]) -> Iterator[str]:
    """Yields what is wrong with the flags on the parent."""
    parent, weights = given["parent"], given["parent_weights"]
    if parent and not holds(parent.is_file):
        yield f"--parent={parent} is not a file; it must be a saved Keras model (.keras or .h5)"
    if parent and weights != "none":
        yield "--parent and --parent_weights can't be combined: choose one trained parent"
    if weights != "none" and given["width"] != 1:
        yield f"--parent_weights needs --width=1, the width of VGG16, not {given['width']}"
    if weights not in ("none", "imagenet") and not holds(Path(weights).is_file):
        yield f"--parent_weights={weights} is not a file; allowed: none, imagenet, or a file"


def _of_run(given: dict[str, object]) -> Iterator[str]:
    """Yields what is wrong with the flags on blocks, files and processes."""
    scratch, blocks = given["activation_dir"], given["block"]
    if scratch and not (holds(scratch.is_dir) and os.access(scratch, os.W_OK)):
        yield f"--activation_dir={scratch} is not a folder that can be written to"
    if not all(names(blocks)):
        yield f"--block='{blocks}' names no block; allowed: numbers, names, or all"
    if given["mean_over"] == "channel" and given["replacement"] == "separable":
        yield (
            "--mean_over=channel needs --replacement=conv, which has a filter for each pair of "
            "channels; with --replacement=separable, use --mean_over=block"
        )
    if given["parent_seed"] >= SEEDS:
        yield f"--parent_seed={given['parent_seed']} is too large; allowed: below {SEEDS}"
    divided = given["parallel_trials"] not in ("auto", "1") or given["shard"]
    if given["launcher"] == "ray" and divided:
        yield (
            "--launcher=ray divides the trials itself; it can't be combined with "
            "--parallel_trials or --shard"
        )


def _of_compression(given: dict[str, object]) -> Iterator[str]:
    """Yields what is wrong with the flags on the smaller model."""
    compress, method = given["compress"], given["method"]
    if (compress or given["export"]) and not given["save_models"]:
        yield "--compress and --export need saved models; leave out --nosave_models"
    if compress and not any(row.compresses for row in _chosen(method)):
        yield f"--compress needs a method that replaces a block, not --method={method}"
    if compress and given["shard"]:
        yield (
            "--compress needs all trials, and --shard runs a part: run the jobs without "
            "--compress but with --validation_fraction=0.1, its default with --compress; then "
            "run this command without --shard"
        )
    if given["export"] and given["shard"]:
        yield (
            "--export needs all trials, and --shard runs a part of them; "
            "allowed: jobs without --export, then this command without --shard"
        )
    if given["alternatives"] and not compress:
        yield "--alternatives needs --compress, whose network they are compared with"


def _of_training(given: dict[str, object], has_parent: bool) -> Iterator[str]:
    """Yields what is wrong with the flags on training."""
    warmup, decay, copies = (
        given[name] for name in ("warmup_epochs", "weight_decay", "augment_copies")
    )
    chosen, reports_last_epoch = _chosen(given["method"]), given["schedule"] == "cosine"
    runs = {
        "parent_epochs": not has_parent,
        "epochs": True,
        "distill_epochs": any(row.student_teacher for row in chosen),
        "final_epochs": given["compress"] and given["final_epochs"] is not None,
    }
    for phase, is_run in runs.items():
        if is_run and given[phase] <= warmup:
            yield (
                f"--{phase}={given[phase]} leaves no epoch after --warmup_epochs={warmup}; "
                "allowed: more, or --warmup_epochs=0"
            )
    if decay and given["optimizer"] != "adamw":
        yield (
            f"--weight_decay={decay} needs --optimizer=adamw; with {given['optimizer']}, set "
            "--weight_decay=0"
        )
    if copies and given["augment"] == "none":
        yield f"--augment_copies={copies} needs --augment=crop or flip_crop"
    if given["parent_patience"] and reports_last_epoch:
        yield "--parent_patience needs --schedule=constant; with cosine, all epochs are run"


def _chosen(method: str) -> list[methods.Method]:
    return [methods.TABLE[name] for name in methods.select(method)]


def holds(test: Callable[[], bool]) -> bool:
    """Returns the result of a test of a path; False if the system rejects the path."""
    try:
        return test()
    except OSError:
        return False


def names(text: str) -> tuple[str, ...]:
    """Returns the different names of a comma-separated list, in order."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))
