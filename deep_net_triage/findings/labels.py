"""Names beside the points of a panel, where they cover neither points, lines nor each other."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from deep_net_triage.findings import looks

_NEAR = 6
_HORIZONTAL = {1: "left", 0: "center", -1: "right"}
_VERTICAL = {1: "bottom", 0: "center", -1: "top"}
_DIRECTIONS = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)]
# Where a name may stand beside its point, the best place first: points of 1/72 inch to the
# right and upwards, and the name's alignment there.
_PLACES = [
    (right * away, above * away, _HORIZONTAL[right], _VERTICAL[above])
    for away in (_NEAR, 12, 19, 27)
    for right, above in _DIRECTIONS
]


def place(panel: Axes, names: Sequence[Annotation], taken: Sequence[Bbox]) -> None:
    """Moves each name to the first place beside its point that is free, else the least covered.

    Args:
        panel: whose place and limits are final.
        names: texts whose offsets are in points.
        taken: what the names must not cover, in pixels.
    """
    taken, pixels = list(taken), panel.figure.dpi / 72
    for label in names:
        covered = {}
        for spot in _PLACES:
            _move(label, spot)
            own = label.get_window_extent()
            covered[spot] = sum(_common(own, other) for other in taken)
            covered[spot] += own.width * own.height - _common(own, panel.bbox)
            if not covered[spot]:
                break
        chosen = min(covered, key=covered.get)
        _move(label, chosen)
        taken.append(label.get_window_extent().padded(pixels))
        if max(map(abs, chosen[:2])) > _NEAR:
            _join(panel, label)


def _move(label: Annotation, spot: tuple[float, float, str, str]) -> None:
    right, above, horizontal, vertical = spot
    label.set_position((right, above))
    label.set(ha=horizontal, va=vertical)


def _join(panel: Axes, label: Annotation) -> None:
    """Draws a thin line from a name to its point."""
    line = {"arrowstyle": "-", "color": looks.INK, "lw": 0.6, "shrinkA": 2, "shrinkB": 4}
    coordinates = {"xycoords": label.xycoords, "textcoords": "offset points"}
    drawn = panel.annotate("", label.xy, label.get_position(), arrowprops=line, **coordinates)
    drawn.set_in_layout(False)


def _common(one: Bbox, other: Bbox) -> float:
    """Returns the area that two boxes have in common."""
    shared = Bbox.intersection(one, other)
    return shared.width * shared.height if shared else 0.0
