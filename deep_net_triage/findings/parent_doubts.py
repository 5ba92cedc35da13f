"""Whether the parent was trained well enough for the drops from it to mean anything."""

from collections.abc import Mapping

from deep_net_triage.findings.statistics import Estimate, accuracy_interval, against_parent
from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import StudyResults
from deep_net_triage.wording import percent

_TIMES_CHANCE = 5


def of_study(study: StudyResults) -> str | None:
    """Returns one sentence on why drops from the parent are meaningless; None if they are not.

    Either the parent has not learned, or its students show that it was not trained to its end.
    """
    gains = {
        f"{METHODS[method].title} at {block}": against_parent(
            study.correct_by_seed(method, block), study.parent_correct
        )
        for block in study.blocks_run()
        for method in study.methods()
    }
    return not_learned_in(study) or surpassed(study.baseline_accuracy, study.test_images, gains)


def not_learned_in(study: StudyResults) -> str | None:
    """Returns why a study's parent has not learned, as one sentence; None if it has."""
    return not_learned(study.baseline_accuracy, study.classes, study.test_images)


def not_learned(accuracy: float, classes: int | None, test_images: int | None) -> str | None:
    """Returns why a parent has not learned, as one sentence; None if it has.

    A parent has learned if the 95 % interval of its accuracy is wholly above chance, and its
    accuracy reaches five times chance or half way from chance to 1, whichever is lower. With
    two classes that is 0.75, with ten 0.5, with a hundred 0.05.

    Args:
        accuracy: the parent's, on the test images, 0..1.
        classes: the number of classes; None where it is not known: no parent is then refused.
        test_images: the number of test images; None where it is not known: the accuracy is then
            judged without its interval.
    """
    if classes is None:
        return None
    chance = 1 / classes
    half_way = (1 + chance) / 2
    least = min(_TIMES_CHANCE * chance, half_way)
    low, high = accuracy_interval(accuracy, test_images) if test_images else (accuracy,) * 2
    if low > chance and accuracy >= least:
        return None
    interval = f" (95 % interval {percent(low)} to {percent(high)})" if test_images else ""
    whole = "the whole interval" if test_images else "it"
    name = "half way from chance to 100 %" if least == half_way else "five times chance"
    return (
        f"The parent has not learned: its accuracy is {percent(accuracy)}{interval}; {whole} "
        f"must be above chance ({percent(chance)}), and the accuracy at least {percent(least)} "
        f"({name})."
    )


def surpassed(
    accuracy: float, test_images: int | None, gains: Mapping[str, Estimate | None]
) -> str | None:
    """Returns how far the best students outdo their parent, as one sentence; None if not far.

    Students start from the parent's weights and are trained on, so that small gains are usual
    and say little. They outdo the parent if a method's whole 95 % interval at a block is above
    it, and its mean gain is larger than half the width of the 95 % interval of the parent's own
    accuracy. The network can then do better than its parent, and a drop from the parent does
    not say what compression costs.

    Args:
        accuracy: the parent's, on the test images, 0..1.
        test_images: the number of test images; None where it is not known: no gain is then
            called large.
        gains: by method and block, in words, the accuracy of the students minus the parent's,
            the mean over seeds; None where there is no interval.
    """
    if not test_images:
        return None
    low, high = accuracy_interval(accuracy, test_images)
    noise = (high - low) / 2
    large = {
        name: gain
        for name, gain in gains.items()
        if gain is not None and gain.low > 0 and gain.mean > noise
    }
    if not large:
        return None
    name = max(large, key=lambda each: large[each].mean)
    return (
        f"Students outdo the parent: {name} by {large[name].text('points', 100)}, more than "
        f"half the width of the parent's own 95 % interval ({100 * noise:.1f} points); train "
        "the parent for longer first."
    )
