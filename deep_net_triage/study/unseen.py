"""Whether a given parent has seen the validation images, by which `--compress` decides."""

import keras
import numpy as np

from deep_net_triage import steps
from deep_net_triage.errors import InputError
from deep_net_triage.findings.statistics import accuracy_interval
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.learning import predictions
from deep_net_triage.steps import Report
from deep_net_triage.wording import percent


def check(parent: keras.Model, dataset: Dataset, report: Report = steps.ignore) -> None:
    """Raises InputError if a parent seems to have been trained on the validation images.

    It is then more accurate on them than on the test images, and as accurate as on the images
    that it is known to have been trained on. Each student forgets some of them, which would
    look like a cost of compression. Two accuracies count as different if their 95 % intervals
    do not overlap.
    """
    validation, test = dataset.validation, dataset.test
    some = np.linspace(0, len(dataset.train) - 1, min(len(validation), len(dataset.train)))
    positions = some.astype(int)
    train = Split(
        dataset.train.images.numpy()[positions], dataset.train.labels.numpy()[positions]
    )
    accuracies = [_accuracy(parent, split, report) for split in (validation, test, train)]
    of_validation, of_test, of_train = (
        accuracy_interval(accuracy, len(split))
        for accuracy, split in zip(accuracies, (validation, test, train), strict=True)
    )
    if of_validation[0] > of_test[1] and of_validation[1] >= of_train[0]:
        raise InputError(
            f"the parent classifies {percent(accuracies[0])} of the {len(validation):,} "
            f"validation images correctly but only {percent(accuracies[1])} of the test "
            "images, so it was probably trained on them. Use a parent trained without them, "
            "other validation images (`validation` in Python, or a folder `validation` in "
            "--image_dir), or --validation_fraction=0 to decide by the test images"
        )


def _accuracy(model: keras.Model, split: Split, report: Report) -> float:
    return float(predictions.correct(model, split.images, split.labels, report).mean())
