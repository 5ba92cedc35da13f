"""Names trials whose training may have got stuck, so that their numbers are read with care.

Such a training ends with finite weights far below all others, and no check of a single number
fails it. It says more about its seed than about the block. It is not left out: which trainings
end well is part of what a method does.
"""

from collections.abc import Iterator

from deep_net_triage.methods import TABLE
from deep_net_triage.records.results import Row
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.wording import percent


def sentence(study: StudyResults) -> str | None:
    """Returns which trials may have got stuck, as a sentence; None without any.

    A trial may have got stuck if its last epoch on labels ends below half way from chance to
    the parent's accuracy, on the test images and on the training images. A student that only
    overfits is good at its training images, and is not named.

    Args:
        study: one whose parent has learned.
    """
    found = list(_stuck(study)) if study.classes else []
    if not found:
        return None
    row, accuracy = found[0]
    name = f"{TABLE[row.method].title} at {row.block}, seed {row.seed}"
    if len(found) == 1:
        subject = f"{name} may have got stuck"
    else:
        subject = f"{len(found)} trials may have got stuck, such as {name}"
    return (
        f"{subject}: after its last epoch it classifies {percent(row.final_accuracy)} of the "
        f"test images and {percent(accuracy)} of the training images correctly. Another seed "
        "or more epochs may do better."
    )


def _stuck(study: StudyResults) -> Iterator[tuple[Row, float]]:
    """Yields each trial that may have got stuck, with its accuracy on the training images."""
    least = (1 / study.classes + study.baseline_accuracy) / 2
    for row in (*study.rows, *study.controls):
        *_, last = (None, *study.epochs.get(row.trial, ()))
        accuracy = last and last.accuracy
        if accuracy is not None and max(row.final_accuracy, accuracy) < least:
            yield row, accuracy
