"""Five findings in plain sentences, each with its numbers and their intervals.

What they compare was fixed before any fold was run, but for four numbers that were added after
CIFAR-10, and one to three folds of CIFAR-100, had been run: how distillation does when its
epochs count, and three of the planned differences, whole model against layer alone and STN-CM
against layer-only methods. They carry a dagger.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import contrasts
import fold_results
import verdicts
from contrasts import LAYER, PARENT_TRAINED_ON, SIX, WHOLE, Weights
from fold_results import Fold, SetResult

from deep_net_triage.findings import looks
from deep_net_triage.records.study_results import mean
from deep_net_triage.wording import percent, signed


@dataclass(frozen=True)
class Headline:
    """One finding.

    Attributes:
        sentence: with a place for the numbers of each contrast.
        contrasts: for each, the weights of `accuracy`, `early` or `later`; where it weighs two
            of them, they are added.
    """

    sentence: str
    contrasts: tuple[Mapping[str, Weights], ...]


def _less_control(methods: Sequence[str], blocks: Sequence[str]) -> Mapping[str, Weights]:
    weights = contrasts.less(contrasts.mean_over(methods, blocks), PARENT_TRAINED_ON)
    return {"accuracy": weights}


def _less_layer(block: str) -> Mapping[str, Weights]:
    return {"accuracy": contrasts.pairs(contrasts.SAME_START, (block,))}


SIDES = " / "  # between what is said of one data set and of the next
_BOTH = contrasts.mean_over(("stn_cm",))
_OTHER_WHOLE = contrasts.less(_BOTH, contrasts.mean_over(("cm_rw", "cm_mw")))
ADDED = (
    "† Added to this list when all of CIFAR-10 and one to three folds of CIFAR-100 had been "
    "run. For claim 1, the blocks given are those with the largest and the smallest difference "
    "on CIFAR-10."
)
HEADLINES = (
    Headline(
        "**Whole model (claims 1 and 2a).** With one block replaced and the whole model "
        "retrained, accuracy differs from the control's by {}. Compared with training only the "
        "new layer, it differs by {}† at block 1, and by {}† at block 5.",
        (
            _less_control(WHOLE, contrasts.BLOCKS),
            _less_layer("block1"),
            _less_layer("block5"),
        ),
    ),
    Headline(
        "**Layer alone (claims 2b and 3).** With only the new layer trained, accuracy differs "
        "from the control's by {} at blocks 1 to 4, and by {} at block 5.",
        (
            _less_control(LAYER, contrasts.BLOCKS[:4]),
            _less_control(LAYER, contrasts.BLOCKS[4:]),
        ),
    ),
    Headline(
        "**Blocks (claim 4).** Replacing block 1 instead of block 5 changes accuracy by {}.",
        (
            {
                "accuracy": contrasts.less(
                    contrasts.mean_over(SIX, ("block1",)), contrasts.mean_over(SIX, ("block5",))
                )
            },
        ),
    ),
    Headline(
        "**Speed (claims 5 and 6).** Mean accuracy over the first three epochs on labels "
        "changes by {} with mean instead of random starting weights, and by {} with "
        "distillation beforehand. If STN's four epochs of distillation count in full, though "
        "each takes a fifth to half as long as one on labels, its epochs 1 to 3 on labels "
        "differ from CL-RW's epochs 5 to 7 by {}†. This favours CL-RW, whose learning rate has "
        "fallen by then.",
        (
            {"early": contrasts.pairs(contrasts.OTHER_START)},
            {"early": contrasts.pairs(contrasts.TAUGHT)},
            contrasts.DISTILLATION_COUNTED,
        ),
    ),
    Headline(
        "**Distillation and whole model (claim 8).** With equally many epochs on labels, "
        "STN-CM's accuracy differs from that of layer-only methods by {}†, and from that of "
        "CM-RW and CM-MW by {}. Its speed, distillation not counted, is compared only with "
        "that of CM-RW and CM-MW: over the first three epochs on labels, accuracy differs by "
        "{}.",
        (
            {"accuracy": contrasts.less(_BOTH, contrasts.mean_over(LAYER))},
            {"accuracy": _OTHER_WHOLE},
            {"early": _OTHER_WHOLE},
        ),
    ),
)


def headlines(
    sets: Mapping[str, Sequence[Fold]], results: Mapping[str, SetResult]
) -> Iterator[str]:
    """Yields a line for each finding, over the deciding data sets that are complete.

    Above them a line says what they are means over, and names the sets with their parents, in
    the order in which each finding has its numbers.
    Intervals are corrected for training images that folds share.

    Args:
        sets: the folds of each data set.
        results: what they say; a set that they leave aside is marked.
    """
    names = fold_results.complete_deciding(sets)
    if not names:
        return
    complete = [sets[name] for name in names]
    titles = [
        looks.title(name) + (" (left aside)" if results[name].left_aside else "")
        for name in names
    ]
    parents = [percent(mean(fold.parent for fold in folds)) for folds in complete]
    controls = [
        percent(mean(fold_results.weighted(folds, "accuracy", PARENT_TRAINED_ON)))
        for folds in complete
    ]
    yield (
        f"These are the findings on {SIDES.join(titles)} (parents {SIDES.join(parents)}, "
        f"controls {SIDES.join(controls)}), with 95 % intervals. Numbers are means over "
        f"methods and, unless a block is named, over blocks. {ADDED}"
    )
    yield ""
    for headline in HEADLINES:
        numbers = (_numbers(complete, contrast) for contrast in headline.contrasts)
        yield f"- {headline.sentence.format(*numbers)}"


def _numbers(sets: Iterable[Sequence[Fold]], contrast: Mapping[str, Weights]) -> str:
    """Returns a contrast on each data set: `+1.2 [+0.3, +2.1] / −0.4 [−1.0, +0.2] points`."""
    texts = []
    for folds in sets:
        values = fold_results.summed(folds, contrast)
        found = verdicts.interval(values, fold_results.overlap_of(folds))
        value, low, high = (signed(100 * number) for number in found)
        texts.append(f"{value} [{low}, {high}]")
    return f"{SIDES.join(texts)} points"
