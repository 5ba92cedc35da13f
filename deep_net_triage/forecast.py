"""How much longer a study will take: by estimates at first, then by measured times.

A study consists of trainings, and a training of phases. Phases of one kind, such as all that
train block 2 alone, take equally long. The first epoch of a phase may take longer than the
others, because TensorFlow traces a training step in it.
"""

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean


@dataclass(frozen=True)
class ExpectedPhase:
    """Epochs of a training that take equally long.

    Attributes:
        kind: the same for all phases that take equally long.
        name: `train` or `distill`.
        epochs: how many there are.
        seconds: what an epoch should take; None if unknown.
        tracing: seconds that the first epoch to run should take beyond that.
        done: how many of the epochs an earlier command has run.
    """

    kind: str
    name: str
    epochs: int
    seconds: float | None = None
    tracing: float = 0.0
    done: int = 0


@dataclass(frozen=True)
class ExpectedTraining:
    """A training that is still to run.

    Attributes:
        name: as progress lines show it, such as `[3/30] block1 cl_mw seed 0`.
        phases: in their order.
        around: seconds for all that is not an epoch, such as checks and saving.
        alone: whether nothing runs beside it, as with the parent.
    """

    name: str
    phases: tuple[ExpectedPhase, ...]
    around: float = 0.0
    alone: bool = False

    @property
    def seconds(self) -> float:
        """What it should take; phases of unknown length count as nothing."""
        return self.around + sum(
            phase.tracing + (phase.epochs - phase.done) * (phase.seconds or 0.0)
            for phase in self.phases
        )

    def after(self, epochs: int) -> "ExpectedTraining":
        """Returns what is left of the training once some of its epochs have been run."""
        phases = []
        for phase in self.phases:
            done = min(epochs, phase.epochs)
            epochs -= done
            if done < phase.epochs:
                phases.append(dataclasses.replace(phase, done=done))
        return dataclasses.replace(self, phases=tuple(phases))


@dataclass
class _Seen:
    """What is known of the epochs of one kind, in seconds."""

    expected: float | None = None
    # Of first epochs, without their tracing, and of all later ones.
    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        epochs = self.later or self.first
        return fmean(epochs) if epochs else None


class Forecast:
    """The time that trainings still take, from estimates and from the epochs that have ended.

    For a kind of which no epoch has ended, the estimate is multiplied by a ratio: what the
    other kinds took, over what they were expected to take. If these were expected to take less
    in all than one epoch of this kind, the ratio applies to that much of the epoch only.
    Otherwise distillation that was expected to take 1 s and takes 10 s would turn minutes of
    training into hours.
    """

    def __init__(self) -> None:
        self._began: float | None = None
        self._side_by_side = 1
        self._afterwards = 0.0
        self._afterwards_began: float | None = None
        self._trainings: dict[str, ExpectedTraining] = {}
        self._kinds: dict[str, _Seen] = {}
        # By training and phase: how many epochs have ended, with a share of the next.
        self._done: dict[tuple[str, str], float] = {}
        self._begun: set[tuple[str, str]] = set()
        # By training: seconds of its epochs.
        self._inside: dict[str, float] = {}
        self._around: list[tuple[float, float]] = []  # seconds: measured, expected

    def expect(
        self,
        trainings: Iterable[ExpectedTraining],
        side_by_side: int = 1,
        afterwards: float = 0.0,
    ) -> None:
        """Sets which trainings are to run.

        Args:
            trainings: the parent and the trials.
            side_by_side: how many of them run at once.
            afterwards: seconds of what is trained when they have ended, at most.
        """
        self._began = time.monotonic()
        self._afterwards, self._afterwards_began = afterwards, None
        for seen in (self._kinds, self._done, self._begun, self._inside, self._around):
            seen.clear()  # of an earlier study
        self._set(trainings, side_by_side)

    def afterwards(self, training: ExpectedTraining) -> None:
        """Sets the training that runs now, one of those after all that were expected."""
        if self._afterwards_began is None:
            self._afterwards_began = time.monotonic()
        self._set([training], 1)

    def _set(self, trainings: Iterable[ExpectedTraining], side_by_side: int) -> None:
        self._side_by_side = side_by_side
        self._trainings = {training.name: training for training in trainings}
        for training in self._trainings.values():
            for phase in training.phases:
                self._kinds.setdefault(phase.kind, _Seen()).expected = phase.seconds

    def keep(self, names: Iterable[str]) -> None:
        """Drops all trainings but these; the others have ended, here or in another process."""
        known = self._trainings
        self._trainings = {name: known[name] for name in names if name in known}

    def stepped(self, name: str, phase: str, epoch: int, share: float) -> None:
        """Notes that a training has done a share (0..1) of an epoch, which counts from 1."""
        self._done[name, phase] = epoch - 1 + share

    def epoch_ended(self, name: str, phase: str, epoch: int, seconds: float) -> None:
        """Notes how long an epoch took; epochs count from 1."""
        self._inside[name] = self._inside.get(name, 0.0) + seconds
        key = (name, phase)
        expected = self._phase(*key)
        if expected and key in self._begun:
            self._kinds[expected.kind].later.append(seconds)
        elif expected:
            # Tracing is not timed apart; its share is taken to be the estimated one.
            whole = (expected.seconds or 0.0) + expected.tracing
            share = expected.seconds / whole if expected.seconds else 1.0
            self._kinds[expected.kind].first.append(share * seconds)
        self._begun.add(key)
        self._done[key] = epoch

    def ended(self, name: str, seconds: float) -> None:
        """Notes how long a training took from beginning to end."""
        training = self._trainings.pop(name, None)
        if training and training.around:
            around = max(0.0, seconds - self._inside.get(name, 0.0))
            self._around.append((around, training.around))

    def left(self) -> float | None:
        """Returns how many seconds all trainings still take; None if unknown."""
        if self._began is None:
            return None
        seconds = {name: self.left_of(name) for name in self._trainings}
        follows = 0.0
        if self._afterwards_began is not None:
            follows = self._afterwards - (time.monotonic() - self._afterwards_began)
        if follows > 0:  # it was estimated as a whole
            seconds = {name: left or 0.0 for name, left in seconds.items()}
        if None in seconds.values():
            return None
        alone = [seconds[name] for name in seconds if self._trainings[name].alone]
        others = [seconds[name] for name in seconds if not self._trainings[name].alone]
        left = sum(alone) + max([sum(others) / self._side_by_side, *others])
        return left + self._afterwards if self._afterwards_began is None else max(left, follows)

    def share(self) -> float | None:
        """Returns how much of the time of all trainings has passed, 0..1; None if not known."""
        left = self.left()
        if left is None:
            return None
        passed = time.monotonic() - self._began
        return passed / (passed + left) if passed + left else 1.0

    def left_of(self, name: str) -> float | None:
        """Returns how many seconds one training still takes; None if unknown."""
        training = self._trainings.get(name)
        if training is None:
            return None
        total = training.around * _ratio(self._around)
        for phase in training.phases:
            done = self._done.get((name, phase.name), phase.done)
            left = max(0.0, phase.epochs - done)
            seconds = self._seconds(phase.kind)
            if seconds is None:
                return None
            total += left * seconds + (phase.tracing if done == phase.done else 0.0)
        return total

    def _phase(self, name: str, phase: str) -> ExpectedPhase | None:
        training = self._trainings.get(name)
        phases = training.phases if training else ()
        return next((expected for expected in phases if expected.name == phase), None)

    def _seconds(self, kind: str) -> float | None:
        """Returns what an epoch of a kind takes."""
        seen = self._kinds[kind]
        if seen.mean is not None:
            return seen.mean
        others = [(k.mean, k.expected) for k in self._kinds.values() if k.mean is not None]
        if seen.expected is None:
            return fmean(mean for mean, _ in others) if others else None
        return seen.expected * _ratio([pair for pair in others if pair[1]], seen.expected)


def _ratio(pairs: list[tuple[float, float]], of: float = 0.0) -> float:
    """Returns the sum of what was seen over the sum of what was expected; 1 without any.

    Args:
        pairs: what was seen, and what was expected.
        of: what the ratio is applied to. The part of it that exceeds all that was expected
            counts as seen as expected.
    """
    expected = sum(pair[1] for pair in pairs)
    unseen = max(0.0, of - expected)
    whole = expected + unseen
    return (sum(pair[0] for pair in pairs) + unseen) / whole if whole else 1.0
