"""Which candidates to compress, and in which order: first the best set, then the others."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from deep_net_triage.findings.recommendation import within
from deep_net_triage.network.block import Block


@dataclass(frozen=True)
class Candidate:
    """A block, or a half of one, that could be compressed.

    Attributes:
        block: what would be compressed.
        method: by which its student lost least.
        cost: the accuracy that this student lost, 0..1, on the deciding images; negative
            where it gained.
        saved: the share of the parent's arithmetic, parameters or latency that it saves.
        interval: the 95 % interval of the cost.
    """

    block: Block
    method: str
    cost: float
    saved: float
    interval: tuple[float, float]

    @property
    def lowest_cost(self) -> float:
        """The lower of its cost and the lower end of the cost's interval."""
        return min(self.cost, *self.interval)

    def overlaps(self, other: "Candidate") -> bool:
        """Returns whether the two share a layer."""
        return self.block.overlaps(other.block)


@dataclass(frozen=True)
class _Choice:
    chosen: tuple[Candidate, ...] = ()
    cost: float = 0.0
    saved: float = 0.0

    def with_more(self, more: Sequence[Candidate]) -> "_Choice":
        # What a student gains is mostly noise, which should not pay for another's loss.
        cost = sum(max(0.0, candidate.lowest_cost) for candidate in more)
        saved = sum(candidate.saved for candidate in more)
        return _Choice((*self.chosen, *more), self.cost + cost, self.saved + saved)


def in_order(candidates: Sequence[Candidate], max_drop: float) -> list[Candidate]:
    """Returns the candidates in the order in which to compress them.

    First comes the set that saves most within `max_drop`, on the assumption that costs and
    savings add up. The others follow, in case a step fails or costs do not add up. Within each
    group, those that save most come first. A candidate counts with the lower end of its cost's
    interval: the final retraining may make up for the rest, and a step that costs too much is
    undone.

    Args:
        candidates: those that save nothing or surely cost too much are left out.
        max_drop: the accuracy that may be lost, 0..1.
    """
    saving = [candidate for candidate in candidates if candidate.saved > 0]
    allowed = [candidate for candidate in saving if within(-candidate.lowest_cost, max_drop)]
    planned = best_set(allowed, max_drop)
    others = [candidate for candidate in allowed if candidate not in planned]
    return [
        candidate
        for group in (planned, others)
        for candidate in sorted(group, key=lambda candidate: -candidate.saved)
    ]


def best_set(candidates: Sequence[Candidate], max_drop: float) -> tuple[Candidate, ...]:
    """Returns the candidates without common layers that save most within `max_drop`."""
    front = [_Choice()]
    for group in _overlap_groups(candidates):
        grown = [choice.with_more(more) for choice in front for more in _compatible_sets(group)]
        front = _pareto_front([choice for choice in grown if within(-choice.cost, max_drop)])
    return max(front, key=lambda choice: choice.saved).chosen


def _overlap_groups(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Returns groups of candidates. Candidates of different groups share no layer."""
    groups: list[list[Candidate]] = []
    for candidate in candidates:
        touched = [g for g in groups if any(candidate.overlaps(other) for other in g)]
        groups = [group for group in groups if group not in touched]
        groups.append([*itertools.chain(*touched), candidate])
    return groups


def _compatible_sets(group: Sequence[Candidate]) -> list[tuple[Candidate, ...]]:
    """Returns all sets of candidates that share no layer; the first is empty."""
    choices: list[tuple[Candidate, ...]] = [()]
    for candidate in group:
        choices += [
            (*chosen, candidate)
            for chosen in choices
            if not any(candidate.overlaps(other) for other in chosen)
        ]
    return choices


def _pareto_front(choices: Sequence[_Choice]) -> list[_Choice]:
    """Returns the choices on the Pareto front of cost and saving."""
    best: list[_Choice] = []
    for choice in sorted(choices, key=lambda choice: (choice.cost, -choice.saved)):
        if not best or choice.saved > best[-1].saved:
            best.append(choice)
    return best
