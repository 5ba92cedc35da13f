"""Rows of studies that tests make up by hand."""

from deep_net_triage.methods import TABLE
from deep_net_triage.network.descriptions import BlockDescription
from deep_net_triage.records.results import Row


def row(method, block, accuracy, baseline=0.9, **cells):
    """A finished trial that saves a quarter of the multiply-accumulates; cells override it."""
    values = {
        "dataset": "toy",
        "seed": 0,
        "baseline_accuracy": baseline,
        "initial_accuracy": 0.1,
        "distilled_accuracy": None,
        "max_accuracy": accuracy,
        "max_epoch": 2,
        "epochs_to_99": 2,
        "distill_epochs": 4 if TABLE[method].student_teacher else 0,
        "final_accuracy": accuracy,
        "parent_parameters": 1000,
        "parameters": 900,
        "parent_macs": 400,
        "macs": 300,
        "seconds": 1.5,
        "chosen_epoch": 2,
        "chosen_accuracy": accuracy,
    }
    values |= cells
    drop = baseline - values["chosen_accuracy"]
    drops = {"accuracy_drop": drop, "final_drop": baseline - values["final_accuracy"]}
    return Row(method=method, block=block, **drops | values)


def described(*names):
    """Blocks of these names, in this order."""
    sizes = dict.fromkeys(("parameters", "macs", "compressed_parameters", "compressed_macs"), 1)
    layers = {"layers": 6, "convolutions": 2, "received": (8, 8, 2), "returned": (8, 8, 3)}
    return tuple(
        BlockDescription(name, f"{name}_first", f"{name}_last", pool=None, **layers, **sizes)
        for name in names
    )
