"""All retraining methods as one table (2.3). Training reads a method's row, not its name."""

from dataclasses import dataclass
from typing import Literal

from deep_net_triage.errors import InputError


@dataclass(frozen=True)
class Method:
    """How a compressed block is initialized, what is trained, and how figures show it.

    Attributes:
        initializer: of the compressed block: `glorot_uniform`, or the `mean` of the parent's
            block; None where no block is compressed.
        student_teacher: whether a student-teacher phase comes first (2.3.5, Eq. 3).
        updates: what the classification phase trains: the compressed `block` only, or the
            whole `model`.
        title: its name in the paper's figures.
        colour: in every figure; Okabe and Ito's colours can be told apart by colour-blind
            readers.
        marker: matplotlib's name for it; it tells methods apart in print without colour.
        taught: whether the classification phase also learns from the parent's outputs,
            besides the labels.
    """

    initializer: Literal["glorot_uniform", "mean"] | None
    student_teacher: bool
    updates: Literal["block", "model"]
    title: str
    colour: str = "#333333"
    marker: str = "x"
    taught: bool = False

    @property
    def reads_activations(self) -> bool:
        """Whether a phase trains the block alone, so that it may read stored activations."""
        return self.student_teacher or self.updates == "block"

    @property
    def compresses(self) -> bool:
        """Whether a block is replaced at all."""
        return self.initializer is not None


METHODS = {
    "cl_rw": Method("glorot_uniform", False, "block", "CL-RW", "#56B4E9", "o"),
    "cm_rw": Method("glorot_uniform", False, "model", "CM-RW", "#0072B2", "s"),
    "cl_mw": Method("mean", False, "block", "CL-MW", "#E69F00", "^"),
    "cm_mw": Method("mean", False, "model", "CM-MW", "#D55E00", "D"),
    "stn": Method("glorot_uniform", True, "block", "STN", "#009E73", "v"),
    # The paper's untested hypothesis (end of section 4).
    "stn_cm": Method("glorot_uniform", True, "model", "STN-CM", "#CC79A7", "P"),
    # Not the paper's: what Hinton et al. (2015) call distillation.
    "stn_kd": Method("glorot_uniform", True, "model", "STN-KD", "#882255", "X", taught=True),
}

# What the methods are compared with in claim 2 (section 4): a copy of the parent, trained for
# as many epochs as a method that updates the whole model.
CONTROL = "control"
NO_BLOCK = "no-block"  # in the place of a block's name
TABLE = {**METHODS, CONTROL: Method(None, False, "model", "control")}

GROUPS = {
    "paper": ("cl_rw", "cm_rw", "cl_mw", "cm_mw", "stn"),
    "all": ("cl_rw", "cm_rw", "cl_mw", "cm_mw", "stn", "stn_cm"),
}


def select(names: str) -> tuple[str, ...]:
    """Returns the methods that a comma-separated list names, in the table's order.

    Args:
        names: names from `TABLE` and `GROUPS`.

    Raises:
        InputError: if a name is in neither.
    """
    chosen: set[str] = set()
    for name in names.split(","):
        name = name.strip()
        if name not in TABLE and name not in GROUPS:
            allowed = ", ".join([*METHODS, *GROUPS, CONTROL])
            raise InputError(f"'{name}' is not a method; allowed: {allowed}")
        chosen.update(GROUPS.get(name, (name,)))
    return tuple(name for name in TABLE if name in chosen)
