"""Names trainings that may have got stuck, so that their numbers are read with care.

Such a training ends with finite weights far below all others, and no check of a single number
fails it. It says more about its seed than about the block. It is not left out: which trainings
end well is part of what a method does.
"""

from collections.abc import Iterable, Iterator

from deep_net_triage.methods import TABLE
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.wording import percent

# The name of a training, and its accuracy on the test images and, if known, on the training
# images, 0..1, both after the last epoch.
Ended = tuple[str, float, float | None]


def sentence(study: StudyResults) -> str | None:
    """Returns which trials may have got stuck, as a sentence; None without any.

    A trial may have got stuck if its last epoch on labels ends below half way from chance to
    the parent's accuracy, on the test images and on the training images. A student that only
    overfits is good at its training images, and is not named.

    Args:
        study: one whose parent has learned.
    """
    return among(study, "trials", _trials(study))


def among(study: StudyResults, what: str, trainings: Iterable[Ended]) -> str | None:
    """Returns which of some trainings may have got stuck, as a sentence; None without any.

    Args:
        study: one whose parent has learned.
        what: the trainings are, in the plural.
        trainings: to be judged by the same rule.
    """
    if not study.classes:
        return None
    least = (1 / study.classes + study.baseline_accuracy) / 2
    found = [
        (name, test, train)
        for name, test, train in trainings
        if train is not None and max(test, train) < least
    ]
    if not found:
        return None
    name, test, train = found[0]
    if len(found) == 1:
        subject = f"{name} may have got stuck"
    else:
        subject = f"{len(found)} {what} may have got stuck, such as {name}"
    return (
        f"{subject}: after its last epoch it classifies {percent(test)} of the test images and "
        f"{percent(train)} of the training images correctly. Another seed or more epochs may "
        "do better."
    )


def _trials(study: StudyResults) -> Iterator[Ended]:
    for row in (*study.rows, *study.controls):
        *_, last = (None, *study.epochs.get(row.trial, ()))
        name = f"{TABLE[row.method].title} at {row.block}, seed {row.seed}"
        yield name, row.final_accuracy, last and last.accuracy
