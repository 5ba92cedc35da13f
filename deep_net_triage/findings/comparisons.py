"""Compares a study's students with parent and control, paired by image, over seeds."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from deep_net_triage.findings.accuracy_cost import Cost
from deep_net_triage.findings.statistics import against_parent, paired_difference
from deep_net_triage.records.results import Row
from deep_net_triage.records.study_results import StudyResults, TrialKey, mean


def at_chosen_epoch(study: StudyResults, rows: Sequence[Row]) -> Cost:
    """Returns the cost of some trials of one method and block, at their chosen epochs.

    Args:
        study: its results.
        rows: of the trials, at least one.
    """
    return _cost(study, rows, study.correct, "chosen_accuracy")


def at_last_epoch(study: StudyResults, rows: Sequence[Row]) -> Cost | None:
    """Returns the cost at the last epochs of trials and control; None if these are chosen.

    The parent stays the model that the students started from, that of its chosen epoch.
    """
    if study.reports_last_epoch:
        return None
    return _cost(study, rows, study.final_correct, "final_accuracy")


def of_control(study: StudyResults) -> Cost | None:
    """Returns the control's difference from the parent; None without a finished control."""
    if not study.controls:
        return None
    cost = at_chosen_epoch(study, study.controls)
    return dataclasses.replace(cost, against_control=None)


def _cost(
    study: StudyResults,
    rows: Sequence[Row],
    correct: Mapping[TrialKey, np.ndarray],
    column: str,
) -> Cost:
    students = _by_seed(correct, rows)
    estimate = against_parent(students, study.parent_correct)
    if estimate is None:
        difference = mean(getattr(row, column) for row in rows) - study.baseline_accuracy
    else:  # differs from the rows' mean where some trials lack their file
        difference = estimate.mean
    return Cost(
        difference, estimate, paired_difference(students, _by_seed(correct, study.controls))
    )


def _by_seed(
    correct: Mapping[TrialKey, np.ndarray], rows: Sequence[Row]
) -> dict[int, np.ndarray]:
    """Returns, by seed, which test images the models of some trials classify correctly."""
    return {row.seed: correct[row.trial] for row in rows if row.trial in correct}
