"""The contrasts that decide each claim: weighted sums of what one fold's trials reached.

`docs/folds.md` is the plan that they carry out, and says why each is what it is.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deep_net_triage.methods import CONTROL, METHODS, NO_BLOCK, TABLE

# A trial of a fold: method and block. A contrast gives some of them weights that sum to 0.
Cell = tuple[str, str]
Weights = Mapping[Cell, float]

BLOCKS = tuple(f"block{number}" for number in range(1, 6))
SIX = tuple(METHODS)[:6]
WHOLE = tuple(name for name in SIX if TABLE[name].updates == "model")
LAYER = tuple(name for name in SIX if TABLE[name].updates == "block")
PARENT_TRAINED_ON = {(CONTROL, NO_BLOCK): 1.0}
# Methods that differ in what is trained, in the start, and in a student-teacher phase alone.
SAME_START = (("cm_rw", "cl_rw"), ("cm_mw", "cl_mw"), ("stn_cm", "stn"))
OTHER_START = (("cl_mw", "cl_rw"), ("cm_mw", "cm_rw"))
TAUGHT = (("stn", "cl_rw"), ("stn_cm", "cm_rw"))


@dataclass(frozen=True)
class Boundary:
    """A difference in accuracy, relative to how good the parent is.

    Attributes:
        factor: of the scale.
        scale: `known` is the parent's accuracy above chance; `least` is that or its error,
            whichever is smaller.
    """

    factor: float = 0.0
    scale: str = "known"


@dataclass(frozen=True)
class Part:
    """A contrast of a claim, turned so that the claim says that it is large.

    Attributes:
        name: what is compared.
        weights: of the trials.
        of: what is weighted: `accuracy` after the last epoch, or `early`, the mean over the
            first three.
        supports: above it, the claim is right.
        refutes: below it, the claim is wrong. It may be above `supports`, where too small an
            effect refutes, and below, where a claim allows a small difference.
    """

    name: str
    weights: Weights
    of: str
    supports: Boundary
    refutes: Boundary


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and all the parts that must be right.

    Attributes:
        number: the paper's, with a letter where two claims stand in one.
        sentence: the claim itself.
        parts: one or more; the claim is wrong if one of them is.
    """

    number: str
    sentence: str
    parts: tuple[Part, ...]


def mean_over(methods: Iterable[str], blocks: Iterable[str] = BLOCKS) -> Weights:
    """Returns equal weights, which sum to 1, for some methods at some blocks."""
    cells = list(itertools.product(methods, blocks))
    return {cell: 1 / len(cells) for cell in cells}


def less(first: Weights, second: Weights) -> Weights:
    """Returns the weights of one mean minus another."""
    return {
        cell: first.get(cell, 0.0) - second.get(cell, 0.0)
        for cell in dict.fromkeys((*first, *second))
    }


def pairs(of: Iterable[tuple[str, str]], blocks: Iterable[str] = BLOCKS) -> Weights:
    """Returns the weights of the first methods of some pairs minus the second."""
    firsts, seconds = zip(*of, strict=True)
    blocks = tuple(blocks)
    return less(mean_over(firsts, blocks), mean_over(seconds, blocks))


NOTHING = Boundary()
# The smallest effect worth claiming, and what counts as the same accuracy.
WORTH = Boundary(0.01)
SAME = Boundary(-0.08, "least")
# What the paper's "within about 5 points" keeps: nine tenths of what the parent knows.
NEAR = Boundary(-0.1)


def _whole_against_layer() -> Iterable[Part]:
    for block in BLOCKS:
        weights = pairs(SAME_START, (block,))
        name = f"whole model minus layer only, {block}"
        yield Part(name, weights, "accuracy", NOTHING, WORTH)


def _no_layer_gains() -> Iterable[Part]:
    for name, blocks in (("blocks 1 to 4", BLOCKS[:4]), ("block5", BLOCKS[4:])):
        weights = less(PARENT_TRAINED_ON, mean_over(LAYER, blocks))
        yield Part(f"control minus layer only, {name}", weights, "accuracy", SAME, NOTHING)


def _layer_is_near() -> Iterable[Part]:
    for block in BLOCKS:
        weights = less(mean_over(LAYER, (block,)), PARENT_TRAINED_ON)
        yield Part(f"layer only minus control, {block}", weights, "accuracy", NEAR, NEAR)


def _blocks_are_equal() -> Iterable[Part]:
    for one, other in itertools.permutations(BLOCKS, 2):
        weights = less(mean_over(SIX, (one,)), mean_over(SIX, (other,)))
        yield Part(f"{one} minus {other}", weights, "accuracy", SAME, NOTHING)


def _both_are_best() -> Iterable[Part]:
    best, others = mean_over(("stn_cm",)), mean_over(("cm_rw", "cm_mw"))
    to_layer = less(best, mean_over(LAYER))
    yield Part("STN-CM minus layer-only methods, final", to_layer, "accuracy", NOTHING, NOTHING)
    name = "STN-CM minus CM-RW and CM-MW"
    yield Part(f"{name}, final", less(best, others), "accuracy", NOTHING, NOTHING)
    yield Part(f"{name}, early", less(best, others), "early", NOTHING, NOTHING)


CLAIMS = (
    Claim(
        "1",
        "Methods that update the whole model reach the highest accuracy at every block.",
        tuple(_whole_against_layer()),
    ),
    Claim(
        "2a",
        "Methods that update the whole model match or exceed the parent.",
        (
            Part(
                "whole model minus control",
                less(mean_over(WHOLE), PARENT_TRAINED_ON),
                "accuracy",
                SAME,
                NOTHING,
            ),
        ),
    ),
    Claim("2b", "No layer-only method exceeds the parent.", tuple(_no_layer_gains())),
    Claim(
        "3",
        "Layer-only methods stay within about 5 points of the parent.",
        tuple(_layer_is_near()),
    ),
    Claim("4", "No block costs more accuracy than another.", tuple(_blocks_are_equal())),
    Claim(
        "5",
        "Mean initialisation speeds convergence very slightly over random.",
        (
            Part(
                "mean minus random start, early", pairs(OTHER_START), "early", NOTHING, NOTHING
            ),
        ),
    ),
    Claim(
        "6",
        "Student-teacher training clearly speeds convergence.",
        (Part("with minus without distillation, early", pairs(TAUGHT), "early", WORTH, WORTH),),
    ),
    Claim(
        "8",
        "Student-teacher training of the whole model converges fastest and reaches the highest "
        "accuracy.",
        tuple(_both_are_best()),
    ),
)
# Claim 7 compares data sets by how far all trials are from their own last epoch in the first
# three, because their accuracies can't be compared.
HARDER = "Harder data sets converge more slowly."
ALL = mean_over(SIX)
# STN's first epochs on labels and CL-RW's epochs after as much training.
DISTILLATION_COUNTED = {"early": mean_over(("stn",)), "later": less({}, mean_over(("cl_rw",)))}
