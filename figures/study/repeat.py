"""Compares a repeated study with the committed one, block by block and method by method.

python figures/study/repeat.py --study=runs/mnist

On the same machine a study gives the same numbers again. Another processor rounds otherwise,
and after 40 epochs its parent is another network.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deep_net_triage.errors import InputError
from deep_net_triage.findings import verdict
from deep_net_triage.findings.statistics import CONFIDENCE, Estimate, accuracy_difference
from deep_net_triage.methods import METHODS
from deep_net_triage.records import files, results
from deep_net_triage.records.results import StudyResults, block_order

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Cell:
    """What one method makes of one block, twice, by the seeds that both studies have.

    Attributes:
        method: its name in `METHODS`.
        block: its name.
        committed: accuracy minus the parent's, as committed.
        repeated: the same of the repeated study, by its own parent.
        change: how much the second is more than the first, with an interval paired on seeds
            and test images; it holds for these two parents.
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
        """Whether the interval of the change leaves zero out."""
        return self.change.low > 0 or self.change.high < 0


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, required=True, help="<output_dir>/<dataset>")
    study = parser.parse_args().study
    try:
        repeated = results.read_study(study)
        committed = results.read_study(HERE / repeated.dataset)
        print("\n".join(comparison(committed, repeated)))
    except InputError as error:
        parser.error(str(error))


def comparison(committed: StudyResults, repeated: StudyResults) -> Iterator[str]:
    """Yields the comparison as lines for the terminal; accuracies in percent and points."""
    found = cells(committed, repeated)
    yield f"{committed.dataset}: accuracy against the parent, committed and repeated"
    for cell in found:
        remarks = [] if cell.within else ["outside"]
        if cell.changed:
            remarks.append(f"changed by {cell.change.text('points', 100)}")
        name, stated = METHODS[cell.method].title, cell.committed.text("points", 100)
        again = f"{100 * cell.repeated.mean:+.1f}"
        yield f"  {cell.block} {name:6}  {stated:29} {again:>5}  {', '.join(remarks)}".rstrip()
    before, after = (100 * study.baseline_accuracy for study in (committed, repeated))
    moved = parent_change(committed, repeated).text("points", 100)
    yield f"parent: {before:.1f} and {after:.1f} %, {moved}"
    yield f"{sum(cell.within for cell in found)} of {len(found)} in the committed interval"
    chance = (1 - CONFIDENCE) * len(found)
    yield f"{sum(cell.changed for cell in found)} changed; by chance about {chance:.1f} would"
    yield f"{equal_trials(committed, repeated)} trials equal in every epoch, on every image"


def cells(committed: StudyResults, repeated: StudyResults) -> list[Cell]:
    """Returns what both studies have, blocks first, then methods.

    Raises:
        InputError: if their settings differ, or they share no trial.
    """
    recorded, asked = (
        files.read_json(study.folder / "study.json")["settings"]
        for study in (committed, repeated)
    )
    if different := results.differences(recorded, asked):
        raise InputError(f"{repeated.folder} is another study: {'; '.join(different)}")
    shared = {trial[:2] for trial in _shared(committed, repeated) if trial[0] in METHODS}
    if not shared:
        raise InputError(f"{repeated.folder} has no trial of the committed study")
    methods = list(METHODS)
    shared = sorted(shared, key=lambda pair: (block_order(pair[1]), methods.index(pair[0])))
    return [_cell(*pair, committed, repeated) for pair in shared]


def parent_change(committed: StudyResults, repeated: StudyResults) -> Estimate:
    """Returns the accuracy of the repeated parent minus that of the committed one."""
    return accuracy_difference(repeated.parent_correct[np.newaxis], committed.parent_correct)


def equal_trials(committed: StudyResults, repeated: StudyResults) -> int:
    """Returns how many trials have the same losses and accuracies, on the same images."""
    equal = 0
    for trial in _shared(committed, repeated):
        first, second = (
            results.read_epochs(results.trial_folder(study.folder, *trial))
            for study in (committed, repeated)
        )
        same_curve = [*map(_timeless, first)] == [*map(_timeless, second)]
        same_images = np.array_equal(committed.correct[trial], repeated.correct[trial])
        equal += same_curve and same_images
    return equal


def _cell(method: str, block: str, committed: StudyResults, repeated: StudyResults) -> Cell:
    by_seed = [verdict.kept_correct(study, method, block) for study in (committed, repeated)]
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


def _timeless(epoch: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in epoch.items() if name != "seconds"}


if __name__ == "__main__":
    main()
