"""Makes the tables of `docs/reproduction.md` on training that settles, from committed files."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from ingredients import RUNS
from made_parts import header, row

from deep_net_triage.findings.statistics import Estimate, against_parent, paired_difference
from deep_net_triage.methods import CONTROL, NO_BLOCK, TABLE
from deep_net_triage.records.results import Epoch, read_epochs
from deep_net_triage.records.study_results import StudyResults, mean, read_study
from deep_net_triage.wording import signed


def recipes(paper: StudyResults, settled: StudyResults) -> Iterator[str]:
    """Yields a table of how much accuracies move under each of the two recipes.

    Args:
        paper, settled: studies of the same images, each with controls.
    """
    yield "| what | paper | settled |"
    yield "|---|---|---|"
    lines = {
        "parent: last epoch, %": lambda study: f"{100 * _of_parent(study)[-1]:.1f}",
        "parent: best epoch, %": lambda study: f"{100 * max(_of_parent(study)):.1f}",
        "whole model: change in the last epoch, points": lambda study: _number(
            mean(abs(curve[-1] - curve[-2]) for curve in whole_model(study))
        ),
        "whole model: best minus last epoch, points": lambda study: _number(
            mean(max(curve) - curve[-1] for curve in whole_model(study))
        ),
        "control minus parent, points": lambda study: _interval(_control_less_parent(study)),
        "whole model: median half-width of the intervals against the control, points": (
            lambda study: _number(median(half_widths(study)))
        ),
        "the same, from the sampling of test images alone": (
            lambda study: _number(median(half_widths_by_images(study)))
        ),
    }
    for what, cell in lines.items():
        yield f"| {what} | {cell(paper)} | {cell(settled)} |"


def blocks(settled: StudyResults) -> Iterator[str]:
    """Yields a table of what each block costs against the control, by method, in points."""
    control = settled.correct_by_seed(CONTROL, NO_BLOCK)
    methods = settled.methods()
    yield from header("", *(TABLE[name].title for name in methods))
    for block in settled.blocks_run():
        cells = (
            _interval(paired_difference(settled.correct_by_seed(name, block), control))
            for name in methods
        )
        yield row(block, *cells)


def digits(runs: Path) -> Iterator[str]:
    """Yields a table of the lowest cell of digits studies with parents of several seeds.

    Args:
        runs: a folder with a study for each recipe and parent, such as `settled_parent0`.
    """
    yield from header(
        "recipe",
        "parent seed",
        "parent accuracy, %",
        "lowest cell, %",
        "which",
        "mean of cells, %",
    )
    for folder in sorted(runs.glob("*_parent*")):
        study = read_study(folder)
        recipe, seed = folder.name.split("_parent")
        lowest = min(study.rows, key=lambda trial: trial.chosen_accuracy)
        yield row(
            recipe,
            seed,
            f"{100 * study.baseline_accuracy:.1f}",
            f"{100 * lowest.chosen_accuracy:.1f}",
            f"{TABLE[lowest.method].title} at {lowest.block}",
            f"{100 * mean(trial.chosen_accuracy for trial in study.rows):.1f}",
        )


def ingredients(runs: Path) -> Iterator[str]:
    """Yields a table of what each ingredient of the settled recipe does alone.

    Args:
        runs: the folder to which `ingredients.py` copies its runs.
    """
    yield from header(
        "the paper's recipe, but",
        "parent, %",
        "CL-RW",
        "CM-RW",
        "control",
        "change of an epoch",
        "best minus last",
    )
    for name, ingredient in RUNS.items():
        if (runs / name).is_dir():
            study = read_study(runs / name)
            curves = [*whole_model(study), *_curves(study, CONTROL)]
            yield row(
                ingredient.words,
                f"{100 * _of_parent(study)[-1]:.1f}" if _is_trained(study) else "the same",
                *(_last(study, method) for method in ("cl_rw", "cm_rw", CONTROL)),
                _number(mean(map(change, curves))),
                _number(mean(max(curve) - curve[-1] for curve in curves)),
            )


def change(curve: list[float]) -> float:
    """Returns the mean change of accuracy from epoch to epoch, without the first epoch, 0..1.

    Args:
        curve: accuracy after each epoch, 0..1.
    """
    return float(np.abs(np.diff(curve[1:])).mean())


def whole_model(study: StudyResults) -> list[list[float]]:
    """Returns the curves of all trials that train the whole student."""
    names = [name for name in study.methods() if TABLE[name].updates == "model"]
    return [curve for name in names for curve in _curves(study, name)]


def half_widths(study: StudyResults) -> list[float]:
    """Returns half the interval's width of each whole-model cell against the control, 0..1."""
    estimates = [paired_difference(cell, control) for cell, control in _cells(study)]
    return [(estimate.high - estimate.low) / 2 for estimate in estimates if estimate]


def half_widths_by_images(study: StudyResults) -> list[float]:
    """Returns the half widths of intervals that hold for the study's own students, 0..1."""
    widths = []
    for cell, control in _cells(study):
        differences = np.mean(
            [cell[seed].astype(float) - control[seed] for seed in cell], axis=0
        )
        widths.append(1.96 * float(differences.std(ddof=1)) / len(differences) ** 0.5)
    return widths


def _cells(study: StudyResults) -> list[tuple[dict, dict]]:
    """Returns what each whole-model cell and the control classify correctly, by seed."""
    control = study.correct_by_seed(CONTROL, NO_BLOCK)
    return [
        (study.correct_by_seed(method, block), control)
        for method in study.methods()
        for block in study.blocks_run()
        if TABLE[method].updates == "model"
    ]


def _control_less_parent(study: StudyResults) -> Estimate | None:
    return against_parent(study.correct_by_seed(CONTROL, NO_BLOCK), study.parent_correct)


def _curves(study: StudyResults, method: str) -> list[list[float]]:
    return [
        _accuracies(epochs) for (name, *_), epochs in study.epochs.items() if name == method
    ]


def _is_trained(study: StudyResults) -> bool:
    return (study.folder / "parent" / "epochs.jsonl").is_file()


def _last(study: StudyResults, method: str) -> str:
    lasts = [curve[-1] for curve in _curves(study, method)]
    return f"{100 * mean(lasts):.1f}" if lasts else "–"


def _accuracies(epochs: tuple[Epoch, ...] | list[Epoch]) -> list[float]:
    return [epoch.val_accuracy for epoch in epochs if epoch.phase == "train"]


def _of_parent(study: StudyResults) -> list[float]:
    return _accuracies(read_epochs(study.folder / "parent"))


def _number(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.2f}"


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    low, high = (signed(100 * bound, 1) for bound in (estimate.low, estimate.high))
    return f"{signed(100 * estimate.mean, 1)} [{low}, {high}]"
