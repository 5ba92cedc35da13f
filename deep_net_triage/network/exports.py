"""Exports of a model for other runtimes, each compared with the original."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deep_net_triage import steps
from deep_net_triage.errors import ExportFailed
from deep_net_triage.images.splits import Dataset
from deep_net_triage.network import litert
from deep_net_triage.steps import Report, Reporter, Step
from deep_net_triage.wording import allowed, signed

# Runtimes round differently. Outputs may differ by this share of the largest one or of 1,
# whichever is larger.
TOLERANCE = 1e-3
# A batch of the comparison, in images.
BATCH = 32
INT8 = "litert_int8"
# An int8 export may lose this much accuracy. With 8 bits most networks lose about a point or
# less (Nagel et al. 2021, arXiv 2106.08295). One that loses several has a layer whose range 8
# bits don't resolve, or was calibrated on other images: it is broken, and not just rounded.
MOST_LOST = 0.05

# Returns a model's outputs, (images, classes), for a batch of images.
Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """How a model is exported.

    Attributes:
        file: the name of the file or folder.
        write: takes the model and the file, and training images as well for int8.
        load: takes the file, and returns a function that runs the export.
    """

    file: str
    write: Callable[..., None]
    load: Callable[[Path], Run]


def _write_saved_model(model: keras.Model, folder: Path) -> None:
    model.export(str(folder), format="tf_saved_model", verbose=False)


def _load_saved_model(folder: Path) -> Run:
    loaded = tf.saved_model.load(str(folder))
    return lambda images: loaded.serve(tf.constant(images)).numpy()


FORMATS = {
    "litert": Format("model.tflite", litert.write, litert.runner),
    INT8: Format("model_int8.tflite", litert.write_int8, litert.runner),
    "saved_model": Format("saved_model", _write_saved_model, _load_saved_model),
}


@dataclass(frozen=True)
class Export:
    """An export that has passed its check.

    Attributes:
        format: a name from `FORMATS`.
        file: the file or folder.
        accuracy: of an int8 export on all test images, 0..1; None for other exports, which
            return what the model does.
        model_accuracy: the same of the model.
    """

    format: str
    file: Path
    accuracy: float | None = None
    model_accuracy: float | None = None

    def __str__(self) -> str:
        if self.accuracy is None:
            return f"exported, with the same outputs as the model: {self.file}"
        change = signed(self.accuracy - self.model_accuracy, 4)
        return (
            f"exported in int8, accuracy {self.accuracy:.4f} ({change} from the model): "
            f"{self.file}"
        )


def remove(folder: Path) -> None:
    """Removes the exports of a model that is no longer in a folder."""
    for chosen in FORMATS.values():
        file = folder / chosen.file
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)


def export(
    model: keras.Model,
    folder: Path,
    formats: tuple[str, ...],
    dataset: Dataset,
    report: Report = steps.ignore,
) -> Iterator[Export]:
    """Yields exports of a model, in the order of the formats, once each has passed its check.

    The model is exported, and compared, in float32.

    Args:
        model: uncompiled.
        folder: for the exports.
        formats: names from `FORMATS`.
        dataset: images as the model takes them. The first test images are compared value by
            value. For int8, training images give the ranges of values, and all test images the
            accuracy.
        report: receives how far the work has come.

    Raises:
        ExportFailed: if a format can't hold the model, if an export's outputs differ from the
            model's by more than the tolerance, or if an int8 export loses too much accuracy.
    """
    model = litert.in_float32(model)
    for name in formats:
        chosen = FORMATS[name]
        file = folder / chosen.file
        report(Step(f"writing {file.name}"))
        if name == INT8:
            chosen.write(model, file, dataset.train.images)
            run = chosen.load(file)
            yield _with_accuracy(model, run, file, dataset, Reporter(report))
        else:
            chosen.write(model, file)
            _check_values(model, chosen.load(file), file, dataset)
            yield Export(name, file)


def _check_values(model: keras.Model, run: Run, file: Path, dataset: Dataset) -> None:
    """Raises ExportFailed if an export returns other values than the model."""
    batch = np.asarray(dataset.test.images[:BATCH]).astype(model.inputs[0].dtype)
    expected = np.asarray(model(batch, training=False))
    difference = np.abs(run(batch) - expected).max()
    if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ExportFailed(
            f"the export {file.name} returns other values than the model: they differ by up to "
            f"{difference:.2g}"
        )


def _with_accuracy(
    model: keras.Model, run: Run, file: Path, dataset: Dataset, reporter: Reporter
) -> Export:
    """Returns an int8 export with its accuracy on the test images.

    Raises:
        ExportFailed: if it returns numbers that are not finite, or loses more accuracy than
            `MOST_LOST` and the chance of few test images explain.
    """
    test = dataset.test
    labels = np.asarray(test.labels)
    outputs, expected = [], []
    reporter.begin(Step(f"testing {file.name}", of=len(test), unit="image"))
    for first in range(0, len(test), BATCH):
        batch = np.asarray(test.images[first : first + BATCH]).astype(model.inputs[0].dtype)
        outputs.append(run(batch))
        expected.append(np.asarray(model(batch, training=False)))
        reporter.reached(first + len(batch), first + len(batch))
    returned = np.concatenate(outputs)
    if not np.isfinite(returned).all():
        raise ExportFailed(f"the export {file.name} returns numbers that are not finite")
    correct = np.argmax(returned, axis=1) == labels
    correct_before = np.argmax(np.concatenate(expected), axis=1) == labels
    lost = correct_before.mean() - correct.mean()
    # Two standard errors of a difference that is paired on the same images.
    chance = 2 * np.sqrt(np.sum(correct != correct_before)) / len(labels)
    if lost - chance > MOST_LOST:
        raise ExportFailed(
            f"the export {file.name} has accuracy {correct.mean():.4f}, the model "
            f"{correct_before.mean():.4f}; at most {allowed(MOST_LOST)} may be lost"
        )
    return Export(INT8, file, float(correct.mean()), float(correct_before.mean()))
