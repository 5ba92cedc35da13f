"""Says, in words for people, from which epoch a student's accuracy is taken."""

from collections.abc import Sequence

from deep_net_triage.records.study_results import StudyResults

LAST_EPOCH = "those of the last epoch, at which the learning rate has fallen to zero"
# What is said of the learning rate beside epochs to 99 %.
FALLS = "falls to zero, so the epoch that reaches 99 % depends mostly on its schedule"


def name(studies: Sequence[StudyResults]) -> str:
    """Returns the name of the test accuracy that is shown, the column `chosen_accuracy`.

    Args:
        studies: those shown side by side.
    """
    if studies and all(study.reports_last_epoch for study in studies):
        return "test accuracy at the last epoch"
    if any(study.holds_out or study.reports_last_epoch for study in studies):
        return "test accuracy at the chosen epoch"
    return "maximum test accuracy"


def sentence(study: StudyResults) -> str:
    """Returns how a study chose the epoch whose accuracy is reported, as one sentence."""
    if study.reports_last_epoch:
        return f"Accuracies are {LAST_EPOCH}."
    epochs = study.settings.get("epochs")
    of_all = f", of {epochs}," if epochs else ""
    by = "validation images" if study.holds_out else "the test images"
    return f"A student's test accuracy is taken at the epoch{of_all} that did best on {by}."


def columns(study: StudyResults) -> dict[str, str]:
    """Returns the accuracies of a student that are shown side by side, the reported one first.

    Returns:
        Columns of `results.csv`, by the names that people read.
    """
    if study.reports_last_epoch:
        return {"last epoch": "chosen_accuracy", "maximum": "max_accuracy"}
    others = {"maximum": "max_accuracy", "last epoch": "final_accuracy"}
    return {"chosen epoch": "chosen_accuracy"} | others if study.holds_out else others
