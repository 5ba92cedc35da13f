"""What a study is made of: its parent, its trials, and everything that determines each."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras

from deep_net_triage.commands.settings import Settings
from deep_net_triage.methods import NO_BLOCK
from deep_net_triage.network.block import Block
from deep_net_triage.records import results
from deep_net_triage.records.results import ParentResult

_SHOWN = 8  # characters of a digest in a message
_NO_PARENT = "none: its model is missing or damaged, and another one would have to be trained"


@dataclass(frozen=True)
class Parent:
    """A trained network in which blocks are compressed, and what students are compared with.

    Attributes:
        model: read, never changed.
        baseline_accuracy: what the drop of a student is measured from, 0..1.
        weights_sha256: digest of the model's weights.
        weights_bytes: of its saved weights; None where they are not saved.
    """

    model: keras.Model
    baseline_accuracy: float
    weights_sha256: str
    weights_bytes: int | None = None


@dataclass(frozen=True)
class Trial:
    """One (method, block, seed).

    Attributes:
        method: a name from `methods.TABLE`.
        block: the compressed block; None for the control.
        seed: of everything that is drawn at random.
    """

    method: str
    block: Block | None
    seed: int

    def __str__(self) -> str:
        """Returns its name in progress lines."""
        return f"{self.block_name} {self.method} seed {self.seed}"

    @property
    def key(self) -> tuple[str, str, int]:
        """Method, block's name and seed, as results name a trial."""
        return self.method, self.block_name, self.seed

    @property
    def block_name(self) -> str:
        """The block's name in folders and rows."""
        return self.block.name if self.block else NO_BLOCK


@dataclass(frozen=True)
class Identity:
    """Everything that the results of a parent and its trials depend on.

    Attributes:
        settings: of the command.
        train_images: the number of images to train on.
        test_images: the number of images to test on.
        images_digest: of all pixels and labels in their order.
        given: the file of a given parent, or a word for one in memory; None where the parent
            is trained here.
    """

    settings: Settings
    train_images: int
    test_images: int
    images_digest: str
    given: str | None

    def of_parent(self) -> dict[str, object]:
        """Returns what determines the parent: where it was given from, or its training."""
        if self.given:
            return {**self._of_data(), "parent": self.given}
        return {**self._of_data(), **self.settings.of_parent()}

    def of_trial(
        self, method: str, block: str, seed: int, parent_sha256: str | None
    ) -> dict[str, object]:
        """Returns what determines a trial.

        Args:
            method, block, seed: which trial.
            parent_sha256: digest of the parent's weights; None if it is not trained yet.
        """
        return {
            **self._of_data(),
            "parent_sha256": parent_sha256 or _NO_PARENT,
            "method": method,
            "block": block,
            "seed": seed,
            **self.settings.of_trial(method),
        }

    def of_network(self, start_sha256: str) -> dict[str, object]:
        """Returns what determines the training of a whole network, besides its lesson.

        Args:
            start_sha256: digest of the weights from which it starts.
        """
        return {
            **self._of_data(),
            "start_sha256": start_sha256,
            **self.settings.of_training(),
            "temperature": self.settings.temperature,
        }

    def of_study(self) -> dict[str, object]:
        """Returns the settings that all trials of a study share."""
        return {
            **self.of_parent(),
            **self.settings.of_training(),
            **self.settings.of_students(),
        }

    def parent_differences(self, recorded: ParentResult, given_sha256: str | None) -> list[str]:
        """Returns a text for each setting by which a recorded parent differs.

        A given model with the recorded weights is that parent, however it was made; one with
        other weights is another parent, wherever it comes from.

        Args:
            recorded: the result of a parent.
            given_sha256: digest of the given model's weights; None without one.
        """
        was, wanted = recorded.settings, self.of_parent()
        if given_sha256 == recorded.weights_sha256:
            wanted = self._of_data()
            was = {name: was.get(name) for name in wanted}
        elif given_sha256:
            was = {**was, "weights_sha256": recorded.weights_sha256[:_SHOWN]}
            wanted = {**wanted, "weights_sha256": given_sha256[:_SHOWN]}
        return results.differences(was, wanted)

    def trial_differences(
        self, was: Mapping[str, object], parent_sha256: str | None
    ) -> list[str]:
        """Returns a text for each setting by which a recorded trial differs."""
        wanted = self.of_trial(was["method"], was["block"], was["seed"], parent_sha256)
        return results.differences(was, wanted)

    def _of_data(self) -> dict[str, object]:
        return {
            **self.settings.of_data(),
            "train_images": self.train_images,
            "test_images": self.test_images,
            "images_digest": self.images_digest,
        }
