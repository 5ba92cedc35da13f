"""Matplotlib figures as inline SVG that takes its colours and its font from the page."""

import io
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

# Colours that matplotlib writes: ink, grid, paper, the boxes of layers, and that of a
# method which is too dark on black. The page's style sheet sets its own.
_THEMED = {
    "#000000": "var(--ink)",
    "#333333": "var(--ink)",
    "#e5e5e5": "var(--grid)",
    "#ffffff": "var(--paper)",
    "#cfe3f3": "var(--convolution)",
    "#e9e9e9": "var(--normalisation)",
    "#f7f7f7": "var(--activation)",
    "#fbe3c6": "var(--pooling)",
    "#882255": "var(--plum)",
}
_LINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
        number: of the figure; it keeps the ids of several figures on a page apart.
        title: its caption, which screen readers read out.
        figure: as matplotlib has it.
        note: what the caption adds to the title.
    """

    number: int
    title: str
    figure: Figure
    note: str = ""

    @property
    def svg(self) -> Markup:
        """The figure as inline SVG, the same bytes each time."""
        return _draw(self.figure, self.title, f"figure{self.number}")


def _draw(figure: Figure, title: str, prefix: str) -> Markup:
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": prefix, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    _simplify(root, prefix)
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
    # Safe as markup: ElementTree has escaped every text and every attribute.
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _simplify(root: ElementTree.Element, prefix: str) -> None:
    """Removes the date, fonts, namespaces and unused ids, and prefixes the ids in use."""
    used = _linked_ids(root)
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


def _linked_ids(root: ElementTree.Element) -> set[str]:
    """Returns the ids that other elements of the drawing refer to."""
    ids = set()
    for node in root.iter():
        for key, value in node.attrib.items():
            if key == _LINK:
                ids.add(value.removeprefix("#"))
            elif "url(#" in value:
                ids.add(value.partition("url(#")[2].partition(")")[0])
    return ids


def _attribute(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key == _LINK:
        return value.replace("#", f"#{prefix}-")
    value = " ".join(value.split())  # a path's line ends would each take five characters
    if key == "style":  # the page chooses the font
        parts = (part for part in value.split("; ") if not part.startswith("font-family:"))
        value = "; ".join(parts)
    if key in ("style", "fill", "stroke"):
        for colour, variable in _THEMED.items():
            value = value.replace(colour, variable)
    return value.replace("url(#", f"url(#{prefix}-")
