"""Checks of paths, names and combinations of flags, which absl can't make flag by flag."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from deep_net_triage import methods
from deep_net_triage.errors import InputError


def check(given: dict[str, object], dataset_typed: bool, in_memory: bool = False) -> None:
    """Raises InputError if paths, names or combinations of flags are wrong.

    Args:
        given: the value of each flag.
        dataset_typed: whether the command line names the data set.
        in_memory: whether parent and images are given in memory, which no flag says.
    """
    parent, weights, folder = (given[n] for n in ("parent", "parent_weights", "image_dir"))
    scratch = given["activation_dir"]
    trials_divided = given["parallel_trials"] not in ("auto", "1") or given["shard"]
    wrong = {
        "--output_dir is empty; it must be a folder": not given["output_dir"],
        "--class_names goes with --image_dir; other data sets name their own": (
            given["class_names"] and not folder
        ),
        "--image_dir and --dataset exclude each other: one set of images": (
            folder and dataset_typed
        ),
        f"--image_dir={folder} is not a folder; it must hold train/ and test/": (
            folder and not is_true(folder.is_dir)
        ),
        f"--dataset='{given['dataset']}' is not the name of a data set": (
            not folder and not re.fullmatch(r"\w[\w.+/:-]*", given["dataset"])
        ),
        f"--activation_dir={scratch} is not a folder that can be written to": (
            scratch and not (is_true(scratch.is_dir) and os.access(scratch, os.W_OK))
        ),
        f"--parent={parent} is not a file; it must be a saved Keras model (.keras or .h5)": (
            parent and not is_true(parent.is_file)
        ),
        "--parent and --parent_weights exclude each other: one trained parent": (
            parent and weights != "none"
        ),
        f"--parent_weights needs --width=1, the width of VGG16, not {given['width']}": (
            weights != "none" and given["width"] != 1
        ),
        f"--parent_weights={weights} is not a file; allowed: none, imagenet, or a file": (
            weights not in ("none", "imagenet") and not is_true(Path(weights).is_file)
        ),
        "--launcher=ray divides the trials itself; --parallel_trials and --shard exclude it": (
            given["launcher"] == "ray" and trials_divided
        ),
        "--compress and --export need the models that --nosave_models drops": (
            (given["compress"] or given["export"]) and not given["save_models"]
        ),
        f"--compress needs a method that replaces a block, not --method={given['method']}": (
            given["compress"] and not any(row.compresses for row in _chosen_methods(given))
        ),
        "--compress and --alternatives take all trials, and --shard a part of them; allowed: "
        "the same command without --shard, once all jobs have ended": (
            given["compress"] and given["shard"]
        ),
        "--alternatives goes with --compress: they are compared with what it makes": (
            given["alternatives"] and not given["compress"]
        ),
        "--mean_over=channel goes with --replacement=conv, which has a filter for each pair of "
        "channels; allowed with separable: --mean_over=block": (
            given["mean_over"] == "channel" and given["replacement"] == "separable"
        ),
        f"--block='{given['block']}' names no block; allowed: numbers, names, or all": (
            not all(names(given["block"]))
        ),
    }
    has_parent = bool(in_memory or parent)
    for message, is_wrong in (wrong | _training(given, has_parent)).items():
        if is_wrong:
            raise InputError(message)


def _chosen_methods(given: dict[str, object]) -> list[methods.Method]:
    return [methods.TABLE[name] for name in methods.select(given["method"])]


def _training(given: dict[str, object], has_parent: bool) -> dict[str, bool]:
    """Returns, by error message, whether training flags contradict each other."""
    warmup, decay, copies = (
        given[name] for name in ("warmup_epochs", "weight_decay", "augment_copies")
    )
    chosen = _chosen_methods(given)
    runs = {
        "parent_epochs": not has_parent,
        "epochs": bool(chosen),
        "distill_epochs": any(row.distil for row in chosen),
        "final_epochs": given["compress"] and given["final_epochs"] is not None,
    }
    wrong = {
        f"--{phase}={given[phase]} leaves no epoch after --warmup_epochs={warmup}; allowed: "
        "more, or --warmup_epochs=0": True
        for phase, is_run in runs.items()
        if is_run and given[phase] <= warmup
    }
    return wrong | {
        f"--weight_decay={decay} goes with --optimizer=adamw, not {given['optimizer']}; "
        "allowed there: 0": bool(decay) and given["optimizer"] != "adamw",
        f"--augment_copies={copies} goes with --augment=crop or flip_crop": (
            bool(copies) and given["augment"] == "none"
        ),
        f"--validation_fraction={given['validation_fraction']} would choose an epoch, but with "
        "--schedule=cosine the last one counts; allowed there: 0, or --compress": (
            bool(given["validation_fraction"])
            and given["schedule"] == "cosine"
            and not given["compress"]
        ),
        "--parent_patience goes with --schedule=constant; a cosine ends by itself": (
            bool(given["parent_patience"]) and given["schedule"] == "cosine"
        ),
    }


def is_true(exists: Callable[[], bool]) -> bool:
    """Returns the result of a test of a path; False if the system rejects the path."""
    try:
        return exists()
    except OSError:
        return False


def names(text: str) -> tuple[str, ...]:
    """Returns the different names of a comma-separated list, in order."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))
