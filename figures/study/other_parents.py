"""The tables of `docs/reproduction.md` on studies that were repeated.

They show what another parent, which differs from the committed one by rounding alone, makes of
the cells, of the claims, and of what the project's `README.md` reads in the studies. That was
read in the committed studies, so that their intervals flatter it; the repeated ones, kept in
`repeated/`, were run afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import repeat
from reproduction import points

from deep_net_triage.findings import looks, verdict
from deep_net_triage.findings.judgements import Judgement
from deep_net_triage.findings.statistics import Estimate
from deep_net_triage.methods import METHODS
from deep_net_triage.records.results import StudyResults, mean, read_result

Studies = Mapping[str, StudyResults]


@dataclass(frozen=True)
class Reading:
    """That one way to compress is more accurate than another, or than the parent.

    Attributes:
        dataset: in whose study.
        better: by which method and at which block.
        worse: likewise; None for the parent.
    """

    dataset: str
    better: tuple[str, str]
    worse: tuple[str, str] | None = None

    def of(self, study: StudyResults) -> Estimate:
        """Returns by how much it is more accurate in a study, 0..1."""
        if self.worse is None:
            return verdict.against_parent(study, *self.better)
        first, second = (verdict.kept_correct(study, *way) for way in (self.better, self.worse))
        return verdict.between(first, second)

    def at_last(self, study: StudyResults) -> float:
        """Returns the same of the students' last epochs, 0..1; a parent stays what it is."""
        better, worse = (
            mean(
                row["final_accuracy"]
                for row in study.rows
                if (row["method"], row["block"]) == way
            )
            for way in (self.better, self.worse)
        )
        return better - (study.baseline_accuracy if worse is None else worse)


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
    yield "| data set | parent | moved | in the committed interval | changed | equal trials |"
    yield "|---|---|---|---|---|---|"
    for name, study in repeated.items():
        found = repeat.cells(committed[name], study)
        accuracies = (committed[name].baseline_accuracy, study.baseline_accuracy)
        columns = (
            looks.title(name),
            " → ".join(f"{100 * accuracy:.1f}" for accuracy in accuracies),
            "the same"
            if same_parent(committed[name], study)
            else points(repeat.parent_change(committed[name], study)),
            f"{sum(cell.within for cell in found)} of {len(found)}",
            f"{sum(cell.changed for cell in found)} of {len(found)}",
            f"{repeat.equal_trials(committed[name], study)} of {len(study.correct)}",
        )
        yield f"| {' | '.join(columns)} |"


def tables(committed: Studies, repeated: Studies) -> Iterator[str]:
    """Yields a table for each study of another parent, of differences from the parents."""
    others = [name for name in repeated if not same_parent(committed[name], repeated[name])]
    for place, name in enumerate(others):
        found = repeat.cells(committed[name], repeated[name])
        methods = dict.fromkeys(cell.method for cell in found)
        if place:
            yield ""
        yield f"**{looks.title(name)}.**"
        yield ""
        yield f"| | {' | '.join(METHODS[method].title for method in methods)} |"
        yield f"|---|{'---|' * len(methods)}"
        for block in dict.fromkeys(cell.block for cell in found):
            of_block = (_twice(cell) for cell in found if cell.block == block)
            yield f"| {block} | {' | '.join(of_block)} |"


def verdicts(judged: Sequence[Judgement], again: Sequence[Judgement]) -> Iterator[str]:
    """Yields a table of the claims' verdicts, by the committed and by the other parents."""
    yield "| claim | committed | other parents |"
    yield "|---|---|---|"
    for first, second in zip(judged, again, strict=True):
        yield f"| {first.number}. {first.sentence} | {first.verdict} | {second.verdict} |"


def readings(committed: Studies, repeated: Studies) -> Iterator[str]:
    """Yields a table of what the project's `README.md` reads, in points."""
    yield "| data set | more accurate | than | by | last epoch | another parent | last epoch |"
    yield "|---|---|---|---|---|---|---|"
    for reading in READINGS:
        columns = (
            looks.title(reading.dataset),
            _words(reading.better),
            _words(reading.worse),
        )
        for studies in (committed, repeated):
            study = studies[reading.dataset]
            last = round(100 * reading.at_last(study), 1) + 0.0
            columns += (points(reading.of(study)), f"{last:+.1f}")
        yield f"| {' | '.join(columns)} |"


def same_parent(first: StudyResults, second: StudyResults) -> bool:
    """Returns whether two studies' parents are one network, to the last digit."""
    weights = [
        read_result(study.folder / "parent")["weights_sha256"] for study in (first, second)
    ]
    return weights[0] == weights[1]


def _twice(cell: repeat.Cell) -> str:
    again = points(cell.repeated)
    text = f"{points(cell.committed)}<br>{again}"
    return f"{text}<br>*{points(cell.change)}*" if cell.changed else text


def _words(way: tuple[str, str] | None) -> str:
    return f"{METHODS[way[0]].title} at {way[1]}" if way else "the parent"
