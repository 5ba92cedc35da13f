"""Whether a model that saves arithmetic saves time as well."""

from collections.abc import Sequence

from deep_net_triage.network.latencies import FORMATS, Latency, pairs
from deep_net_triage.wording import counted, percent


def macs_without_speedup(latencies: Sequence[Latency], macs_saved: float) -> str | None:
    """Returns a sentence that says where a smaller model saves arithmetic but no time.

    Time is saved where the medians differ by more than both spreads. A setting is undecided if
    a spread is as large as the time that should be saved in proportion to the MACs.

    Args:
        latencies: as `latency.table` returns them.
        macs_saved: the share of the parent's multiply-accumulates that the smaller model saves.

    Returns:
        The sentence; None if time is saved in each setting, or no arithmetic is.
    """
    if macs_saved <= 0:
        return None
    unsaved: dict[str, list[str]] = {}
    undecided: dict[str, list[str]] = {}
    for parent, smaller in pairs(latencies):
        saved = parent.median - smaller.median
        noise = max(parent.spread, smaller.spread)
        if saved > noise:
            continue
        setting = f"batch {parent.batch} with {counted(parent.threads, 'thread')}"
        name = FORMATS[parent.format]
        if saved >= -noise and noise >= macs_saved * parent.median:
            undecided.setdefault(setting, []).append(name)
        else:
            change = _change(saved / parent.median, saved >= -noise)
            unsaved.setdefault(setting, []).append(f"{name}: {change}")
    arithmetic = f"The smaller model saves {percent(macs_saved)} of the multiply-accumulates"
    varies = "runs vary too much to tell whether it saves time"
    if unsaved:
        said = f"{arithmetic}, but no time at {_listed(unsaved)}."
        return f"{said} At {_listed(undecided)}, {varies}." if undecided else said
    return f"{arithmetic}; at {_listed(undecided)}, {varies}." if undecided else None


def _change(saved: float, within: bool) -> str:
    """Returns how a latency changed.

    Args:
        saved: the share of it that is saved.
        within: whether that is within the spread.
    """
    if round(saved, 3) == 0:
        return "unchanged"
    change = f"{percent(abs(saved))} {'less' if saved > 0 else 'more'}"
    return f"{change}, within the spread" if within else change


def _listed(formats: dict[str, list[str]]) -> str:
    """Returns settings, each with its formats in parentheses."""
    return " and ".join(f"{setting} ({', '.join(of)})" for setting, of in formats.items())
