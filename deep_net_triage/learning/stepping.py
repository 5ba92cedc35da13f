"""Reports the steps of training and evaluation, without a change to what Keras computes."""

import keras

from deep_net_triage.steps import Report, Reporter, Step


class StepReports(keras.callbacks.Callback):
    """Reports how far each epoch of a training, and each evaluation, has come.

    It uses the callbacks at the beginnings of batches: before those at their ends, Keras 3.15
    waits for the batch's metrics.

    Args:
        report: receives the reports.
        batch_size: images per step.
        test_steps: steps of an evaluation.
        phase: of the training, `train` or `distill`; empty if nothing is trained.
    """

    def __init__(
        self, report: Report, batch_size: int, test_steps: int, phase: str = ""
    ) -> None:
        super().__init__()
        self._reporter = Reporter(report)
        self._batch_size = batch_size
        self._test_steps = test_steps
        self._phase = phase
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begins an epoch; Keras's `params` are then those of the training."""
        self._epoch = epoch + 1
        self._begin(
            f"{self._phase} {self._epoch}/{self.params['epochs']}", self.params["steps"]
        )

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the steps of an epoch before this one."""
        share = batch / self.params["steps"]
        self._reporter.reached(batch, batch * self._batch_size, loss=self._loss, share=share)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Begins an evaluation, alone or at the end of an epoch."""
        work = f"test {self._epoch}/{self.params['epochs']}" if self._phase else "testing"
        self._begin(work, self._test_steps, share=1.0)

    def on_test_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the steps of an evaluation before this one."""
        self._reporter.reached(batch, batch * self._batch_size, share=1.0)

    def _begin(self, work: str, steps: int, share: float = 0.0) -> None:
        self._reporter.begin(
            Step(work, of=steps, phase=self._phase, epoch=self._epoch, share=share)
        )

    def _loss(self) -> float:
        return float(self.model.loss_mean.result())
