"""Learning curves for TensorBoard, as they grow."""

import importlib.util
from pathlib import Path

import tensorflow as tf

from deep_net_triage.errors import InputError

_NUMBERS = ("loss", "accuracy", "val_loss", "val_accuracy", "relative_error")


def check_installed() -> None:
    """Makes sure that TensorBoard is there, whose format this is.

    Raises:
        InputError: if it isn't.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs TensorBoard: pip install '.[tensorboard]'")


class Curves:
    """Writes the records of a training.

    Args:
        folder: of its own; what is there is added to.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def add(self, record: dict[str, object]) -> None:
        """Adds an epoch's record, as in `epochs.jsonl`."""
        with self._writer.as_default(step=record["epoch"]):
            for name in _NUMBERS:
                if record.get(name) is not None:
                    tf.summary.scalar(f"{record['phase']}/{name}", record[name])
        self._writer.flush()
