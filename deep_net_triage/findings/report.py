"""One HTML page of a study, made from what the study left on disk and what it amounts to."""

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from deep_net_triage.findings import curves, trial_table
from deep_net_triage.findings.judgements import Judgement
from deep_net_triage.findings.page import (
    GAP,
    Cell,
    Header,
    bullets,
    document,
    drawing,
    element,
    minus,
    number,
    table,
    word,
    wrap,
)
from deep_net_triage.findings.verdict import (
    BlockSummary,
    MethodSummary,
    Recommendation,
    Verdict,
)
from deep_net_triage.methods import METHODS
from deep_net_triage.records import files, results
from deep_net_triage.records.results import StudyResults

_RULINGS = {"holds": "holds", "does not hold": "fails"}  # their looks; any other is unsure
_CURVES_NOTE = (
    "Each panel is a compressed block; a line is the mean over seeds, the dashed line is the "
    "parent's best. The scale widens towards 100 %. Epochs of distillation are not drawn."
)


def write(
    study_folder: Path,
    judgements: Sequence[Judgement],
    verdict: Verdict,
    figures: Sequence[tuple[str, Figure]] = (),
) -> Path:
    """Writes `report.html` into a study's folder, the same bytes from the same files.

    Args:
        study_folder: holds `study.json`, `results.csv`, `parent/` and `trials/`.
        judgements: of the paper's claims, in their order.
        verdict: which block can go.
        figures: captions and pictures, shown in this order before the learning curves.

    Returns:
        the page's file.

    Raises:
        InputError: if the folder holds no finished parent or no table.
        DamagedFile: if `study.json` does not hold what was written.
    """
    study = results.read_study(study_folder)
    described = files.read_json(study_folder / "study.json") or {}
    trials = results.read_trials(study_folder)
    failed = {name.name: r for name, r in trials.items() if r["status"] == "failed"}
    images = described.get("settings", {}).get("test_images")
    sections = [
        ("verdict", "Verdict", _verdict(verdict)),
        ("trials", "Trials", _trials(study, images, failed)),
        ("columns", "What the columns mean", trial_table.meanings()),
        ("figures", "Figures", _figures(study_folder, study, figures)),
        ("claims", "The paper's claims", _claims(judgements)),
        ("settings", "Settings", _settings(described)),
        ("origin", "How it was made", _origin(described)),
    ]
    title = f"{study.dataset}: which blocks matter"
    body = _head(study, images, failed, sections) + _main(sections)
    file = study_folder / "report.html"
    with files.replacing(file) as unfinished:
        unfinished.write_text(document(title, body), encoding="utf-8")
    return file


def _head(
    study: StudyResults,
    test_images: int | None,
    failed: dict[str, object],
    sections: Sequence[tuple[str, str, str]],
) -> str:
    tested = f" on {test_images:,} test images" if test_images else ""
    ended = f"{_counted(len(study.rows) + len(study.controls), 'trial')} finished"
    if failed:
        ended += f", {len(failed)} failed"
    lead = f"The parent reaches {_percent(study.baseline_accuracy)}{tested}. {ended}."
    links = [
        wrap("li", element("a", title, href=f"#{name}"))
        for name, title, content in sections
        if content
    ]
    return "\n".join(
        [
            "<header>",
            element(
                "p", "Deep Net Triage: one block at a time becomes one layer", class_="kind"
            ),
            element("h1", f"Which blocks matter: {study.dataset}"),
            element("p", lead, class_="lead"),
            "</header>",
            wrap("nav", wrap("ul", "".join(links)), aria_label="Sections"),
        ]
    )


def _main(sections: Sequence[tuple[str, str, str]]) -> str:
    parts = []
    for name, title, content in sections:
        if content:
            heading = element("h2", title, id=f"{name}-title")
            parts.append(
                wrap(
                    "section",
                    f"\n{heading}\n{content}\n",
                    id=name,
                    aria_labelledby=f"{name}-title",
                )
            )
    return wrap("main", "\n" + "\n".join(parts) + "\n")


def _verdict(verdict: Verdict) -> str:
    """Sentences first, then the ranking, then what is not in it."""
    first, *others = _advice(verdict.recommendation, verdict.max_drop)
    if verdict.ranking and verdict.ranking[0].tied_with:
        best = verdict.ranking[0]
        ties = _listed(best.tied_with)
        others.append(f"{best.block} loses least, but no interval tells it apart from {ties}.")
    parts = [element("p", first, class_="first-sentence")]
    parts += [element("p", sentence) for sentence in others]
    if verdict.ranking:
        parts.append(_ranking(verdict.ranking))
    segments = [f"{s.first} to {s.last}: {s.reason}" for s in verdict.not_compressible]
    for title, items in (("Not compressible", segments), ("Not run", verdict.not_run)):
        if items:
            parts += [element("h3", title), bullets(items)]
    return "\n".join(parts)


def _advice(advised: Recommendation | None, max_drop: float) -> list[str]:
    """Returns which block can go, what that costs and saves, and how sure it is."""
    allowed = f"{100 * max_drop:.1f} points"
    if advised is None:
        return [f"No block can go: nothing that was run stays within {allowed} of the parent."]
    title = METHODS[advised.method].title
    sentences = [
        f"{advised.block} can{'' if advised.sure else ' perhaps'} go: it saves "
        f"{_percent(advised.macs_saved)} of the multiply-accumulates and "
        f"{_percent(advised.parameters_saved)} of the parameters, and accuracy changes by "
        f"{_points(advised)}.",
        f"Take the student of {title}, seed {advised.seed}, in the parent's place.",
    ]
    if advised.sure:
        sentences[1] += f" Its whole interval is within the {allowed} that may be lost."
    elif advised.estimate:
        sentences[1] += f" It is within the {allowed} that may be lost; its interval is not."
    else:
        sentences[1] += (
            f" It is within the {allowed} that may be lost; how surely, is not known."
        )
    return sentences


def _ranking(ranking: Sequence[BlockSummary]) -> str:
    rows = []
    for place, block in enumerate(ranking, start=1):
        rows.append(
            [
                word(place),
                word(block.block, heads=True),
                word(METHODS[block.best.method].title),
                Cell(_points(block.best), block.best.difference),
                number(block.best.seeds, 0),
                number(100 * block.macs_saved, 1),
                number(100 * block.parameters_saved, 1),
                word(", ".join(block.tied_with) or None),
            ]
        )
    headers = [
        Header("place"),
        Header("block"),
        Header("best method"),
        Header("accuracy against the parent", "number"),
        Header("seeds", "number"),
        Header("MACs saved, %", "number"),
        Header("parameters saved, %", "number"),
        Header("not told apart from", "long"),
    ]
    caption = (
        "Blocks from the most compressible to the most critical, each by the method that loses "
        "least, with 95 % intervals. That the best was chosen by the same numbers is not "
        "corrected for. MACs are multiply-accumulates."
    )
    return table("ranking", caption, headers, rows)


def _trials(
    study: StudyResults, test_images: int | None, failed: dict[str, dict[str, object]]
) -> str:
    rows = [*study.rows, *study.controls]
    parts = [trial_table.trials(rows, test_images)] if rows else []
    if failed:
        reasons = [f"{name}: {result['reason']}" for name, result in failed.items()]
        parts += [element("h3", "Failed"), bullets(reasons)]
    return "\n".join(parts)


def _figures(folder: Path, study: StudyResults, figures: Sequence[tuple[str, Figure]]) -> str:
    drawn = [drawing(title, picture, n) for n, (title, picture) in enumerate(figures, start=1)]
    read = curves.read(folder)
    if read:
        found = {block for block, _ in read}
        named = [block["name"] for block in study.blocks]
        blocks = [
            *filter(found.__contains__, named),
            *sorted(found.difference(named), key=results.block_order),
        ]
        picture = curves.learning(read, study.baseline_accuracy, blocks)
        drawn.append(drawing("Learning curves", picture, len(drawn) + 1, _CURVES_NOTE))
    return wrap("div", "\n".join(drawn), class_="figures") if drawn else ""


def _claims(judgements: Sequence[Judgement]) -> str:
    items = []
    for judgement in judgements:
        parts = [
            element("h3", f"{judgement.number}. {judgement.sentence}"),
            element("p", judgement.verdict, class_="ruling"),
            element("p", judgement.why),
            wrap("ul", "".join(element("li", n) for n in judgement.numbers), class_="numbers"),
            element("p", f"Judged by: {judgement.judged}", class_="judged"),
        ]
        looks = _RULINGS.get(judgement.verdict, "unsure")
        items.append(wrap("li", "\n".join(parts), class_=looks))
    if not items:
        return ""
    verdicts = Counter(judgement.verdict for judgement in judgements)
    counts = "; ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return element("p", f"Of {len(items)} claims: {counts}.") + wrap(
        "ol", "\n".join(items), class_="claims"
    )


def _settings(described: dict[str, object]) -> str:
    named = {**described.get("settings", {}), "classes": described.get("classes")}
    rows = [[Cell(name, heads=True), Cell(_said(value))] for name, value in named.items()]
    caption = "Every setting that the study's trials share, as study.json has it."
    return table("settings", caption, [Header("setting"), Header("value", "long")], rows)


def _origin(described: dict[str, object]) -> str:
    """Commands, and for each what it ran with and on."""
    runs = described.get("commands", [])
    if not runs:
        return ""
    commands = "\n".join(_typed(run["command"]) for run in runs)
    rows = []
    for place, run in enumerate(runs, start=1):
        rows.append(
            [
                word(place, heads=True),
                word(_moment(run["started"])),
                Cell(GAP if run["seconds"] is None else _duration(run["seconds"])),
                Cell(_said(run["hardware"])),
                Cell(_said(run["versions"])),
            ]
        )
    headers = [
        Header("command", "number"),
        Header("began (UTC)"),
        Header("took"),
        Header("hardware", "long"),
        Header("versions", "long"),
    ]
    again = "The same commands in the same order repeat it; what is finished is not run again."
    return "\n".join(
        [
            element("p", again),
            wrap("pre", commands, class_="copied", tabindex=0, aria_label="Commands"),
            table("runs", "What each command ran with.", headers, rows),
        ]
    )


def _typed(command: str) -> str:
    """A command as it is typed, which a narrow page breaks between its arguments."""
    python = ["python"] if command.startswith("run_triage.py") else []
    return " ".join(element("span", part) for part in [*python, *command.split(" ")])


def _points(summary: MethodSummary | Recommendation) -> str:
    if summary.estimate is None:
        # Adding zero turns a rounded -0.0 into 0.0.
        said = f"{round(100 * summary.difference, 1) + 0.0:+.1f} points (no interval)"
    else:
        said = summary.estimate.text("points", 100)
    return _unbroken(minus(said))


def _unbroken(quantity: str) -> str:
    """Keeps a number, its unit and its interval on one line."""
    return quantity.replace(" ", "\u00a0")


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _percent(share: float) -> str:
    return _unbroken(minus(f"{100 * share:.1f} %"))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _said(value: object) -> str:
    """A value of a JSON file in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    return str(value)


def _moment(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
