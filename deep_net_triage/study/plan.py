"""What determines a parent or a trial, and how it differs from what is kept on disk."""

from dataclasses import dataclass

from deep_net_triage.commands.settings import Settings
from deep_net_triage.records import results


@dataclass(frozen=True)
class Identity:
    """Everything that a parent's or a trial's result depends on.

    Attributes:
        settings: what the command asks for.
        train_images: how many images the data set in use has for training.
        test_images: and for testing.
    """

    settings: Settings
    train_images: int
    test_images: int

    def of_parent(self) -> dict[str, object]:
        """Returns what determines the parent: the file it is given by, or its training."""
        if self.settings.parent:
            return {**self._of_data(), "parent": str(self.settings.parent)}
        return {**self._of_data(), **self.settings.of_parent()}

    def of_trial(
        self, method: str, block: str, seed: int, parent_sha256: str | None
    ) -> dict[str, object]:
        """Returns what determines a trial, the parent by its weights (None: not made yet)."""
        return {
            **self._of_data(),
            "parent_sha256": parent_sha256 or "not made yet",
            "method": method,
            "block": block,
            "seed": seed,
            **self.settings.of_trial(method),
        }

    def of_study(self) -> dict[str, object]:
        """Returns the settings that all trials of a study share."""
        return {
            **self.of_parent(),
            **self.settings.of_training(),
            "batchnorm_momentum": self.settings.batchnorm_momentum,
            "epochs": self.settings.epochs,
            "distill_epochs": self.settings.distill_epochs,
            "mean_over": self.settings.mean_over,
            "activation_dtype": self.settings.activation_dtype,
        }

    def parent_differences(
        self, recorded: dict[str, object], given_sha256: str | None
    ) -> list[str]:
        """Names what differs from a parent's `result.json`.

        A given model with the recorded weights is that parent, however it was made.
        """
        was, asked = recorded["settings"], self.of_parent()
        if given_sha256 == recorded["weights_sha256"]:
            asked = self._of_data()
            was = {name: was.get(name) for name in asked}
        return results.differences(was, asked)

    def trial_differences(
        self, recorded: dict[str, object], parent_sha256: str | None
    ) -> list[str]:
        """Names what differs from a finished trial's `result.json`."""
        was = recorded["settings"]
        asked = self.of_trial(was["method"], was["block"], was["seed"], parent_sha256)
        return results.differences(was, asked)

    def _of_data(self) -> dict[str, object]:
        return {
            **self.settings.of_data(),
            "train_images": self.train_images,
            "test_images": self.test_images,
        }
