"""Makes the committed studies' pictures and tables again from their files.

python figures/study/remake.py [--output=FOLDER]

Figure 2 and Figure 3 of all data sets, and `README.md` with a table for each and the
paper's eight claims, judged by all of them together.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from deep_net_triage.findings import claims, looks, plots, verdict
from deep_net_triage.learning.methods import METHODS
from deep_net_triage.records import files, results
from deep_net_triage.records.results import StudyResults, block_order, mean

HERE = Path(__file__).resolve().parent
ORDER = ("mnist", "cifar10", "cifar100", "stanford_dogs")


def main() -> None:
    """Writes everything that is made from the committed files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE)
    output = parser.parse_args().output
    studies = [results.read_study(HERE / name) for name in ORDER if (HERE / name).is_dir()]
    plots.accuracy(studies).savefig(output / "accuracy.png", dpi=looks.DPI)
    plots.convergence(studies).savefig(output / "convergence.png", dpi=looks.DPI)
    text = "\n".join(lines(studies))
    (output / "README.md").write_text(f"{text}\n", encoding="utf-8")


def lines(studies: list[StudyResults]) -> Iterator[str]:
    """Yields the lines of the page that shows all studies."""
    yield "# The paper's experiment on subsets of its four data sets"
    yield ""
    yield "Made by `python figures/study/remake.py` from the files beside it; the command that"
    yield "repeats a study is in its table's caption. Each cell is the maximum test accuracy in"
    yield "percent, the mean over seeds, then its difference from the parent in points with the"
    yield "95 % interval, paired on the same test images, and epochs to 99 % of the maximum."
    for study in studies:
        yield from table(study)
    yield from (
        "",
        "![Maximum test accuracy of each method at each compressed block](accuracy.png)",
        "",
        "![Epochs to 99 % of each run's own maximum](convergence.png)",
        "",
        "## The paper's claims",
        "",
        "One rule for all, from 95 % paired intervals; a data set whose parent is below five "
        "times chance is left aside.",
    )
    classes = {study.dataset: described(study)["classes"] for study in studies}
    for judgement in claims.judge(studies, classes):
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


def table(study: StudyResults) -> Iterator[str]:
    """Yields a study's table: blocks by methods."""
    settings = described(study)["settings"]
    seeds = len({row["seed"] for row in study.rows})
    methods = [name for name in METHODS if any(row["method"] == name for row in study.rows)]
    blocks = sorted({row["block"] for row in study.rows}, key=block_order)
    yield ""
    yield f"## {study.dataset}"
    yield ""
    control = mean(row["max_accuracy"] for row in study.controls)
    yield (
        f"Parent {100 * study.baseline_accuracy:.1f} %, trained on without compression "
        f"{100 * control:.1f} % (control); {settings['train_images']:,} / "
        f"{settings['test_images']:,} images, {seeds} {'seed' if seeds == 1 else 'seeds'}; "
        f"`python run_triage.py --flagfile=flags/study/{study.dataset}.flags`"
    )
    yield ""
    yield f"| | {' | '.join(METHODS[name].title for name in methods)} |"
    yield f"|---|{'---|' * len(methods)}"
    for block in blocks:
        yield f"| {block} | {' | '.join(cell(study, name, block) for name in methods)} |"


def cell(study: StudyResults, method: str, block: str) -> str:
    """Returns what one method makes of one block; a dash where nothing finished."""
    rows = [row for row in study.rows if (row["method"], row["block"]) == (method, block)]
    if not rows:
        return "–"
    accuracy = 100 * mean(row["max_accuracy"] for row in rows)
    difference = verdict.against_parent(study, method, block).text("", 100).replace("  ", " ")
    epochs = mean(row["epochs_to_99"] for row in rows)
    return f"{accuracy:.1f}<br>{difference}<br>{round(epochs, 1):g} ep."


def described(study: StudyResults) -> dict[str, object]:
    """Returns what `study.json` says of a study."""
    return files.read_json(study.folder / "study.json")


if __name__ == "__main__":
    main()
