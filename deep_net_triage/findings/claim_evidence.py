"""The evidence that studies give for and against each claim of the paper (section 4).

There is one function for each claim, in the paper's order. It takes the studies of several data
sets and returns every comparison that bears on the claim.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from deep_net_triage.findings.judgements import Comparison, Evidence
from deep_net_triage.findings.statistics import (
    Estimate,
    against_parent,
    number_difference,
    paired_difference,
)
from deep_net_triage.methods import CONTROL, GROUPS, METHODS, NO_BLOCK, Method
from deep_net_triage.records.study_results import StudyResults, mean

_ABOVE, _BELOW = (0.0, math.inf), (-math.inf, 0.0)
_NEAR = (-0.05, math.inf)
_EQUIVALENT = 0.02


def best_updates_the_model(studies: Sequence[StudyResults]) -> Evidence:
    """Compares the best method that updates the whole model with the best other, by block."""
    evidence = Evidence()
    for study, block in _blocks(studies):
        whole, only = _methods(study, block, "model"), _methods(study, block, "block")
        if _complete(evidence, study, block, [*whole, *only]):
            best = _best(study, block, whole)
            _add_best(evidence, study, block, best, only, "best layer-only")
    return evidence


def only_the_model_exceeds_the_parent(studies: Sequence[StudyResults]) -> Evidence:
    """Compares each method with the parent, and whole-model ones with the control as well."""
    evidence = Evidence()
    _add_against_parent(evidence, studies, "model", _ABOVE)
    _add_against_parent(evidence, studies, "block", _BELOW)
    for study in studies:
        controls = study.correct_by_seed(CONTROL, NO_BLOCK)
        if not controls:
            evidence.missing.append(
                f"{study.dataset}: the control (training the parent further may gain as much)"
            )
        for _, block in _blocks([study] if controls else []):
            for method in _methods(study, block, "model"):
                if correct := study.correct_by_seed(method, block):
                    what = f"{study.dataset} {block}: {METHODS[method].title} - control"
                    evidence.add(what, paired_difference(correct, controls), _ABOVE)
    return evidence


def layer_only_is_near(studies: Sequence[StudyResults]) -> Evidence:
    """Compares each layer-only method with the parent less five points."""
    evidence = Evidence()
    _add_against_parent(evidence, studies, "block", _NEAR)
    return evidence


def blocks_are_equal(studies: Sequence[StudyResults]) -> Evidence:
    """Compares every two blocks by each method, and shows the two that differ most clearly.

    A difference that is not significant does not show equality: an interval that holds zero
    and reaches beyond `_EQUIVALENT` is inconclusive.
    """
    evidence = Evidence()
    for study, method in itertools.product(studies, GROUPS["all"]):
        blocks = [block for _, block in _blocks([study]) if method in _methods(study, block)]
        complete = [block for block in blocks if _complete(evidence, study, block, [method])]
        found = {
            f"{first} - {second}": _between(study, (method, first), (method, second))
            for first, second in itertools.combinations(complete, 2)
        }
        pairs = {pair: difference for pair, difference in found.items() if difference}
        what = f"{study.dataset} {METHODS[method].title}"
        evidence.missing += [
            f"{what}: {pair}: no seed in common" for pair in found if pair not in pairs
        ]
        if blocks and not found:
            evidence.missing.append(f"{what}: two blocks to compare")
        if pairs:
            clearest = min(pairs, key=lambda pair: pairs[pair].p_value(0))
            agrees = all(
                pair.low >= -_EQUIVALENT and pair.high <= _EQUIVALENT for pair in pairs.values()
            )
            chance = len(pairs) * pairs[clearest].p_value(0)
            text = f"{what}: {clearest} = {pairs[clearest].text('points', 100)}"
            if len(pairs) > 1:
                text += f", the clearest difference of {len(pairs)} pairs"
            against = 1.0 if agrees else min(1.0, chance)
            evidence.comparisons.append(Comparison(text, pairs[clearest], agrees, against))
    return evidence


def mean_is_faster(studies: Sequence[StudyResults]) -> Evidence:
    """Compares the epochs of methods that start at the mean with those that start at random."""
    return _faster(
        studies,
        lambda one, other: (
            (one.initializer, other.initializer) == ("mean", "glorot_uniform")
            and (one.student_teacher, one.updates) == (other.student_teacher, other.updates)
        ),
    )


def distilling_is_faster(studies: Sequence[StudyResults]) -> Evidence:
    """Compares the epochs of methods that distil with those that do not."""
    return _faster(
        studies,
        lambda one, other: (
            (one.student_teacher, other.student_teacher) == (True, False)
            and (one.initializer, one.updates) == (other.initializer, other.updates)
        ),
    )


def _faster(
    studies: Sequence[StudyResults], comparable: Callable[[Method, Method], bool]
) -> Evidence:
    """Compares the epochs of the paper's methods, those two at a time that are comparable."""
    evidence = Evidence()
    pairs = [
        (name, rival)
        for name, rival in itertools.permutations(GROUPS["paper"], 2)
        if comparable(METHODS[name], METHODS[rival])
    ]
    for study, (name, rival) in itertools.product(studies, pairs):
        if estimate := _epochs_between(evidence, study, name, rival):
            what = f"{study.dataset}: {_with_epochs(study, name)} - {METHODS[rival].title}"
            evidence.add(what, estimate, _BELOW, "epochs")
    return evidence


def harder_is_slower(studies: Sequence[StudyResults]) -> Evidence:
    """Compares each data set with the next easier one, by their parents' accuracies."""
    evidence = Evidence()
    if len(studies) < 2:
        evidence.missing.append("a second data set to compare with")
    ordered = sorted(studies, key=lambda study: -study.baseline_accuracy)
    for easy, hard in itertools.pairwise(ordered):
        what = f"{hard.dataset} - {easy.dataset}"
        slower: dict[str, list[float]] = {}
        for (_, block), name in itertools.product(_blocks([hard]), GROUPS["paper"]):
            epochs = [mean(_epochs(study, name, block).values()) for study in (hard, easy)]
            if None in epochs:
                evidence.missing.append(f"{what}, {block}: {METHODS[name].title} on both")
            else:
                slower.setdefault(block, []).append(epochs[0] - epochs[1])
        if easy.baseline_accuracy == hard.baseline_accuracy:
            evidence.missing.append(f"{what}: one that is harder")
        elif slower:
            differences = [mean(of_methods) for of_methods in slower.values()]
            evidence.add(what, number_difference(differences, step=1), _ABOVE, "epochs")
    return evidence


def both_together_are_best(studies: Sequence[StudyResults]) -> Evidence:
    """Compares distilling, then updating the whole model, with the best and fastest others."""
    evidence = Evidence()
    both = next(
        name
        for name in GROUPS["all"]
        if METHODS[name].student_teacher and METHODS[name].updates == "model"
    )
    for study, block in _blocks(studies):
        rivals = [name for name in _methods(study, block) if name != both]
        if _complete(evidence, study, block, [both, *rivals]):
            _add_best(evidence, study, block, both, rivals, "best other")
    for study in studies:
        rivals = {
            name: _epochs_between(evidence, study, both, name) for name in GROUPS["paper"]
        }
        if all(rivals.values()):
            fastest = max(rivals, key=lambda name: rivals[name].mean)
            what = f"{study.dataset}: {_with_epochs(study, both)} - fastest other, "
            what += _with_epochs(study, fastest)
            evidence.add(what, rivals[fastest], _BELOW, "epochs", choices=len(rivals))
    return evidence


def _add_against_parent(
    evidence: Evidence,
    studies: Sequence[StudyResults],
    updates: str,
    allowed: tuple[float, float],
) -> None:
    for study, block in _blocks(studies):
        for name in _methods(study, block, updates):
            what = f"{study.dataset} {block}: {METHODS[name].title} - parent"
            if study.parent_correct is None:
                evidence.missing.append(f"{what}: no interval")
            elif _complete(evidence, study, block, [name]):
                correct = study.correct_by_seed(name, block)
                evidence.add(what, against_parent(correct, study.parent_correct), allowed)


def _add_best(
    evidence: Evidence,
    study: StudyResults,
    block: str,
    method: str,
    rivals: list[str],
    rivals_are: str,
) -> None:
    rival = _best(study, block, rivals)
    what = f"{study.dataset} {block}: {METHODS[method].title} - {rivals_are}, "
    what += METHODS[rival].title
    difference = _between(study, (method, block), (rival, block))
    evidence.add(what, difference, _ABOVE, choices=len(rivals))


def _complete(
    evidence: Evidence, study: StudyResults, block: str, methods: Sequence[str]
) -> bool:
    """Returns whether all methods have an interval at a block, and records those without."""
    without = [name for name in methods if not study.correct_by_seed(name, block)]
    for name in without:
        why = "interval" if study.trials(name, block) else "finished trial"
        evidence.missing.append(f"{study.dataset} {block}: {METHODS[name].title} has no {why}")
    return not without


def _blocks(studies: Sequence[StudyResults]) -> Iterator[tuple[StudyResults, str]]:
    """Yields every block of every study, those without a finished trial included."""
    for study in studies:
        yield from ((study, block) for block in study.all_blocks())


def _methods(study: StudyResults, block: str, updates: str | None = None) -> list[str]:
    """Returns the paper's five methods, and its sixth if it has a finished trial at a block."""
    return [
        name
        for name in GROUPS["all"]
        if updates in (None, METHODS[name].updates)
        and (name in GROUPS["paper"] or study.trials(name, block))
    ]


def _best(study: StudyResults, block: str, methods: list[str]) -> str:
    def accuracy(name: str) -> float:
        return float(np.mean(list(study.correct_by_seed(name, block).values())))

    return max(methods, key=accuracy)


def _between(
    study: StudyResults, first: tuple[str, str], second: tuple[str, str]
) -> Estimate | None:
    return paired_difference(study.correct_by_seed(*first), study.correct_by_seed(*second))


def _epochs(study: StudyResults, method: str, block: str) -> dict[int, int]:
    return {row.seed: row.epochs_to_99 for row in study.trials(method, block)}


def _epochs_between(
    evidence: Evidence, study: StudyResults, method: str, rival: str
) -> Estimate | None:
    """Returns by how many epochs a method takes longer, paired by block."""
    differences = []
    for _, block in _blocks([study]):
        first, second = _epochs(study, method, block), _epochs(study, rival, block)
        seeds = first.keys() & second.keys()
        if seeds:
            differences.append(mean(first[seed] - second[seed] for seed in seeds))
        else:
            titles = f"{METHODS[method].title} and {METHODS[rival].title}"
            evidence.missing.append(f"{study.dataset} {block}: {titles}: no seed in common")
    return number_difference(differences, step=1) if differences else None


def _with_epochs(study: StudyResults, method: str) -> str:
    """Returns a method's title, with the epochs of distillation beside it (Figure 3)."""
    spent = mean(row.distill_epochs for row in study.trials(method))
    return METHODS[method].title + (
        f" (after {spent:g} epochs of distillation)" if spent else ""
    )
