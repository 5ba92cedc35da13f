"""Writes every figure, table and page of the committed studies again from their files.

python figures/study/remake.py [--output=FOLDER]

These are Figure 2 and Figure 3 of all data sets, the page beside them with every number of the
paper's eight claims, and the tables in `docs/`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import made_parts
import other_parents
import reproduction
import settling
from made_parts import header, row

from deep_net_triage.findings import claims, looks, plots, reported_accuracy
from deep_net_triage.findings.judgements import Judgement
from deep_net_triage.methods import METHODS
from deep_net_triage.records.study_results import StudyResults, mean, read_study
from deep_net_triage.wording import counted

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
ORDER = ("mnist", "cifar10", "cifar100", "stanford_dogs")
REPEATED = ("mnist", "cifar10", "cifar100")


def main() -> None:
    """Writes them into the repository, or into another folder with the same paths."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY)
    output = parser.parse_args().output
    committed = {name: read_study(HERE / name) for name in ORDER}
    repeated = {name: read_study(HERE / "repeated" / name) for name in REPEATED}
    settled = read_study(HERE / "settling_results" / "cifar10")
    studies = list(committed.values())
    judged = claims.judge(studies)
    judged_again = claims.judge(list({**committed, **repeated}.values()))
    beside = output / HERE.relative_to(REPOSITORY)
    beside.mkdir(parents=True, exist_ok=True)
    plots.accuracy(studies).savefig(beside / "accuracy.png", dpi=looks.DPI)
    plots.convergence(studies).savefig(beside / "convergence.png", dpi=looks.DPI)
    made_parts.write(beside / "README.md", page(studies, judged))
    for name, parts in {
        "docs/paper.md": {
            "tables": tables(studies),
            "settled": settling.blocks(settled),
            "claims": reasons(judged),
        },
        "docs/reproduction.md": {
            "recipes": settling.recipes(committed["cifar10"], settled),
            "digits": settling.digits(HERE / "settling_results" / "digits"),
            "ingredients": settling.ingredients(HERE / "ingredients"),
            "changes": reproduction.changes(HERE / "decisions"),
            "rates": reproduction.rates(HERE / "search_parent.json"),
            "selection": reproduction.selection(studies),
            "steps": reproduction.steps(studies),
            "first_maps": reproduction.first_maps(HERE / "odd"),
            "third_block": reproduction.third_block(HERE / "odd", committed["cifar100"]),
            "slowly": reproduction.slowly(HERE / "odd", committed["cifar10"]),
            "repeated": other_parents.summary(committed, repeated),
            "other_parents": other_parents.tables(committed, repeated),
            "verdicts": other_parents.verdicts(judged, judged_again),
            "readings": other_parents.readings(committed, repeated),
        },
    }.items():
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        for part, lines in parts.items():
            text = made_parts.replaced(text, part, lines, "figures/study/remake.py")
        made_parts.write(output / name, [text.removesuffix("\n")])


def page(studies: list[StudyResults], judged: list[Judgement]) -> Iterator[str]:
    """Yields the lines of the page that shows all studies."""
    accuracy = reported_accuracy.name(studies)
    yield "# The paper's experiment on subsets of its four data sets"
    yield ""
    yield "Made by `python figures/study/remake.py` from the files beside it; the command that"
    yield f"repeats a study is in its table's caption. Each cell is the {accuracy} in"
    yield "percent, the mean over seeds, then its difference from the parent in points with the"
    yield "95 % interval, paired on the same test images, and epochs to 99 % of the maximum."
    for study in studies:
        yield ""
        yield f"## {looks.title(study.dataset)}"
        yield ""
        repeat = f"`python run_triage.py --flagfile=flags/study/{study.dataset}.flags`"
        yield f"{caption(study)}; {repeat}"
        yield ""
        yield from table(study, with_epochs=True)
    yield from (
        "",
        "![Maximum test accuracy of each method at each compressed block](accuracy.png)",
        "",
        "![Epochs to 99 % of each run's own maximum](convergence.png)",
        "",
        "## The paper's claims",
        "",
        "One rule for all, from 95 % paired intervals. A data set whose parent has not learned "
        "is left aside: the whole 95 % interval of its accuracy must be above chance, and it "
        "must reach five times chance or half way from chance to 100 %, whichever is lower.",
    )
    for judgement in judged:
        yield ""
        said = judgement.verdict.capitalize()
        yield f"**{judgement.number}. {judgement.sentence}** *{said}.*"
        yield f"{judgement.judged} {judgement.why}"
        yield ""
        yield "<details><summary>Numbers</summary>"
        yield ""
        yield from (f"- {number}" for number in judgement.numbers)
        yield ""
        yield "</details>"


def tables(studies: list[StudyResults]) -> Iterator[str]:
    """Yields a table of accuracies for each study."""
    for place, study in enumerate(studies):
        if place:
            yield ""
        yield f"**{looks.title(study.dataset)}.** {caption(study)}."
        yield ""
        yield from table(study, with_epochs=False)


def reasons(judged: list[Judgement]) -> Iterator[str]:
    """Yields a table of the paper's claims, each with its verdict and the reason for it."""
    yield from header("", "claim", "verdict", "why")
    for judgement in judged:
        yield row(judgement.number, judgement.sentence, judgement.verdict, judgement.why)


def caption(study: StudyResults) -> str:
    """Returns a study's parent, control, images and seeds as one line."""
    settings = study.settings
    seeds = len({trial.seed for trial in study.rows})
    control = mean(trial.chosen_accuracy for trial in study.controls)
    return (
        f"Parent {100 * study.baseline_accuracy:.1f} %, trained further without compression "
        f"{100 * control:.1f} % (control); {settings['train_images']:,} / "
        f"{settings['test_images']:,} images of {settings['image_size']} pixels, "
        f"{counted(seeds, 'seed')}"
    )


def table(study: StudyResults, *, with_epochs: bool) -> Iterator[str]:
    """Yields a study's table: blocks by methods."""
    methods = study.methods()
    yield from header("", *(METHODS[name].title for name in methods))
    for block in study.blocks_run():
        cells = (cell(study, name, block, with_epochs=with_epochs) for name in methods)
        yield row(block, *cells)


def cell(study: StudyResults, method: str, block: str, *, with_epochs: bool) -> str:
    """Returns the numbers of a method at a block; a dash where no trial has finished."""
    rows = study.trials(method, block)
    if not rows:
        return "–"
    accuracy = 100 * mean(trial.chosen_accuracy for trial in rows)
    difference = reproduction.points(reproduction.gain(study, method, block))
    epochs = mean(trial.epochs_to_99 for trial in rows)
    lines = [f"{accuracy:.1f}", difference, f"{round(epochs, 1):g} ep."]
    return "<br>".join(lines if with_epochs else lines[:-1])


if __name__ == "__main__":
    main()
