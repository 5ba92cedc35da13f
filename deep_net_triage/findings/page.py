"""One self-contained HTML page: what stands in it is escaped, and it loads nothing."""

import base64
import hashlib
import html
import io
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.figure import Figure

GAP = "–"

# What matplotlib writes for ink, grid and paper, and what a page in the dark can change.
_THEMED = {
    "#000000": "var(--ink)",
    "#333333": "var(--ink)",
    "#e5e5e5": "var(--grid)",
    "#ffffff": "var(--paper)",
}
_ABREAST = 6  # inches, up to which two figures stand side by side
_LINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        number: what a column of numbers is sorted by; None in a gap, and for words.
        heads: whether it names its row.
    """

    text: str
    number: float | None = None
    heads: bool = False


@dataclass(frozen=True)
class Header:
    """The head of a column.

    Attributes:
        title: its text.
        kind: what stands below: `word`, `number`, or `long` text that may be wrapped.
        group: the title above it and its neighbours.
    """

    title: str
    kind: Literal["word", "number", "long"] = "word"
    group: str = ""


def escape(value: object) -> str:
    """Returns a value as text that is safe inside an element and inside a quoted attribute."""
    return html.escape(str(value))


def element(name: str, content: object, **attributes: object) -> str:
    """Returns an element around text, which is escaped."""
    return wrap(name, escape(content), **attributes)


def wrap(name: str, markup: str, **attributes: object) -> str:
    """Returns an element around markup.

    Args:
        name: of the element.
        markup: what `element`, `wrap` and their like returned.
        **attributes: escaped; `class_` is `class`, and other underscores are hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{markup}</{name}>"


def word(value: object, heads: bool = False) -> Cell:
    """Returns a cell of text; a gap for None."""
    return Cell(GAP if value is None else str(value), heads=heads)


def number(value: float | None, places: int) -> Cell:
    """Returns a cell of a number with so many decimals; a gap for None."""
    if value is None:
        return Cell(GAP)
    # Adding zero turns a rounded -0.0 into 0.0.
    return Cell(minus(f"{round(value, places) + 0.0:,.{places}f}"), value)


def minus(text: str) -> str:
    """Returns numbers with a minus sign where they have a hyphen."""
    return text.replace("-", "\u2212")


def bullets(items: Iterable[object]) -> str:
    """Returns a list of escaped items, or nothing where there are none."""
    markup = "".join(element("li", item) for item in items)
    return wrap("ul", markup) if markup else ""


def table(
    name: str,
    caption: str,
    headers: Sequence[Header],
    rows: Sequence[Sequence[Cell]],
    *,
    first: Sequence[Cell] = (),
    sortable: bool = False,
) -> str:
    """Returns a caption, and a table in a box of its own that scrolls sideways.

    Args:
        name: of the table in this page, a word.
        caption: says what it holds.
        headers: one a column.
        rows: cells, one a column.
        first: a row above the others that is not sorted with them.
        sortable: whether a click on a header sorts the rows.
    """
    groups = _groups(headers) if any(header.group for header in headers) else ""
    titles = "".join(
        element("th", header.title, scope="col", class_=header.kind) for header in headers
    )
    above = wrap("tbody", _row(headers, first), class_="first") if first else ""
    body = wrap("tbody", "\n".join(_row(headers, row) for row in rows))
    head = wrap("thead", groups + wrap("tr", titles))
    labelled = {"aria_labelledby": f"{name}-caption"}
    kind = {"class_": "sortable"} if sortable else {}
    whole = wrap("table", f"\n{head}\n{above}\n{body}\n", **kind, **labelled)
    # The caption stays where it is while the table scrolls. The box can be reached by the
    # keyboard, because without a mouse it could not be scrolled.
    return "\n".join(
        [
            element("p", caption, class_="caption", id=f"{name}-caption"),
            wrap("div", whole, class_="scroll", role="region", tabindex=0, **labelled),
        ]
    )


def drawing(title: str, picture: Figure, number: int, note: str = "") -> str:
    """Returns a figure as inline SVG whose ink, grid and paper follow the page's colours.

    Args:
        title: its caption, and what it is called where it can't be seen.
        picture: what to draw.
        number: of the figure in this page, from 1.
        note: what else the caption says.
    """
    svg = _svg(title, picture, f"figure{number}")
    caption = wrap("b", f"Figure {number}.") + f" {escape(title)}. {escape(note)}".rstrip()
    wide = {"class_": "wide"} if picture.get_figwidth() > _ABREAST else {}
    return wrap("figure", f"\n{svg}\n{wrap('figcaption', caption)}\n", **wide)


def document(title: str, body: str) -> str:
    """Returns the page.

    Args:
        title: text.
        body: markup.
    """
    style, script = (
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("report.css", "report.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Should a study's name ever get past the escaping, it still could neither run nor load.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src "
    policy += f"'sha256-{digest}'"
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',  # else some browsers ask the server for one
            element("title", title),
            f"<style>\n{style}</style>\n</head>\n<body>",
            body,
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _groups(headers: Sequence[Header]) -> str:
    cells: list[tuple[str, int]] = []
    for header in headers:
        if cells and cells[-1][0] == header.group:
            cells[-1] = (header.group, cells[-1][1] + 1)
        else:
            cells.append((header.group, 1))
    markup = [element("th", name, scope="colgroup", colspan=width) for name, width in cells]
    return wrap("tr", "".join(markup), class_="groups")


def _row(headers: Sequence[Header], cells: Sequence[Cell]) -> str:
    markup = []
    for header, cell in zip(headers, cells, strict=True):
        attributes: dict[str, object] = {}
        attributes["class_"] = header.kind + (" gap" if cell.text == GAP else "")
        if cell.number is not None:
            attributes["data_value"] = repr(cell.number)
        if cell.heads:
            attributes["scope"] = "row"
        markup.append(element("th" if cell.heads else "td", cell.text, **attributes))
    return wrap("tr", "".join(markup))


def _svg(title: str, picture: Figure, prefix: str) -> str:
    """Draws with names that are the same each time and no other figure's, without a date."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": prefix, "svg.fonttype": "none"}):
        picture.savefig(buffer, format="svg", transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    used = _links(root)
    for node in root.iter():
        node[:] = [child for child in node if not child.tag.endswith(("}metadata", "}style"))]
    for node in root.iter():
        node.tag = node.tag.partition("}")[2]
        node.attrib = {
            key.partition("}")[2] or key: _attribute(key, value, prefix)
            for key, value in node.attrib.items()
            if key != "id" or value in used
        }
        node.text, node.tail = (text and text.strip() for text in (node.text, node.tail))
    width = float(root.get("viewBox", "").split()[2])
    root.attrib = {
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-labelledby": f"{prefix}-title",
        "style": f"max-width: {width:g}pt",
    }
    name = ElementTree.Element("title", {"id": f"{prefix}-title"})
    name.text = title
    root.insert(0, name)
    return ElementTree.tostring(root, encoding="unicode")


def _links(root: ElementTree.Element) -> set[str]:
    """Returns the names that other elements of a drawing use; the rest only name its parts."""
    found = set()
    for node in root.iter():
        for key, value in node.attrib.items():
            if key == _LINK:
                found.add(value.removeprefix("#"))
            elif "url(#" in value:
                found.add(value.partition("url(#")[2].partition(")")[0])
    return found


def _attribute(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key == _LINK:
        return value.replace("#", f"#{prefix}-")
    value = " ".join(value.split())  # a path's line ends would each take five characters
    if key == "style":
        value = _without_font_family(value)
    if key in ("style", "fill", "stroke"):
        for colour, variable in _THEMED.items():
            value = value.replace(colour, variable)
    return value.replace("url(#", f"url(#{prefix}-")


def _without_font_family(style: str) -> str:
    """Leaves it to the page."""
    parts = (part for part in style.split("; ") if not part.startswith("font-family:"))
    return "; ".join(parts)
