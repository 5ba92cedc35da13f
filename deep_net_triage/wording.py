"""Formats numbers and lists for people: in the terminal, on the page and in figures."""

from collections.abc import Iterable, Sequence


def signed(number: float, places: int = 1) -> str:
    """Returns a number with its sign and a number of decimals: `+1.2`, `-0.3`, `+0.0`."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(number, places) + 0.0:+.{places}f}"


def points(difference: float) -> str:
    """Returns a difference of two accuracies (0..1) in percentage points: `-1.5 points`."""
    return f"{signed(100 * difference)} points"


def allowed(max_drop: float) -> str:
    """Returns an accuracy that may be lost (0..1), not rounded: `1.0 points`, `0.25 points`."""
    # Floating point makes 0.07 a little more than 7 %.
    return f"{round(100 * max_drop, 9)} points"


def percent(share: float, places: int = 1) -> str:
    """Returns a share (0..1) in percent: `98.1 %`."""
    return f"{round(100 * share, places) + 0.0:.{places}f} %"


def decimals(images: int) -> int:
    """Returns how many decimals show one image more in an accuracy in percent."""
    return 1 if images < 1000 else 2


def sides(shape: Iterable[int | None]) -> str:
    """Returns a shape as `32 x 32 x 3`; `any` stands for a side that is not fixed."""
    return " x ".join("any" if side is None else str(side) for side in shape)


def counted(count: int, noun: str) -> str:
    """Returns `1 trial`, or `3 trials`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """Returns `block1, block2 and block3`."""
    *others, last = names
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def duration(seconds: float) -> str:
    """Returns a rounded duration: `45 s`, `3.5 min`, `12 min`, `3.5 h`, `16 days`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 9.95 * 60:
        return f"{seconds / 60:.1f} min"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def size(count: float) -> str:
    """Returns a number of bytes: `512 KiB`, `2.5 MiB`, `120 MiB`, `1.5 GiB`."""
    units = ["KiB", "MiB", "GiB", "TiB"]
    count /= 1024
    while count >= 1024 and len(units) > 1:
        units.pop(0)
        count /= 1024
    return f"{count:.{1 if count < 10 else 0}f} {units[0]}"
