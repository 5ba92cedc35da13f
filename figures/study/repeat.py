"""Compares a repeated study with the committed one, block by block and method by method.

python figures/study/repeat.py --study=runs/mnist

On the same machine a study gives the same numbers again. Another processor rounds differently,
and after 40 epochs its parent is another network.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.findings.statistics import CONFIDENCE, Estimate, accuracy_difference
from deep_net_triage.methods import METHODS
from deep_net_triage.records import results
from deep_net_triage.records.results import Epoch
from deep_net_triage.records.study_results import StudyResults, read_study
from deep_net_triage.wording import signed

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Cell:
    """A method at a block in both studies, by the seeds that both have.

    Attributes:
        method: its name in `METHODS`.
        block: its name.
        committed: the students' accuracy minus the parent's, 0..1, in the committed study.
        repeated: the same in the repeated study, against its own parent.
        change: the second minus the first, with an interval paired on seeds and test images; it
            holds for these two parents.
    """

    method: str
    block: str
    committed: Estimate
    repeated: Estimate
    change: Estimate

    @property
    def within(self) -> bool:
        """Whether the repeated difference lies in the committed interval."""
        return self.committed.low <= self.repeated.mean <= self.committed.high

    @property
    def changed(self) -> bool:
        """Whether the interval of the change does not hold zero."""
        return self.change.low > 0 or self.change.high < 0


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="<output_dir>/<dataset>")
    study = parser.parse_args().study
    try:
        repeated = read_study(study)
        committed = read_study(HERE / repeated.dataset)
        print("\n".join(comparison(committed, repeated)))
    except InputError as error:
        parser.error(str(error))


def comparison(committed: StudyResults, repeated: StudyResults) -> Iterator[str]:
    """Yields the comparison as lines for the terminal; accuracies in percent and points."""
    compared = cells(committed, repeated)
    yield f"{committed.dataset}: accuracy against the parent, committed and repeated"
    for cell in compared:
        remarks = [] if cell.within else ["outside"]
        if cell.changed:
            remarks.append(f"changed by {cell.change.text('points', 100)}")
        name, stated = METHODS[cell.method].title, cell.committed.text("points", 100)
        again = signed(100 * cell.repeated.mean)
        yield f"  {cell.block} {name:6}  {stated:29} {again:>5}  {', '.join(remarks)}".rstrip()
    before, after = (100 * study.baseline_accuracy for study in (committed, repeated))
    moved = parent_change(committed, repeated).text("points", 100)
    yield f"parent: {before:.1f} and {after:.1f} %, {moved}"
    within = sum(cell.within for cell in compared)
    yield f"{within} of {len(compared)} in the committed interval"
    chance = (1 - CONFIDENCE) * len(compared)
    changed = sum(cell.changed for cell in compared)
    yield f"{changed} changed; by chance about {chance:.1f} would"
    yield f"{equal_trials(committed, repeated)} trials equal in every epoch, on every image"


def cells(committed: StudyResults, repeated: StudyResults) -> list[Cell]:
    """Returns the cells that both studies have, by block and then by method.

    Raises:
        InputError: if their settings differ, or they share no trial.
    """
    if different := results.differences(committed.settings, repeated.settings):
        raise InputError(f"{repeated.folder} is another study: {'; '.join(different)}")
    shared = {trial[:2] for trial in _shared(committed, repeated) if trial[0] in METHODS}
    if not shared:
        raise InputError(f"{repeated.folder} has no trial of the committed study")
    return [
        _cell(method, block, committed, repeated)
        for block in committed.all_blocks()
        for method in METHODS
        if (method, block) in shared
    ]


def parent_change(committed: StudyResults, repeated: StudyResults) -> Estimate:
    """Returns the accuracy of the repeated parent minus that of the committed one."""
    return accuracy_difference(repeated.parent_correct[np.newaxis], committed.parent_correct)


def equal_trials(committed: StudyResults, repeated: StudyResults) -> int:
    """Returns the number of trials with the same losses and accuracies, on the same images."""
    equal = 0
    for trial in _shared(committed, repeated):
        first, second = (
            [replace(epoch, seconds=0.0) for epoch in _epochs(study, trial)]
            for study in (committed, repeated)
        )
        same_images = np.array_equal(committed.correct[trial], repeated.correct[trial])
        equal += first == second and same_images
    return equal


def _cell(method: str, block: str, committed: StudyResults, repeated: StudyResults) -> Cell:
    by_seed = [study.correct_by_seed(method, block) for study in (committed, repeated)]
    seeds = [seed for seed in by_seed[0] if seed in by_seed[1]]
    gains = []
    for study, correct in zip((committed, repeated), by_seed, strict=True):
        students = np.stack([correct[seed] for seed in seeds]).astype(int)
        gains.append(students - study.parent_correct)
    nothing = np.zeros(len(committed.parent_correct))
    return Cell(
        method,
        block,
        committed=accuracy_difference(gains[0], nothing),
        repeated=accuracy_difference(gains[1], nothing),
        change=accuracy_difference(gains[1], gains[0]),
    )


def _shared(committed: StudyResults, repeated: StudyResults) -> set[tuple[str, str, int]]:
    return committed.correct.keys() & repeated.correct.keys()


def _epochs(study: StudyResults, trial: tuple[str, str, int]) -> list[Epoch]:
    return results.read_epochs(results.trial_folder(study.folder, *trial))


if __name__ == "__main__":
    main()
