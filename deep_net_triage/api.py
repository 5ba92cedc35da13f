"""The package as a library: finds, replaces, triages and compresses the blocks of a model."""

import contextlib
import dataclasses
import functools
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import keras

from deep_net_triage import devices
from deep_net_triage.commands import checks, command_line
from deep_net_triage.commands.options import CompressOptions, Options, Saving, as_arguments
from deep_net_triage.errors import ExportFailed, InputError
from deep_net_triage.images import in_memory
from deep_net_triage.images.in_memory import Examples
from deep_net_triage.network import blocks, flattening, surgery
from deep_net_triage.network.block import Block
from deep_net_triage.progress import Progress
from deep_net_triage.records import compressions, models
from deep_net_triage.records.compressions import Step
from deep_net_triage.records.study_results import StudyResults, read_study
from deep_net_triage.study import command, inputs
from deep_net_triage.study.inputs import Inputs


@dataclass(frozen=True)
class Compressed:
    """What `compress_within` returns.

    Attributes:
        model: the smaller model, not compiled; None if no block could be replaced.
        study: the results of the triage that came first.
        steps: the blocks and halves of blocks that were tried after it, in order.
        baseline_accuracy: of the given model on the test images, 0..1.
        accuracy: of the smaller model on the test images, 0..1; None without one.
        macs_saved: the share of the given model's multiply-accumulates, 0..1.
        parameters_saved: the share of the given model's parameters, 0..1.
    """

    model: keras.Model | None
    study: StudyResults
    steps: tuple[Step, ...]
    baseline_accuracy: float
    accuracy: float | None
    macs_saved: float
    parameters_saved: float


@contextlib.contextmanager
def _flags_as_keywords() -> Iterator[None]:
    """Rewrites the flags in an InputError as keyword arguments: `--epochs` as `epochs`."""
    try:
        yield
    except InputError as refusal:
        raise type(refusal)(re.sub(r"(?<!\w)--(?=[a-z])", "", str(refusal))) from refusal


@_flags_as_keywords()
def find_blocks(model: keras.Model, *, replacement: str = "conv") -> tuple[Block, ...]:
    """Returns the blocks of a model that one convolution each can replace, in its order.

    Args:
        model: Sequential or functional; models within it are looked into.
        replacement: of the blocks: `conv`, or `separable` for a SeparableConv2D.

    Raises:
        InputError: if the model has no block, or can't be triaged, which the message explains;
            or if `replacement` is neither of the two.
    """
    return blocks.find_blocks(flattening.flat(model), replacement)


@_flags_as_keywords()
def replace_block(
    model: keras.Model,
    block: Block | str | int,
    *,
    initializer: str = "mean",
    seed: int = 0,
    replacement: str = "conv",
) -> keras.Model:
    """Returns a copy of a model with a block replaced by one convolution, not retrained yet.

    Args:
        model: Sequential or functional.
        block: one that `find_blocks` returns, its name or number, or `first_layer:last_layer`.
        initializer: `glorot_uniform`, or the `mean` of the block's filters (2.3.3, Eq. 2).
        seed: of the random initialisation.
        replacement: `conv`, or `separable` for a SeparableConv2D; a `Block` has its own.

    Raises:
        InputError: if the model has no such block or can't be triaged, or if an argument has
            another value than those above.
    """
    parent = flattening.flat(model)
    if not isinstance(block, Block):
        (block,) = blocks.survey(parent, replacement).select((str(block),))
    student = surgery.compress(parent, block, initializer=initializer, seed=seed)
    surgery.synchronize(student, False)
    return student


@_flags_as_keywords()
def triage(
    model: keras.Model,
    train: Examples,
    test: Examples,
    *,
    max_drop: float = 0.02,
    progress: Progress | None = None,
    **options: Unpack[Options],
) -> StudyResults:
    """Triages the blocks of a trained model, and returns the results of its study.

    Each block is replaced by one convolution, and the model retrained. The option `output_dir`
    decides what remains:

    - With a folder the call leaves there what `run_triage.py --parent` leaves: table, figures,
      page and models. If it was interrupted, the same call continues.
    - Without one nothing remains but what is returned: a temporary folder is removed at the
      end, even after an error, and an interrupted call begins anew. No trial's model is saved.

    A trial that failed is a gap in the results. The caller's dtype policy, determinism and
    global seed are restored at the end.

    Args:
        model: takes one image, and returns logits or probabilities, one for each class.
        train: images, (examples, height, width, channels), and labels, (examples,), integers
            from 0. Pixels are uint8, other integers from 0 to 255, or floating. Images of
            another size than the model's are resized. A tf.data data set is read into memory
            once; to continue a study it must return the same examples in the same order.
        test: the same, to measure accuracy on.
        max_drop: the accuracy that a block may cost to be recommended, 0..1.
        progress: shows what happens; on standard output by default.
        options: see `Options`.

    Raises:
        InputError: if an option is wrong, or model and images don't fit together.
    """
    keywords = {"max_drop": max_drop, **options}
    flags = [*as_arguments(options, Options), f"--max_drop={max_drop}"]
    if options.get("output_dir") is None:
        flags.append("--nosave_models")
    examples = {"train": train, "test": test}
    with _study_run("triage", model, examples, keywords, flags, progress) as (study, _):
        return study


@_flags_as_keywords()
def compress_within(
    model: keras.Model,
    train: Examples,
    test: Examples,
    *,
    validation: Examples | None = None,
    max_drop: float = 0.01,
    save: Saving = "latency",
    progress: Progress | None = None,
    **options: Unpack[CompressOptions],
) -> Compressed:
    """Makes a trained model as small or fast as a loss of accuracy allows.

    Its blocks are triaged. Those that save most are then replaced one after another, and the
    model is retrained each time; a step that loses too much is undone. Validation images judge
    the steps; the test images only measure. As for `triage`, files remain and an interrupted
    call continues only if the option `output_dir` names a folder. The smaller model doesn't
    depend on that folder.

    Args:
        model: as for `triage`.
        train: as for `triage`.
        test: as for `triage`.
        validation: validation images and their labels, which the model was not trained on; None
            to hold out the share `validation_fraction` of `train`.
        max_drop: the accuracy that may be lost, 0..1.
        save: what to save as much of as possible; latency is measured on this machine, so that
            nothing else should run.
        progress: shows what happens; on standard output by default.
        options: see `CompressOptions`.

    Raises:
        InputError: if an option is wrong, or model and images don't fit together.
    """
    examples = {"train": train, "test": test}
    if validation is not None:
        if options.get("validation_fraction") is not None:
            raise InputError("give either validation or validation_fraction, not both")
        examples["validation"] = validation
    keywords = {"max_drop": max_drop, "save": save, **options}
    flags = [*as_arguments(options, CompressOptions), f"--max_drop={max_drop}"]
    flags += ["--compress", f"--save={save}"]
    with _study_run("compress_within", model, examples, keywords, flags, progress) as ran:
        study, folder = ran
        search = compressions.read(folder)
        smaller = folder / compressions.FOLDER / "model.keras"
        return Compressed(
            model=models.load(smaller) if smaller.is_file() else None,
            study=study,
            steps=search.steps,
            baseline_accuracy=search.baseline_accuracy,
            accuracy=search.accuracy,
            macs_saved=1 - search.macs / search.parent_macs,
            parameters_saved=1 - search.parameters / search.parent_parameters,
        )


@contextlib.contextmanager
def _study_run(
    function: str,
    model: keras.Model,
    examples: Mapping[str, Examples],
    keywords: Mapping[str, object],
    flags: list[str],
    progress: Progress | None,
) -> Iterator[tuple[StudyResults, Path]]:
    """Runs a study, and yields its results and its folder, which may be gone afterwards.

    Args:
        function: the name of the library's function, for the record.
        model: that was given.
        examples: the splits that were given, by their names.
        keywords: the function's other arguments.
        flags: what they are on a command line.
        progress: shows messages, and how far the work has come; None for standard output.
    """
    named = keywords.get("output_dir")
    if named is None:
        place = tempfile.TemporaryDirectory(prefix="deep_net_triage-")
    else:
        place = contextlib.nullcontext(named)
    with place as output_dir:
        flags = [*flags, f"--output_dir={output_dir}", "--parallel_trials=1"]
        name = keywords.get("name") or "study"
        if not (isinstance(name, str) and checks.DATASET_NAME.fullmatch(name)):
            raise InputError(f"name={name!r}: allowed: letters, digits and _ . + - : /")
        flags.append(f"--dataset={name}")
        settings = command_line.parse(flags, in_memory=True)
        inputs.check(model, "the model")
        shown = ["validation=validation"] if "validation" in examples else []
        shown += [f"{name}={value!r}" for name, value in keywords.items()]
        typed = f"deep_net_triage.{function}({', '.join(['model, train, test', *shown])})"
        with devices.restored():
            with progress or Progress() as watched:
                report = functools.partial(watched.step, settings.dataset)
                outputs, names = model.output_shape[-1], keywords.get("class_names")
                dataset = in_memory.dataset(settings.dataset, examples, outputs, names, report)
                try:
                    command.run(settings, typed, watched, Inputs(settings, dataset, model))
                except ExportFailed as failure:  # the results and the model don't depend on it
                    watched.say(f"not exported: {failure}")
                if named is None:
                    watched.say(
                        f"{settings.folder} is removed, because no output_dir was given"
                    )
            study = read_study(settings.folder)
            if named is None:
                study = dataclasses.replace(study, folder=None)
            # Inside `restored`, because loading a model draws random numbers.
            yield study, settings.folder
