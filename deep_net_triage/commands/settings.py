"""The settings of one command as one frozen value, and which of them determine what."""

import re
from dataclasses import dataclass
from pathlib import Path

from deep_net_triage import methods

GIB = 2**30

# Adam's usual rate, whatever the rate and the optimiser of other phases.
DISTILL_LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Settings:
    """The flags of one command, checked; each attribute is the flag of the same name, except:

    Attributes:
        methods: names from `METHODS`; `control` is separate.
        control: whether the control runs: by its flag, or because `--method` names it.
        blocks: names or numbers as typed, which only the parent can resolve; None for all.
        activation_memory, activation_disk: in bytes; None for a quarter of what is free.
        parallel_trials: None for as many as keep the cores busy.
        fold: the number of the tested fold, from 0, and of all folds; None for the data set's
            own splits.
        shard: the job's number, from 0, and the number of jobs; None for all trials.
    """

    dataset: str
    methods: tuple[str, ...]
    control: bool
    blocks: tuple[str, ...] | None
    seeds: tuple[int, ...]
    list_blocks: bool
    estimate: bool
    parent: Path | None
    parent_weights: str
    image_dir: Path | None
    class_names: Path | None
    data_dir: Path | None
    train_examples: int | None
    test_examples: int | None
    fold: tuple[int, int] | None
    validation_fraction: float
    image_size: int
    width: float
    recipe: str
    parent_epochs: int
    parent_patience: int | None
    parent_seed: int
    epochs: int
    distill_epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    retrain_learning_rate: float | None
    layer_learning_rate: float | None
    schedule: str
    warmup_epochs: int
    weight_decay: float
    label_smoothing: float
    clip_norm: float | None
    distill: str
    temperature: float
    dropout: float
    batchnorm_momentum: float
    augment: str
    augment_copies: int | None
    mean_over: str
    replacement: str
    block_start: str
    output_dir: Path
    save_models: bool
    overwrite: bool
    precision: str
    activation_memory: int | None
    activation_disk: int | None
    activation_dir: Path | None
    activation_dtype: str
    deterministic: bool
    replicas: int | None
    parallel_trials: int | None
    launcher: str
    ray_address: str
    shard: tuple[int, int] | None
    max_drop: float
    compress: bool
    save: str
    latency_batches: tuple[int, ...]
    final_epochs: int | None
    final_seeds: tuple[int, ...]
    alternatives: bool
    export: tuple[str, ...]
    latency: bool
    tensorboard: bool
    verbose: bool

    @property
    def folder(self) -> Path:
        """The study's folder: `<output_dir>/<dataset>`."""
        return self.output_dir / re.sub(r"[^\w.-]", "-", self.dataset)

    def of_data(self) -> dict[str, object]:
        """Returns the settings that determine which images a network sees, and how."""
        # Not recorded where there is none, so that results without it stay valid.
        folder = {"image_dir": str(self.image_dir)} if self.image_dir else {}
        fold = {"fold": "/".join(map(str, self.fold))} if self.fold else {}
        counts = ("train_examples", "test_examples", "validation_fraction", "image_size")
        return self._only("dataset") | folder | fold | self._only(*counts)

    @property
    def reports_last_epoch(self) -> bool:
        """Whether the rate falls to zero in each phase, so that the last epoch is chosen."""
        return self.schedule == "cosine"

    @property
    def augments_each_epoch(self) -> bool:
        """Whether images are flipped and cropped anew in each epoch of every phase.

        Nothing that is computed from them can then be stored.
        """
        return self.augment != "none" and self.augment_copies is None

    @property
    def has_student_teacher_phase(self) -> bool:
        """Whether a method has a student-teacher phase."""
        return any(methods.METHODS[name].student_teacher for name in self.methods)

    @property
    def stores_activations(self) -> bool:
        """Whether what blocks receive and return is computed once, and not in each epoch.

        All of a command's methods count, not only those that are left to run: a study that was
        interrupted must compute each trial as one that was not.
        """
        read = any(methods.METHODS[name].reads_activations for name in self.methods)
        return read and not self.augments_each_epoch

    def classification_rate(self, updates: str) -> float:
        """Returns the learning rate of a trial's classification phase.

        Args:
            updates: `block` if the compressed block is trained alone, `model` if all layers.
        """
        own = {"block": self.layer_learning_rate, "model": self.retrain_learning_rate}
        return own[updates] or self.learning_rate

    @property
    def distillation_rate(self) -> float:
        """The learning rate of the student-teacher phase.

        The phase always uses Adam: Eq. 3 sums over up to 802,816 elements, and plain SGD
        diverges on it.
        """
        return self.layer_learning_rate or DISTILL_LEARNING_RATE

    def of_training(self) -> dict[str, object]:
        """Returns the settings that determine how a network is trained on labels."""
        optimizing = ("batch_size", "learning_rate", "optimizer", "schedule", "warmup_epochs")
        regularizing = ("weight_decay", "label_smoothing", "clip_norm", "augment")
        return self._only(*optimizing, *regularizing, "precision", "deterministic")

    def of_parent(self) -> dict[str, object]:
        """Returns the settings that determine a parent that is trained here."""
        epochs = ("parent_epochs", "parent_patience", "parent_seed")
        return {
            **self.of_data(),
            **self._only("width", "parent_weights", *epochs),
            **self.of_training(),
            **self._only("dropout", "batchnorm_momentum"),
        }

    def of_students(self) -> dict[str, object]:
        """Returns what `study.json` records of students, besides how labels are learned."""
        epochs_and_rates = (
            "epochs",
            "distill_epochs",
            "retrain_learning_rate",
            "layer_learning_rate",
        )
        taught = ("augment_copies", "distill", "temperature")
        replaced = ("mean_over", "replacement", "block_start", "activation_dtype")
        return self._only("batchnorm_momentum", *epochs_and_rates, *taught, *replaced)

    def of_trial(self, method: str) -> dict[str, object]:
        """Returns the settings that determine a trial, besides those of data and parent.

        Settings that a method does not use are left out, so that changing them leaves its
        trials valid.

        Args:
            method: a name from `TABLE`.
        """
        row = methods.TABLE[method]
        used = {
            "batchnorm_momentum": row.compresses,
            "distill_epochs": row.student_teacher,
            "distillation_rate": row.student_teacher,
            "activation_dtype": row.reads_activations,
            "augment_copies": row.reads_activations,
            "layer_learning_rate": row.compresses and row.updates == "model",
            "mean_over": row.initializer == "mean",
            # Not recorded by default, so that results without it stay valid.
            "replacement": row.compresses and self.replacement != "conv",
            "block_start": row.initializer == "glorot_uniform",
            "distill": row.taught,
            "temperature": row.taught and self.distill != "features",
        }
        names = [name for name, is_used in used.items() if is_used]
        rate = {"learning_rate": self.classification_rate(row.updates)}
        return {**self._only("epochs"), **self.of_training(), **rate, **self._only(*names)}

    def _only(self, *names: str) -> dict[str, object]:
        return {name: getattr(self, name) for name in names}
