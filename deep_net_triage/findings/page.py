"""The page's tables as plain values, and the template that turns values into HTML."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import jinja2
from markupsafe import Markup

from deep_net_triage.findings.statistics import Estimate
from deep_net_triage.wording import signed

GAP = "–"  # stands where nothing was measured
_HERE = Path(__file__).parent
_MINUS = re.compile(r"(?<![^\s\[(])-(?=\d)")
_KEPT_SPACE = re.compile(r"(?<=\d) (?=%|points|\[)|(?<=points) (?=\[)|(?<=\d,) (?=[+\u2212]\d)")


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        number: what its column is sorted by; None for a gap and for words.
    """

    text: str
    number: float | None = None

    @property
    def gap(self) -> bool:
        """Whether nothing was measured."""
        return self.text == GAP


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its header.
        cells: from top to bottom.
        kind: `word`, `number`, or `long` for text that may wrap.
        heads: whether its cells are the headers of their rows.
        group: the title above it and the neighbours of the same group.
    """

    title: str
    cells: Sequence[Cell]
    kind: Literal["word", "number", "long"] = "word"
    heads: bool = False
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table of columns of equal length."""

    columns: Sequence[Column]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The titles above the columns, each with the number of columns below it."""
        named = groupby(self.columns, key=lambda column: column.group)
        widths = [(group, len(list(columns))) for group, columns in named]
        return widths if any(group for group, _ in widths) else []

    @property
    def rows(self) -> list[list[tuple[Column, Cell]]]:
        """The rows from top to bottom; each cell comes with its column."""
        rows = zip(*(column.cells for column in self.columns), strict=True)
        return [list(zip(self.columns, row, strict=True)) for row in rows]


def words(values: Iterable[object]) -> list[Cell]:
    """Returns a cell of text for each value, and a gap for None."""
    return [Cell(GAP if value is None else str(value)) for value in values]


def numbers(values: Iterable[float | None], places: int) -> list[Cell]:
    """Returns a cell for each number, with `places` decimals, and a gap for None."""
    return [Cell(GAP) if value is None else _number(value, places) for value in values]


def difference(estimate: Estimate | None, measured: float | None = None) -> Cell:
    """Returns a cell with a difference of two accuracies in points, with its interval.

    Args:
        estimate: of the difference; None without an interval.
        measured: the difference, 0..1, shown without an interval; None for a gap.
    """
    if estimate is not None:
        return Cell(typeset(estimate.text(scale=100)), estimate.mean)
    if measured is not None:
        return Cell(typeset(signed(100 * measured)), measured)
    return Cell(GAP)


def _number(value: float, places: int) -> Cell:
    # Adding zero turns a rounded -0.0 into 0.0.
    return Cell(typeset(f"{round(value, places) + 0.0:,.{places}f}"), value)


def typeset(text: str) -> str:
    """Returns text with minus signs, and with each number, unit and interval on one line."""
    return _KEPT_SPACE.sub("\u00a0", _MINUS.sub("\u2212", text))


def render(reloads: bool, **values: object) -> str:
    """Returns the page, one HTML file that loads no other files.

    Args:
        reloads: whether an opened page reloads itself from time to time.
        **values: the variables of `report.html.jinja`; the template escapes them.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = _own("report.css", "block_map.css"), _own("report.js")
    if reloads:
        script += _own("reload.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Safe as markup: the package's own files, which hold nothing of a study.
    own = {"style": Markup(style), "script": Markup(script), "digest": digest}
    return environment.get_template("report.html.jinja").render(**own, **values)


def _own(*names: str) -> str:
    """Returns files of this package, one after the other."""
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in names)
