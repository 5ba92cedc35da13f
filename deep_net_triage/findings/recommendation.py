"""The student to take in the parent's place: how it is chosen, and how that is said."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deep_net_triage.findings.accuracy_cost import Cost
from deep_net_triage.methods import METHODS
from deep_net_triage.wording import allowed, percent

_MOST_LAYERS = 5


@dataclass(frozen=True)
class Recommendation:
    """A trained student that may be taken in the parent's place.

    Attributes:
        block: the block that is compressed.
        method: its name in `METHODS`.
        seed: of the trial.
        cost: the accuracy of this one student, minus the parent's and the control's.
        parameters_saved: as a fraction of the parent's.
        macs_saved: likewise, of the multiply-accumulates.
        sure: whether the whole interval is within what may be lost, not only the difference.
    """

    block: str
    method: str
    seed: int
    cost: Cost
    parameters_saved: float
    macs_saved: float
    sure: bool


def within(difference: float, max_drop: float) -> bool:
    """Returns whether a network loses no more than may be lost.

    Args:
        difference: its accuracy minus the parent's, 0..1.
        max_drop: the accuracy that may be lost, 0..1.
    """
    # Rounding must not reject a drop of exactly `max_drop`.
    return difference >= -max_drop - 1e-12


def choose(students: Iterable[Recommendation], max_drop: float) -> Recommendation | None:
    """Returns the student to take; None if none may replace the parent.

    Such a student saves multiply-accumulates and is within `max_drop`. Those that are surely
    within it are preferred, then those that save most, then those that lose least.

    Args:
        students: all that were trained.
        max_drop: the accuracy that may be lost, 0..1.
    """
    return max(
        (s for s in students if s.macs_saved > 0 and within(s.cost.difference, max_drop)),
        key=lambda s: (s.sure, s.macs_saved, s.parameters_saved, s.cost.difference),
        default=None,
    )


def sentences(student: Recommendation, max_drop: float, best: bool = True) -> list[str]:
    """Returns which student is recommended, what it costs and saves, and how sure that is.

    Args:
        student: which one.
        max_drop: the accuracy that may be lost, 0..1.
        best: whether nothing better is recommended beside it.
    """
    title = f"{student.block} by {METHODS[student.method].title}, seed {student.seed}"
    most = f"the allowed drop of {allowed(max_drop)}"
    if student.sure:
        certainty = f"Even the low end of its interval is within {most}."
    elif student.cost.estimate:
        certainty = f"It is within {most}, but the low end of its interval is not."
    else:
        certainty = f"It is within {most}; without correct.npy it has no interval."
    heading = recommended(student.sure) if best else "If only one block is to be compressed"
    return [
        f"{heading}: {title}.",
        f"It {savings_text(student.macs_saved, student.parameters_saved)}; its accuracy "
        f"differs by {student.cost.text()}.",
        certainty,
    ]


def recommended(sure: bool) -> str:
    """Returns how the sentence begins that recommends a network."""
    return "Recommended" if sure else "Recommended with reservations"


def savings_text(macs_saved: float, parameters_saved: float) -> str:
    """Returns a sentence's end: `saves 12.0 % of the multiply-accumulates and 3.0 % of ...`.

    Args:
        macs_saved: as a fraction of the parent's; negative where the student needs more.
        parameters_saved: likewise.
    """
    shares = {"multiply-accumulates": macs_saved, "parameters": parameters_saved}
    saved = [f"{percent(share)} of the {name}" for name, share in shares.items() if share >= 0]
    more = [f"{percent(-share)} more {name}" for name, share in shares.items() if share < 0]
    parts = [f"saves {' and '.join(saved)}"] if saved else []
    parts += [f"needs {' and '.join(more)}"] if more else []
    return " and ".join(parts)


def uncounted_text(layers: Sequence[str]) -> str:
    """Returns `not counted: layer a, layer b`, of many layers the first few."""
    named = [f"layer {layer}" for layer in layers[:_MOST_LAYERS]]
    if len(layers) > _MOST_LAYERS:
        named.append(f"{len(layers) - _MOST_LAYERS} more")
    return f"not counted: {', '.join(named)}"
