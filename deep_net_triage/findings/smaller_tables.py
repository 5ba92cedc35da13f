"""The page's tables of a compression: its steps, what was considered, and the alternatives."""

from collections.abc import Sequence

from deep_net_triage.findings import page
from deep_net_triage.findings.page import Cell, Column, Table
from deep_net_triage.findings.recommendation import within
from deep_net_triage.findings.rivals import Rival, Smaller
from deep_net_triage.methods import METHODS
from deep_net_triage.network.latencies import FORMATS, Latency, pairs
from deep_net_triage.records.alternatives import KINDS
from deep_net_triage.records.compressions import Compression, Considered, Step
from deep_net_triage.records.study_results import mean

_SAVED = {
    "macs": "MACs saved, %",
    "parameters": "parameters saved, %",
    "latency": "latency saved, %",
}


def steps(smaller: Smaller) -> Table:
    """Returns a row for each step below the parent's; the final retraining comes last."""
    compression = smaller.compression
    tried, finals = compression.steps, compression.finals
    blocks = ["parent", *(step.block for step in tried)]
    methods = ["", *(METHODS[step.method].title for step in tried)]
    ends = ["", *map(_end, tried)]
    judged = [compression.baseline_judged, *(step.judged_accuracy for step in tried)]
    tested = [compression.baseline_accuracy, *(step.accuracy for step in tried)]
    macs = [compression.parent_macs, *(step.macs for step in tried)]
    parameters = [compression.parent_parameters, *(step.parameters for step in tried)]
    if finals:
        of_seeds = f", mean of {len(finals)} seeds" if len(finals) > 1 else ""
        blocks.append(f"final retraining{of_seeds}")
        methods.append("")
        ends.append("kept" if compression.final else "undone")
        judged.append(mean(final.judged_accuracy for final in finals))
        tested.append(mean(final.accuracy for final in finals))
        macs.append(compression.macs)
        parameters.append(compression.parameters)
    columns = [
        Column("block", page.words(blocks), heads=True),
        Column("method", page.words(methods)),
    ]
    if compression.held_out:
        columns.append(_percent("validation images", judged, "accuracy, %"))
    macs_saved = [own and smaller.macs_saved(own) for own in macs]
    parameters_saved = [own and smaller.parameters_saved(own) for own in parameters]
    columns += [
        _percent("test images", tested, "accuracy, %"),
        _percent("MACs", macs_saved, "saved so far, %"),
        _percent("parameters", parameters_saved, "saved so far, %"),
        Column("outcome", page.words(ends)),
    ]
    return Table(columns)


def candidates(compression: Compression) -> Table:
    """Returns a row for each block, or half of one, that could be compressed."""
    considered = compression.candidates
    return Table(
        [
            Column("block", page.words(one.block for one in considered), heads=True),
            Column("method", page.words(METHODS[one.method].title for one in considered)),
            Column("lost alone, points", [_lost(one) for one in considered], "number"),
            _percent(_SAVED[compression.save], [one.saved for one in considered]),
            Column("outcome", page.words(_fate(compression, one) for one in considered)),
        ]
    )


def alternatives(smaller: Smaller) -> Table:
    """Returns a row for each alternative below the compressed network's."""
    networks = [smaller.compressed, *smaller.alternatives]
    return Table(
        [
            Column("network", page.words(map(_title, networks)), heads=True),
            Column("seeds", page.numbers((len(one.correct) for one in networks), 0), "number"),
            _percent("test accuracy, %", [one.accuracy for one in networks]),
            _percent("MACs", [smaller.macs_saved(one.macs) for one in networks], "saved, %"),
            _percent(
                "parameters",
                [smaller.parameters_saved(one.parameters) for one in networks],
                "saved, %",
            ),
            _points("from the parent", [page.difference(one.from_parent) for one in networks]),
            _points(
                "from the compressed",
                [
                    Cell(""),
                    *(page.difference(one.from_compressed) for one in smaller.alternatives),
                ],
            ),
            Column("what it does", page.words(map(_meaning, networks)), "long"),
        ]
    )


def latencies(measured: Sequence[Latency]) -> Table:
    """Returns a row for each setting: milliseconds of parent and compressed network.

    Args:
        measured: one of each network for each setting.
    """
    parent, compressed = zip(*pairs(measured), strict=True)
    columns = [
        Column("format", page.words(FORMATS[one.format] for one in parent), heads=True),
        Column("images", page.numbers((one.batch for one in parent), 0), "number"),
        Column("threads", page.numbers((one.threads for one in parent), 0), "number"),
    ]
    for group, timings in (("parent, ms", parent), ("compressed, ms", compressed)):
        for title in ("median", "spread"):
            milliseconds = [1000 * getattr(one, title) for one in timings]
            cells = page.numbers(milliseconds, 2)
            columns.append(Column(title, cells, "number", group=group))
    factors = [one.median / other.median for one, other in pairs(measured)]
    columns.append(Column("times as fast", page.numbers(factors, 2), "number"))
    return Table(columns)


def _percent(title: str, shares: list[float | None], group: str = "") -> Column:
    """Returns a column of shares (0..1) in percent."""
    scaled = (None if share is None else 100 * share for share in shares)
    return Column(title, page.numbers(scaled, 1), "number", group=group)


def _points(title: str, cells: list[Cell]) -> Column:
    return Column(title, cells, "number", group="difference, points")


def _lost(considered: Considered) -> Cell:
    """Returns what a candidate's student lost, with its interval."""
    # Adding zero turns a rounded -0.0 into 0.0.
    lost, low, high = (
        f"{round(100 * number, 1) + 0.0:.1f}"
        for number in (considered.cost, considered.low, considered.high)
    )
    return Cell(page.typeset(f"{lost} [{low}, {high}]"), considered.cost)


def _end(step: Step) -> str:
    if step.accuracy is None:
        return "failed"
    return "kept" if step.kept else "undone"


def _fate(compression: Compression, considered: Considered) -> str:
    """Returns what became of a candidate."""
    for step in compression.steps:
        if step.block == considered.block:
            return _end(step)
    if considered.saved <= 0:
        return "saves nothing"
    if not within(-min(considered.cost, considered.low), compression.max_drop):
        return "loses too much"
    return "overlaps a compressed one"


def _title(rival: Rival) -> str:
    return KINDS[rival.kind].title if rival.kind else "compressed"


def _meaning(rival: Rival) -> str:
    return KINDS[rival.kind].meaning if rival.kind else "replaces blocks by triage"
