"""Trains toys on one or several parts of this processor, and writes down what came out.

python -m tests.mirrored REPLICAS POLICY EPOCHS BATCH_SIZE METHODS OUTPUT.npz [FLAG...]

A process has one MirroredStrategy, so that each number of replicas takes a process of its own.
"""

import sys
import tempfile
from pathlib import Path

from deep_net_triage import devices

# isort: split
import keras
import numpy as np

from deep_net_triage.commands import command_line
from deep_net_triage.learning import whole_network
from deep_net_triage.learning.array_stores import ArrayStore
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_block, for_model
from deep_net_triage.learning.walk import Walk
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import find_blocks
from deep_net_triage.records.journal import Journal
from tests.toys import Watcher, toy_images, toy_parent

# With batches of eight the last ones hold one image: a second and a third replica get none.
TRAIN, TEST = 25, 9


def main(replicas, policy, epochs, batch_size, methods, output, flags):
    """Trains a parent, the control, and students by methods, from images and from a walk."""
    devices.import_tensorflow(replicas)
    keras.config.set_dtype_policy(policy)
    if policy == "float64":
        keras.config.set_floatx("float64")  # metrics go by this one
    asked = ["--recipe=paper", "--block_start=aligned"] + [
        f"--{name}={epochs}" for name in ("epochs", "parent_epochs", "distill_epochs")
    ]
    chosen = command_line.parse([*asked, f"--batch_size={batch_size}", *flags])
    dataset, found = toy_images(TRAIN, TEST), {}

    strategy = devices.strategy(replicas)
    with strategy.scope(), tempfile.TemporaryDirectory() as scratch:

        def journal(name):
            def watch(record):
                where = f"{name}/{record.phase}{record.epoch}"
                for number in ("loss", "accuracy", "val_loss", "val_accuracy"):
                    if getattr(record, number) is not None:
                        found[f"{where}/{number}"] = getattr(record, number)

            return Journal(Path(scratch) / name, {}, Watcher(watch), print)

        def keep(name, model):
            for variable in model.weights:
                copies = strategy.experimental_local_results(variable.value)
                assert len(copies) == replicas
                for copy in copies:  # a replica's own is what it goes on with
                    np.testing.assert_array_equal(copy, copies[0], variable.path)
                found[f"{name}/{variable.path}"] = copies[0].numpy()

        parent = toy_parent()
        blocks = find_blocks(parent)
        block, images = blocks[1], for_model(dataset, chosen)
        control = Retraining(parent, None, dataset, images, chosen)
        keep("control", control.run("control", 3, journal("control")).model)
        walk = Walk(parent, dataset, ArrayStore(Path(scratch), 2**30, 0), chosen, blocks)
        for fed, source in {
            "images": for_block(dataset, chosen),
            "kept": walk.source_for(block),
        }.items():
            retraining = Retraining(parent, block, dataset, source, chosen)
            for method in methods:
                trained = retraining.run(method, 3, journal(f"{method}-{fed}"))
                keep(f"{method}-{fed}", trained.model)
        learning = surgery.copy(parent)
        surgery.copy_weights_and_reseed(learning, parent, 0)
        whole_network.train_parent(learning, dataset, chosen, journal("parent"))
        keep("parent", learning)
    np.savez(output, **{name.replace("/", "|"): value for name, value in found.items()})


if __name__ == "__main__":
    _, number, dtype, count, size, names, file, *typed = sys.argv
    main(int(number), dtype, int(count), int(size), names.split(","), Path(file), typed)
