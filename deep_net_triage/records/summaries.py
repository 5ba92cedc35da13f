"""The summary of a learning curve: its best, its last and its chosen epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

from deep_net_triage.records.results import Epoch


@dataclass(frozen=True)
class Curve:
    """A summary of a learning curve; `Row` documents the attributes of the same names."""

    max_accuracy: float
    max_epoch: int
    epochs_to_99: int
    final_accuracy: float
    chosen_epoch: int
    chosen_accuracy: float


def summarize(epochs: Sequence[Epoch], reports_last_epoch: bool) -> Curve:
    """Returns a learning curve's summary; only epochs of the phase `train` count.

    Args:
        epochs: of a training.
        reports_last_epoch: whether the last epoch is chosen, because the learning rate falls to
            zero; else the best one is.
    """
    trained = [epoch for epoch in epochs if epoch.phase == "train"]
    accuracies = [epoch.val_accuracy for epoch in trained]
    best = max(accuracies)
    choosing = [epoch.judged_by for epoch in trained]
    chosen = len(choosing) - 1 if reports_last_epoch else choosing.index(max(choosing))
    # Exactly 99 % counts, whatever the rounding of the product.
    near = 0.99 * best - 1e-12
    return Curve(
        max_accuracy=best,
        max_epoch=accuracies.index(best) + 1,
        epochs_to_99=next(n for n, a in enumerate(accuracies, 1) if a >= near),
        final_accuracy=accuracies[-1],
        chosen_epoch=chosen + 1,
        chosen_accuracy=accuracies[chosen],
    )
