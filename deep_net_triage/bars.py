"""Draws bars on a terminal, below the lines that stay there."""

import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.spinner import Spinner
from rich.style import Style

_GAP = "  "
_NARROWEST_BAR, _WIDEST_BAR = 10, 40
# A terminal with less room for a name than this shows a part of the name.
_SHORTEST_NAME = 12
# As wide as `train 1/20`, so that most changes of the work move nothing.
_USUAL_WORK = 10
_PER_SECOND = 4
# Columns kept free at the right: the ^C that a terminal echoes there must not wrap the line.
_FREE = 3
_NAME, _DETAIL = Style(bold=True), Style(dim=True)


@dataclass(frozen=True)
class Row:
    """A line of the picture.

    Attributes:
        name: what the line is about.
        work: what is done there at the moment.
        share: how much of it is done, 0..1; None if unknown.
        details: the most important first. A narrow terminal shows the first ones only; an
            empty one keeps its column free.
    """

    name: str
    work: str = ""
    share: float | None = None
    details: tuple[str, ...] = ()


class Bars:
    """Rows with bars at the bottom of a terminal; a thread draws them several times a second.

    A spinner at the beginning of each row shows that a long step has not hung.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = _Console(file=stream, force_terminal=True, force_jupyter=False)
        self._rows: dict[Hashable, Row] = {}
        self._spinner = Spinner("line")  # every terminal has these characters
        self._columns: list[int] = []
        self._live: Live | None = None

    def show(self, key: Hashable, row: Row) -> None:
        """Shows a row, in place of the one that had this key."""
        self._rows[key] = row
        if self._live is None:
            self._live = Live(
                get_renderable=lambda: self,
                console=self._console,
                refresh_per_second=_PER_SECOND,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start()

    def remove(self, key: Hashable) -> None:
        """Removes the row of a key, if there is one."""
        self._rows.pop(key, None)

    def say(self, text: str) -> None:
        """Prints lines above the rows."""
        self._console.out(text, highlight=False)

    def stop(self) -> None:
        """Removes all rows from the terminal."""
        live, self._live = self._live, None
        self._rows.clear()
        if live:
            live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the rows as Rich draws them."""
        rows = list(self._rows.values())
        turning = self._spinner.render(console.get_time()).plain
        width = max(1, options.max_width - _FREE)
        made = layout(rows, width, self._columns)
        for row, (left, bar, details) in zip(rows, made, strict=True):
            begin = f"{turning} {left}"
            yield Segment(set_cell_size(begin, min(width, cell_len(begin))), _NAME)
            if bar:
                yield Segment(_GAP)
                yield from _drawn(row.share, bar, console, options)
            yield Segment(details, _DETAIL)
            yield Segment.line()


class _Console(Console):
    """A console that never hides the cursor, which a killed process could not show again."""

    def show_cursor(self, show: bool = True) -> bool:
        """Does nothing."""
        return False


def layout(rows: list[Row], width: int, columns: list[int]) -> Iterator[tuple[str, int, str]]:
    """Yields for each row the text left of its bar, the bar's width, and the text right of it.

    With its spinner, which takes two columns, no row is wider than `width`. If there is room
    for bars, rows are aligned in columns; otherwise each shows as many parts as fit.

    Args:
        rows: from top to bottom.
        width: of the terminal.
        columns: the widths of the details, which grow as they must.
    """
    width -= 2
    for row in rows:
        columns.extend([0] * (len(row.details) - len(columns)))
        for number, detail in enumerate(row.details):
            columns[number] = max(columns[number], cell_len(detail))
    names = max((cell_len(row.name) for row in rows), default=0)
    works = max((cell_len(row.work) for row in rows), default=0)
    works = works and max(works, _USUAL_WORK)
    left = names + (works and len(_GAP) + works)
    # The bar gives way before there are fewer than two details.
    for shown in range(len(columns), min(len(columns), 2) - 1, -1):
        room = width - left - len(_GAP) - sum(len(_GAP) + column for column in columns[:shown])
        if room >= _NARROWEST_BAR:
            for row in rows:
                begin = set_cell_size(row.name, names)
                if works:
                    begin = f"{begin}{_GAP}{set_cell_size(row.work, works)}"
                details = zip(row.details[:shown], columns, strict=False)
                end = "".join(f"{_GAP}{detail:>{column}}" for detail, column in details)
                yield begin, min(room, _WIDEST_BAR), end
            return
    for row in rows:
        yield _narrow(row, width), 0, ""


def _narrow(row: Row, width: int) -> str:
    """Returns a row without a bar: as many details as fit, then a part of the name."""
    count, *_ = details = [detail for detail in row.details if detail] or [""]
    # What may follow the name, and the shortest name that it may follow.
    ends = [
        *(((row.work, *details[:shown]), row.name) for shown in range(len(details), 1, -1)),
        ((row.work, count), row.name[:_SHORTEST_NAME]),
        ((count if row.details and row.details[0] else row.work,), row.name.partition(" ")[0]),
    ]
    for parts, shortest in ends:
        end = "".join(f"{_GAP}{part}" for part in parts if part)
        room = width - cell_len(end)
        if room >= cell_len(shortest):
            return f"{_part(row.name, room)}{end}"
    return _part(row.name, width)


def _part(name: str, width: int) -> str:
    """Returns the first words of a name that fit, or the beginning of its first word."""
    while " " in name and cell_len(name) > width:
        name = name.rpartition(" ")[0]
    return set_cell_size(name, min(width, cell_len(name)))


def _drawn(
    share: float | None, width: int, console: Console, options: ConsoleOptions
) -> list[Segment]:
    """Returns a bar; one that moves to and fro if it is unknown how much is done."""
    bar = ProgressBar(
        total=None if share is None else 1.0,
        completed=share or 0.0,
        width=width,
        complete_style="cyan",
        finished_style="cyan",
        pulse_style="cyan",
    )
    # Without colours Rich leaves out what is not done.
    return Segment.adjust_line_length(list(console.render(bar, options)), width)
