"""The paper's methods as one table (2.3): a new method is a new row, and nothing else."""

from dataclasses import dataclass
from typing import Literal

from deep_net_triage.errors import InputError


@dataclass(frozen=True)
class Method:
    """How a compressed block starts and what is trained.

    Attributes:
        initializer: what the compressed block starts as: `glorot_uniform`, or the `mean` of
            the parent's block.
        distil: whether a student-teacher phase comes first (2.3.5, Eq. 3).
        updates: what the classification phase updates: the compressed `block` only, or the
            whole `model`.
        title: the name in the paper's figures.
    """

    initializer: Literal["glorot_uniform", "mean"]
    distil: bool
    updates: Literal["block", "model"]
    title: str


METHODS = {
    "cl_rw": Method("glorot_uniform", distil=False, updates="block", title="CL-RW"),
    "cm_rw": Method("glorot_uniform", distil=False, updates="model", title="CM-RW"),
    "cl_mw": Method("mean", distil=False, updates="block", title="CL-MW"),
    "cm_mw": Method("mean", distil=False, updates="model", title="CM-MW"),
    "stn": Method("glorot_uniform", distil=True, updates="block", title="STN"),
    # The paper's untested hypothesis (end of section 4).
    "stn_cm": Method("glorot_uniform", distil=True, updates="model", title="STN-CM"),
}

GROUPS = {"paper": tuple(METHODS)[:5], "all": tuple(METHODS)}

# No method but what methods are judged against: the parent trained on, no block compressed, for
# as many epochs as a method that updates the whole model.
CONTROL = "control"


def select(names: str) -> tuple[str, ...]:
    """Returns the methods that a comma-separated list names, in the table's order.

    Args:
        names: names from `METHODS` and `GROUPS`, and `CONTROL`, which comes last.

    Raises:
        InputError: if a name is neither.
    """
    chosen: set[str] = set()
    for name in names.split(","):
        name = name.strip()
        if name not in METHODS and name not in GROUPS and name != CONTROL:
            allowed = ", ".join([*METHODS, *GROUPS, CONTROL])
            raise InputError(f"'{name}' is no method; allowed: {allowed}")
        chosen.update(GROUPS.get(name, (name,)))
    return tuple(name for name in (*METHODS, CONTROL) if name in chosen)
