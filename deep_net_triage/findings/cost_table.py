"""The page's table of differences from the parent and the control, by block and method."""

from collections.abc import Iterator, Sequence

from deep_net_triage.findings import comparisons, page, reported_accuracy
from deep_net_triage.findings.accuracy_cost import Cost
from deep_net_triage.methods import TABLE
from deep_net_triage.records.study_results import StudyResults, mean


def table(study: StudyResults) -> page.Table:
    """Returns a row for each block and method with a finished trial; the control comes last.

    Accuracies are in percent, differences in points with their 95 % intervals, all means over
    seeds. Differences at the last epoch follow those at the chosen one, unless the schedule
    makes the two epochs the same.
    """
    ways = [(method, block) for block in study.blocks_run() for method in study.methods()]
    trials = [rows for rows in (study.trials(*way) for way in ways) if rows]
    if study.controls:
        trials.append(list(study.controls))
    columns = [
        page.Column("block", page.words(rows[0].block for rows in trials), heads=True),
        page.Column("method", page.words(TABLE[rows[0].method].title for rows in trials)),
        page.Column("seeds", page.numbers(map(len, trials), 0), "number"),
    ]
    shown = reported_accuracy.columns(study)
    for title, column in shown.items():
        means = (100 * mean(getattr(row, column) for row in rows) for rows in trials)
        cells = page.numbers(means, 1)
        columns.append(page.Column(title, cells, "number", group="test accuracy, %"))
    reported, *_ = shown
    chosen = [comparisons.at_chosen_epoch(study, rows) for rows in trials]
    columns += _costs(chosen, study, f"{reported}: difference, points")
    if not study.reports_last_epoch:
        last = [comparisons.at_last_epoch(study, rows) for rows in trials]
        columns += _costs(last, study, "last epoch: difference, points")
    return page.Table(columns)


def _costs(costs: Sequence[Cost], study: StudyResults, group: str) -> Iterator[page.Column]:
    """Yields the differences from the parent and, where one has finished, from the control."""
    cells = [page.difference(cost.estimate, cost.difference) for cost in costs]
    yield page.Column("from the parent", cells, "number", group=group)
    if study.controls:
        # The last row is the control's own.
        cells = [*map(from_control, costs[:-1]), page.Cell("")]
        yield page.Column("from the control", cells, "number", group=group)


def from_control(cost: Cost) -> page.Cell:
    """Returns a difference from the control in points with its interval, or a gap."""
    if cost.against_control is None:
        return page.Cell(page.GAP)
    return page.Cell(page.typeset(cost.from_control()), cost.against_control.mean)
