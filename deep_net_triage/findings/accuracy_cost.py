"""What compressing a block costs in accuracy: against the parent, and against the control.

The control is the parent trained on with nothing compressed (claim 2, section 4). What it gains
or loses comes from training alone; the difference from it is what compression costs.
"""

from dataclasses import dataclass

from deep_net_triage.findings.statistics import Estimate
from deep_net_triage.wording import counted, points


@dataclass(frozen=True)
class Cost:
    """Students' accuracy minus that of parent and of control, 0..1; a loss is negative.

    Attributes:
        difference: from the parent, the mean over seeds.
        estimate: the same with its 95 % interval; None where there is no interval.
        against_control: from the control of the same seed, which trains for as many epochs on
            labels; None without a finished control.
    """

    difference: float
    estimate: Estimate | None
    against_control: Estimate | None = None

    def text(self) -> str:
        """Returns `-1.2 points [-2.0, -0.4] from the parent, -0.8 [-1.5, -0.1] from ...`."""
        text = f"{self.from_parent()} from the parent"
        if self.against_control is not None:
            text += f", {self.from_control()} from the control"
        return text

    def from_control(self) -> str:
        """Returns `-0.8 [-1.5, -0.1]`, with the number of seeds if the control lacks some."""
        text = self.against_control.text(scale=100)
        seeds = self.against_control.count
        if self.estimate is None or seeds == self.estimate.count:
            return text
        return f"{text} ({counted(seeds, 'seed')})"

    def from_parent(self) -> str:
        """Returns `-1.2 points [-2.0, -0.4]`."""
        if self.estimate is None:
            return f"{points(self.difference)} (no interval)"
        return self.estimate.text("points", 100)
