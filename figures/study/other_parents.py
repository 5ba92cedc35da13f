"""The tables of `docs/reproduction.md` on studies that were repeated.

They show how another parent, which differs from the committed one by rounding alone, changes
the cells, the claims, and what `docs/paper.md` reads in the studies. The readings
were chosen by the committed studies, so that the committed intervals favour them. The repeated
studies, in `repeated/`, were run afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import repeat
from made_parts import header, row
from reproduction import gain, points

from deep_net_triage.findings import looks
from deep_net_triage.findings.judgements import Judgement
from deep_net_triage.findings.statistics import Estimate, paired_difference
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import read_parent
from deep_net_triage.records.study_results import StudyResults, mean
from deep_net_triage.wording import signed

Studies = Mapping[str, StudyResults]


@dataclass(frozen=True)
class Reading:
    """The statement that some students are more accurate than others, or than the parent.

    Attributes:
        dataset: the study's data set.
        better: the more accurate students, by method and block.
        worse: the less accurate ones, likewise; None for the parent.
    """

    dataset: str
    better: tuple[str, str]
    worse: tuple[str, str] | None = None

    def of(self, study: StudyResults) -> Estimate:
        """Returns the difference of their accuracies in a study, 0..1."""
        if self.worse is None:
            return gain(study, *self.better)
        first, second = (study.correct_by_seed(*way) for way in (self.better, self.worse))
        return paired_difference(first, second)

    def at_last(self, study: StudyResults) -> float:
        """Returns the same difference with the students as of their last epochs, 0..1."""

        def last(way: tuple[str, str]) -> float:
            return mean(trial.final_accuracy for trial in study.trials(*way))

        worse = study.baseline_accuracy if self.worse is None else last(self.worse)
        return last(self.better) - worse


READINGS = (
    Reading("cifar10", ("stn", "block5"), ("stn", "block1")),
    Reading("cifar10", ("stn", "block5")),
    Reading("cifar10", ("stn", "block5"), ("cm_mw", "block5")),
    Reading("cifar10", ("stn_cm", "block1"), ("stn", "block1")),
    Reading("cifar100", ("cm_mw", "block1"), ("cl_mw", "block1")),
    *(Reading("cifar10", ("stn", f"block{n}"), ("cl_mw", f"block{n}")) for n in (1, 2, 3)),
    *(Reading("cifar10", ("stn", f"block{n}"), ("cl_rw", f"block{n}")) for n in (1, 2, 3)),
    Reading("cifar10", ("cl_mw", "block1"), ("cl_rw", "block1")),
    *(Reading("cifar100", (name, "block3")) for name in ("cm_mw", "cm_rw", "stn_cm")),
)


def summary(committed: Studies, repeated: Studies) -> Iterator[str]:
    """Yields a table of how near the repeated studies came to the committed ones."""
    yield from header(
        "data set", "parent", "moved", "in the committed interval", "changed", "equal trials"
    )
    for name, study in repeated.items():
        cells = repeat.cells(committed[name], study)
        accuracies = (committed[name].baseline_accuracy, study.baseline_accuracy)
        yield row(
            looks.title(name),
            " → ".join(f"{100 * accuracy:.1f}" for accuracy in accuracies),
            "the same"
            if same_parent(committed[name], study)
            else points(repeat.parent_change(committed[name], study)),
            f"{sum(cell.within for cell in cells)} of {len(cells)}",
            f"{sum(cell.changed for cell in cells)} of {len(cells)}",
            f"{repeat.equal_trials(committed[name], study)} of {len(study.correct)}",
        )


def tables(committed: Studies, repeated: Studies) -> Iterator[str]:
    """Yields a table of differences from the parents for each study with another parent."""
    others = [name for name in repeated if not same_parent(committed[name], repeated[name])]
    for place, name in enumerate(others):
        cells = repeat.cells(committed[name], repeated[name])
        methods = dict.fromkeys(cell.method for cell in cells)
        if place:
            yield ""
        yield f"**{looks.title(name)}.**"
        yield ""
        yield from header("", *(METHODS[method].title for method in methods))
        for block in dict.fromkeys(cell.block for cell in cells):
            of_block = (_twice(cell) for cell in cells if cell.block == block)
            yield row(block, *of_block)


def verdicts(judged: Sequence[Judgement], again: Sequence[Judgement]) -> Iterator[str]:
    """Yields a table of the claims' verdicts, with the committed and with other parents."""
    yield from header("claim", "committed", "other parents")
    for first, second in zip(judged, again, strict=True):
        yield row(f"{first.number}. {first.sentence}", first.verdict, second.verdict)


def readings(committed: Studies, repeated: Studies) -> Iterator[str]:
    """Yields a table of what `docs/paper.md` reads, in points."""
    yield from header(
        "data set", "more accurate", "than", "by", "last epoch", "another parent", "last epoch"
    )
    for reading in READINGS:
        columns = (
            looks.title(reading.dataset),
            _words(reading.better),
            _words(reading.worse),
        )
        for studies in (committed, repeated):
            study = studies[reading.dataset]
            columns += (points(reading.of(study)), signed(100 * reading.at_last(study)))
        yield row(*columns)


def same_parent(first: StudyResults, second: StudyResults) -> bool:
    """Returns whether the parents of two studies have exactly the same weights."""
    one, other = (read_parent(study.folder / "parent") for study in (first, second))
    return one.weights_sha256 == other.weights_sha256


def _twice(cell: repeat.Cell) -> str:
    again = points(cell.repeated)
    text = f"{points(cell.committed)}<br>{again}"
    return f"{text}<br>*{points(cell.change)}*" if cell.changed else text


def _words(way: tuple[str, str] | None) -> str:
    return f"{METHODS[way[0]].title} at {way[1]}" if way else "the parent"
