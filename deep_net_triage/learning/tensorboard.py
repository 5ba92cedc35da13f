"""Learning curves in TensorBoard's format, written while training runs."""

import importlib.util
import shutil
from pathlib import Path

import tensorflow as tf

from deep_net_triage.errors import InputError
from deep_net_triage.records.results import Epoch

_NUMBERS = ("loss", "accuracy", "val_loss", "val_accuracy", "relative_error")


def check_installed() -> None:
    """Checks that TensorBoard is installed.

    Raises:
        InputError: if it isn't.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs TensorBoard: pip install tensorboard")


class Curves:
    """The learning curves of one training.

    Args:
        folder: of this training alone.
        resumes: whether an earlier command has begun the training; its curves go on. Otherwise
            those of another training in the folder are removed.
    """

    def __init__(self, folder: Path, resumes: bool) -> None:
        if not resumes:
            shutil.rmtree(folder, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(folder))

    def add(self, epoch: Epoch) -> None:
        """Writes an epoch's numbers, such as `train/val_accuracy`."""
        with self._writer.as_default(step=epoch.epoch):
            for name in _NUMBERS:
                number = getattr(epoch, name)
                if number is not None:
                    tf.summary.scalar(f"{epoch.phase}/{name}", number)
        self._writer.flush()

    def close(self) -> None:
        """Closes the file; the training has ended."""
        self._writer.close()
