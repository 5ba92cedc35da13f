"""One HTML page of a study: the values that its template shows, and the file."""

import dataclasses
import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from deep_net_triage import wording
from deep_net_triage.commands import program
from deep_net_triage.findings import (
    block_map,
    compression_path,
    cost_table,
    curves,
    page,
    smaller_tables,
    smaller_text,
    trial_table,
    verdict,
)
from deep_net_triage.findings.accuracy_cost import Cost
from deep_net_triage.findings.drawings import Picture
from deep_net_triage.findings.judgements import Judgement
from deep_net_triage.findings.page import Cell, Column, Table
from deep_net_triage.findings.recommendation import uncounted_text
from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.findings.unfinished import Unfinished, patience
from deep_net_triage.findings.verdict import BlockSummary, Verdict
from deep_net_triage.methods import METHODS
from deep_net_triage.records import files
from deep_net_triage.records.provenance import Command
from deep_net_triage.records.study_results import StudyResults

_CURVES_NOTE = (
    "Each panel is a compressed block. A line is the mean over seeds; the dashed line is the "
    "parent. The scale widens towards 100 %. Epochs of distillation are not drawn."
)


def write(
    study: StudyResults,
    judgements: Sequence[Judgement],
    reached: Verdict,
    figures: Iterable[Picture] | None = (),
    standing: Unfinished | None = None,
    smaller: Smaller | None = None,
) -> Path:
    """Writes `report.html` into a study's folder, the same bytes for the same study.

    Args:
        study: its results.
        judgements: of the paper's claims, in their order.
        reached: the study's verdict.
        figures: in the page's order; the learning curves follow them. None to draw nothing,
            which takes a tenth of the time.
        standing: of a study that still runs; None once it has ended.
        smaller: what several compressed blocks came to; None if none were to be compressed.

    Returns:
        the page's file.
    """
    ranked = reached.ranking
    compression = _compression(smaller) if smaller else None
    measured = bool(study.rows or study.controls)
    text = page.render(
        reloads=standing is not None,
        unfinished=standing,
        patience=patience(study, standing),
        dataset=study.dataset,
        lead=_lead(study, standing),
        map=block_map.of_study(study, {b.block: (b.best.method, b.best.cost) for b in ranked}),
        sentences=_sentences(reached, smaller),
        ranking=_ranking(reached.ranking) if reached.ranking else None,
        not_compressible=[
            f"{r.first} to {r.last}: {r.reason}" for r in reached.not_compressible
        ],
        without_trials=reached.unfinished,
        reported=reached.reported,
        control=bool(study.controls),
        compression=compression,
        costs=cost_table.table(study) if measured else None,
        trials=trial_table.table(study) if measured else None,
        unmeasured=trial_table.unmeasured(study) if measured else [],
        failures=[f"{trial}: {reason}" for trial, reason in study.failures.items()],
        uncounted=uncounted_text(study.uncounted) if study.uncounted else "",
        measures=trial_table.MEASURES,
        drawings=[] if figures is None else _drawings(study, figures),
        claims=list(map(_typeset, judgements)),
        verdicts=Counter(judgement.verdict for judgement in judgements),
        settings=_settings(study),
        commands=[program.in_shell(command.command) for command in study.commands],
        runs=_runs(study.commands),
    )
    file = study.folder / "report.html"
    with files.replacing(file) as unfinished:
        # A path of the command may hold bytes that are no UTF-8.
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")
    return file


def _lead(study: StudyResults, standing: Unfinished | None) -> str:
    places = wording.decimals(study.test_images) if study.test_images else 1
    accuracy = page.typeset(wording.percent(study.baseline_accuracy, places))
    tested = f" on {study.test_images:,} test images" if study.test_images else ""
    if standing:
        return f"The parent reaches {accuracy}{tested}."
    ended = f"{wording.counted(len(study.rows) + len(study.controls), 'trial')} finished"
    failed = f", {len(study.failures)} failed" if study.failures else ""
    return f"The parent reaches {accuracy}{tested}. {ended}{failed}."


def _sentences(reached: Verdict, smaller: Smaller | None) -> list[str]:
    compressed = smaller and smaller_text.recommendation(smaller, reached.max_drop)
    sentences = verdict.sentences(reached, compressed)
    if reached.ranking and reached.ranking[0].tied_with:
        best = reached.ranking[0]
        ties = wording.listed(best.tied_with, "or")
        sentences.append(f"{best.block} loses least, but can't be distinguished from {ties}.")
    return [page.typeset(sentence) for sentence in sentences]


def _typeset(judgement: Judgement) -> Judgement:
    return dataclasses.replace(
        judgement,
        judged=page.typeset(judgement.judged),
        numbers=list(map(page.typeset, judgement.numbers)),
        why=page.typeset(judgement.why),
    )


def _ranking(ranking: Sequence[BlockSummary]) -> Table:
    best = [block.best for block in ranking]
    macs = page.numbers((100 * block.macs_saved for block in ranking), 1)
    parameters = page.numbers((100 * block.parameters_saved for block in ranking), 1)
    ties = page.words(", ".join(block.tied_with) or None for block in ranking)
    return Table(
        [
            Column("place", page.words(range(1, len(ranking) + 1))),
            Column("block", page.words(block.block for block in ranking), heads=True),
            Column("best method", page.words(METHODS[one.method].title for one in best)),
            *_costs([one.cost for one in best]),
            Column("seeds", page.numbers((one.seeds for one in best), 0), "number"),
            Column("MACs saved, %", macs, "number"),
            Column("parameters saved, %", parameters, "number"),
            Column("not distinguishable from", ties, "long"),
        ]
    )


def _costs(costs: Sequence[Cost]) -> Iterator[Column]:
    """Yields the differences from the parent and, where there is one, from the control."""
    cells = [page.difference(cost.estimate, cost.difference) for cost in costs]
    yield Column("from the parent", cells, "number", group="accuracy, points")
    if any(cost.against_control for cost in costs):
        cells = list(map(cost_table.from_control, costs))
        yield Column("from the control", cells, "number", group="accuracy, points")


def _compression(smaller: Smaller) -> dict[str, object]:
    """Returns what the section on the compression of several blocks shows."""
    compression = smaller.compression
    return {
        "of_network": list(map(page.typeset, smaller_text.of_network(smaller))),
        "of_alternatives": list(map(page.typeset, smaller_text.of_alternatives(smaller))),
        "drawing": compression_path.picture(smaller),
        "steps": smaller_tables.steps(smaller) if compression.steps else None,
        "alternatives": (
            smaller_tables.alternatives(smaller) if smaller.alternatives else None
        ),
        "latencies": (
            smaller_tables.latencies(smaller.latencies) if smaller.latencies else None
        ),
        "refused": [f"{title}: {reason}" for title, reason in smaller.refused.items()],
        "failed": [f"{name}: {reason}" for name, reason in smaller.failed.items()],
        "candidates": (
            smaller_tables.candidates(compression) if compression.candidates else None
        ),
        "deciding": "validation" if compression.held_out else "test",
    }


def _drawings(study: StudyResults, figures: Iterable[Picture]) -> list[Picture]:
    """Returns the figures of the page's section of figures."""
    means = curves.means(study)
    if not means:
        return list(figures)
    blocks = [name for name in study.all_blocks() if any(b == name for b, _ in means)]
    figure = curves.learning(means, study.baseline_accuracy, blocks)
    return [*figures, Picture(5, "Learning curves", figure, _CURVES_NOTE)]


def _settings(study: StudyResults) -> Table:
    named = {**study.settings, "classes": study.classes}
    if study.given_parent and "image_size" in named:
        named["image_size"] = f"{named['image_size']}, if the model takes images of any size"
    values = [Cell(_said(value)) for value in named.values()]
    return Table(
        [
            Column("setting", page.words(named), heads=True),
            Column("value", values, "long"),
        ]
    )


def _runs(commands: Sequence[Command]) -> Table:
    """Returns what each command ran with and on, and for how long."""
    durations = (one.seconds and wording.duration(one.seconds) for one in commands)
    places = page.words(range(1, len(commands) + 1))
    return Table(
        [
            Column("command", places, "number", heads=True),
            Column("began (UTC)", page.words(_moment(one.started) for one in commands)),
            Column("took", page.words(durations)),
            Column("hardware", page.words(_said(one.hardware) for one in commands), "long"),
            Column("versions", page.words(_said(one.versions) for one in commands), "long"),
        ]
    )


def _moment(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M}"


def _said(value: object) -> str:
    """Returns a value of a JSON file in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    return str(value)
