"""Writes tables in Markdown, and pages in which each table stands between two comments."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# A hyphen before a number that is no part of a word, a flag or a range.
_MINUS = re.compile(r"(?<![\w.,/=`-])-(?=\d)")


def header(*headings: str) -> Iterator[str]:
    """Yields the first two lines of a table."""
    yield row(*headings)
    yield f"|{len(headings) * '---|'}"


def row(*cells: object) -> str:
    """Returns a line of a table."""
    return "|" + "".join(f" {cell} |" if cell != "" else " |" for cell in cells)


def replaced(text: str, part: str, lines: Iterable[str], script: str) -> str:
    """Returns a page with new lines between a part's two comments.

    Args:
        text: the page.
        part: the name in both comments.
        lines: the new ones.
        script: makes the part; the first comment names it.

    Raises:
        ValueError: if the page does not have exactly one such part.
    """
    begin, end = f"<!-- {part}, by {script} -->\n", f"<!-- end of {part} -->\n"
    between = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(between.findall(text)) != 1:
        raise ValueError(f"the page must have {begin!r} and {end!r} once")
    made = "\n".join([begin, *lines, "", end])
    return between.sub(lambda _: made, text)


def write(path: Path, lines: Iterable[str]) -> None:
    """Writes lines as a text file with minus signs, and creates its folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_MINUS.sub("\u2212", "\n".join([*lines, ""])), encoding="utf-8")
