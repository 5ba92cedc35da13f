"""Measures on a CPU whether a network trains faster in bfloat16 than in float32."""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from deep_net_triage.commands.settings import Settings
from deep_net_triage.images.splits import Dataset
from deep_net_triage.learning import whole_network
from deep_net_triage.learning.timed_training import TimedTraining

FULL, HALF = "float32", "mixed_bfloat16"
# Turns of each precision, and the seconds of a turn: the load from other processes varies.
_TURNS, _TURN = 3, 0.4
# On a busy machine two measurements of the same step lie up to a tenth apart.
WORTHWHILE = 1.1


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        gain: the time of a training step in float32 over its time in mixed bfloat16.
        trainings: those that were timed, by their dtype policy.
    """

    gain: float
    trainings: dict[str, TimedTraining]

    @property
    def faster(self) -> str:
        """The dtype policy to train with.

        bfloat16 rounds more, so its gain has to exceed the uncertainty of the measurement.
        """
        return HALF if self.gain >= WORTHWHILE else FULL


def measure(build: Callable[[], keras.Model], dataset: Dataset, settings: Settings) -> Measured:
    """Returns how long a training step takes in float32 and in mixed bfloat16.

    The two take turns, so that other work on the machine slows both. The dtype policy is
    restored.

    Args:
        build: returns the network to train, made under the current dtype policy.
        dataset: training images are read.
        settings: batch size and optimiser; images are not augmented.
    """
    policy, trainings = keras.config.dtype_policy(), {}
    try:
        for precision in (FULL, HALF):
            keras.config.set_dtype_policy(precision)
            learner = whole_network.learner_of_parent(build(), dataset, settings)
            trainings[precision] = TimedTraining(learner, dataset, settings)
    finally:
        keras.config.set_dtype_policy(policy)
    seconds: dict[str, list[float]] = {precision: [] for precision in trainings}
    for _ in range(_TURNS):
        for precision, timed in trainings.items():
            seconds[precision].append(timed.step(timed.fewest, _TURN))
    # The shortest turn was disturbed least.
    return Measured(min(seconds[FULL]) / min(seconds[HALF]), trainings)
