"""Makes the tables of `docs/folds.md`, and the page of the folds that have been run.

python figures/folds/analyse.py [--results=FOLDER] [--output=FOLDER]

The page, `README.md`, has the verdicts, every contrast and every cell of the folds in folders
such as `cifar10/fold0`, and what has been run beside them. It is written, with the figure
`blocks.png` and the project's own `README.md`, once there are two folds of a data set.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import beside
import block_figure
import contrasts
import fold_results
import fold_tables
import headlines
import rehearsal
import simulate
import verdict_table
from contrasts import CLAIMS, Boundary, Part
from fold_results import DECIDING, Fold, IncompleteFoldError, SetResult

from deep_net_triage.errors import InputError
from deep_net_triage.findings import looks
from deep_net_triage.records.study_results import read_study
from deep_net_triage.wording import counted

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
STUDIES = HERE.parent / "study"
sys.path.insert(1, str(STUDIES))
import made_parts  # noqa: E402 - beside the script that wrote the first study's tables

SCRIPT = "figures/folds/analyse.py"
READING = (
    "*Early* is mean accuracy over the first three epochs on labels. The *control* is the",
    "parent, trained for 8 more epochs, as many as the students on labels. A claim is",
    "supported if all its differences are significantly above their lower boundary, and not",
    "supported if one is significantly below its upper. The upper boundary of claims 2a, 2b",
    "and 4 is 0, so that a clear difference refutes them, however small. A data set's column",
    "shows the difference with the smallest p value against the claim or, if the claim is not",
    "contradicted, with the largest p value for it.",
    "",
    "Intervals and verdicts, but for claim 7, are corrected for training images that folds",
    "share. Where a verdict would differ without this correction, the table adds the other",
    "one: *if folds were independent*.",
)


def main() -> None:
    """Writes them into the repository, or into another folder with the same paths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=HERE, help="holds <data set>/fold<i>")
    parser.add_argument("--output", type=Path, default=REPOSITORY)
    arguments = parser.parse_args()
    try:
        sets, incomplete = read(arguments.results)
        found = sets or incomplete
        results = {name: fold_results.judge(name, folds) for name, folds in sets.items()}
        results_page = list(page(sets, results, incomplete, arguments.results))
        shown = list(panels(sets, arguments.results))
    except InputError as error:
        parser.error(str(error))
    write_parts("docs/folds.md", parts_of_the_plan(), arguments.output)
    written = arguments.output / HERE.relative_to(REPOSITORY)
    if found:
        write_parts(
            "README.md", {"folds": summary(sets, results, incomplete)}, arguments.output
        )
        made_parts.write(written / "README.md", results_page)
    if shown:
        block_figure.draw(shown).savefig(written / "blocks.png", dpi=looks.DPI)


def write_parts(page: str, parts: Mapping[str, Iterator[str]], output: Path) -> None:
    """Writes a page of the repository, with new lines in its parts, below another folder."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    for part, lines in parts.items():
        text = made_parts.replaced(text, part, lines, SCRIPT)
    made_parts.write(output / page, [text.removesuffix("\n")])


def read(results: Path) -> tuple[dict[str, list[Fold]], dict[str, str]]:
    """Returns the folds of each data set that has two, and why others are left aside."""
    sets, incomplete = {}, {}
    for name in fold_results.PLANNED:
        if len(list((results / name).glob("*/results.csv"))) > 1:
            try:
                sets[name] = fold_results.read(results / name)
            except IncompleteFoldError as reason:
                incomplete[name] = str(reason)
    return sets, incomplete


def parts_of_the_plan() -> dict[str, Iterator[str]]:
    """Returns the tables of the plan by name."""
    paper = read_study(STUDIES / "cifar10")
    settled = read_study(STUDIES / "settling_results" / "cifar10")
    claims = {claim.number: claim for claim in CLAIMS}
    control = contrasts.PARENT_TRAINED_ON
    alone = contrasts.less({("cl_rw", "block1"): 1.0}, control)
    shown = [
        claims["1"].parts[0],
        *claims["2a"].parts,
        *claims["2b"].parts,
        claims["3"].parts[0],
        Part("CL-RW minus control, block1", alone, "accuracy", contrasts.NEAR, contrasts.NEAR),
    ]
    explored = {
        "CIFAR-10": paper,
        "CIFAR-10, other parent": read_study(STUDIES / "repeated" / "cifar10"),
        "CIFAR-100": read_study(STUDIES / "cifar100"),
        "CIFAR-100, other parent": read_study(STUDIES / "repeated" / "cifar100"),
        "MNIST": read_study(STUDIES / "mnist"),
    }
    return {
        "claims": rules(),
        "coverage": simulate.coverage(simulate.fitted(paper, shown), shown),
        "power": simulate.power(paper, settled, claims),
        "rehearsal": rehearsal.findings(explored),
        "tenth": rehearsal.at_a_tenth(read_study(STUDIES / "odd" / "slowly")),
    }


def rules() -> Iterator[str]:
    """Yields a table of what supports and what refutes each claim."""
    yield "| | claim | difference | supported above | not supported below |"
    yield "|---|---|---|---|---|"
    for claim in CLAIMS:
        first, *others = claim.parts
        more = f", and {counted(len(others), 'more such difference')}" if others else ""
        columns = (
            claim.number,
            claim.sentence,
            f"{first.name}{more}",
            words(first.supports),
            words(first.refutes),
        )
        yield f"| {' | '.join(columns)} |"


def words(boundary: Boundary) -> str:
    """Returns a boundary as a share of what it is relative to."""
    if not boundary.factor:
        return "0"
    sign, size = "-" if boundary.factor < 0 else "", abs(boundary.factor)
    return f"{sign}{100 * size:g} % of {boundary.scale}"


def panels(sets: Mapping[str, Sequence[Fold]], results: Path) -> Iterator[block_figure.Panel]:
    """Yields the figure's panels: the data sets at 32 pixels, and CIFAR-10 at 64."""
    for name, folds in sets.items():
        yield block_figure.of_folds(looks.title(name), folds)
    larger, _ = beside.with_the_plan(results, "geometry")
    if larger:
        folds = counted(len(larger), "fold")
        with contextlib.suppress(IncompleteFoldError):  # the page says so
            yield block_figure.of_images(f"CIFAR-10, 64 pixels, {folds}", larger)


def page(
    sets: Mapping[str, Sequence[Fold]],
    results: Mapping[str, SetResult],
    incomplete: Mapping[str, str],
    folder: Path,
) -> Iterator[str]:
    """Yields the lines of the page on the folds that have been run.

    Args:
        sets: the folds of each data set.
        results: what they say.
        incomplete: why a data set that lacks trials is left aside.
        folder: holds them and what has been run beside them.
    """
    yield "# The paper's claims, by folds"
    yield ""
    yield f"Made by `python {SCRIPT}` from the files beside it. [The"
    yield "plan](../../docs/folds.md) was written before these folds were run. Unless stated"
    yield "otherwise, numbers are differences in accuracy in points: means over folds with"
    yield "their 95 % intervals. The verdicts are adjusted for the number of claims; the"
    yield "intervals are not."
    yield ""
    yield from summary(sets, results, incomplete)
    if fold_results.complete_deciding(sets):
        yield ""
        yield from READING
    if sets:
        yield ""
        yield "![What each method loses at each block](blocks.png)"
        yield ""
        few = (
            " (at 64 pixels, over test images alone)" if (folder / "geometry").is_dir() else ""
        )
        yield "*Accuracy less the control's. Markers are means over folds with uncorrected 95 %"
        yield f"intervals{few}; an interval that can't be seen is shorter than its marker. The"
        yield "yellow line, whose thickness means nothing, is the mean of the parents; the"
        yield "dotted line is the control. A mean beyond the axis stands at its edge, with its"
        yield "number; intervals are cut at the axis.*"
    for name, folds in sets.items():
        yield ""
        yield f"## {looks.title(name)}"
        yield from of_set(name, folds, results[name])
    for name, reason in incomplete.items():
        yield ""
        yield f"## {looks.title(name)}"
        yield ""
        yield f"Left aside: {reason}."
    yield ""
    yield from beside.sections(folder)
    for name in DECIDING:
        if name in sets and (folder / "repeated" / name).is_dir():
            yield from repeated(name, results[name], folder)


def summary(
    sets: Mapping[str, Sequence[Fold]],
    results: Mapping[str, SetResult],
    incomplete: Mapping[str, str],
) -> Iterator[str]:
    """Yields the findings in plain numbers and the verdicts, where a data set is complete."""
    if fold_results.complete_deciding(sets):
        yield from headlines.headlines(sets, results)
        yield ""
        yield from verdict_table.table(sets, results)
        yield ""
    yield verdict_table.overall_so_far(sets, results, incomplete)


def of_set(name: str, folds: Sequence[Fold], result: SetResult) -> Iterator[str]:
    """Yields what the page shows of one data set, below its heading."""
    yield ""
    yield fold_tables.described(name, folds, result)
    yield ""
    yield "<details><summary>All differences and their boundaries</summary>"
    yield ""
    yield from fold_tables.contrast_table(folds)
    yield ""
    yield "</details>"
    yield ""
    yield fold_tables.distillation_counted(folds)
    yield ""
    yield "Each cell is a method's accuracy less the control's, with an uncorrected"
    yield "interval. Below it are the paper's measures: the maximum less the control's"
    yield "maximum, and the epochs to 99 % of the method's own. A dash stands for the interval"
    yield "where all folds have the same difference. Cells describe; they decide nothing."
    yield ""
    yield from fold_tables.cell_table(folds)


def repeated(name: str, result: SetResult, folder: Path) -> Iterator[str]:
    """Yields what the claims' verdicts are with folds of other seeds in place of their own."""
    others = folder / "repeated" / name
    count = counted(len(fold_results.studies_below(others)), "fold")
    yield f"## {looks.title(name)} with other seeds in {count}"
    yield ""
    try:
        folds = fold_results.read(folder / name, instead=others)
    except IncompleteFoldError as reason:
        yield f"Left aside: {reason}."
        yield ""
        return
    again = fold_results.judge(name, folds)
    if again.left_aside:
        yield f"Left aside. {again.left_aside}"
        yield ""
    yield "| | claim | verdict | with other seeds |"
    yield "|---|---|---|---|"
    for claim in CLAIMS:
        both = (verdict_table.judged(one, claim.number) for one in (result, again))
        yield f"| {' | '.join([claim.number, claim.sentence, *both])} |"
    yield ""


if __name__ == "__main__":
    main()
