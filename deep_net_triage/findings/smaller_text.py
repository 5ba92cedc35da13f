"""What `--compress` and `--alternatives` came to, in words for the terminal and the page."""

from collections.abc import Sequence
from pathlib import Path

from deep_net_triage.findings.recommendation import recommended, savings_text, within
from deep_net_triage.findings.rivals import Rival, Smaller, beats
from deep_net_triage.findings.time_saved import macs_without_speedup
from deep_net_triage.records import alternatives, compressions
from deep_net_triage.records.alternatives import KINDS
from deep_net_triage.records.compressions import Compression
from deep_net_triage.wording import allowed, counted, decimals, listed, percent, points


def describe(smaller: Smaller) -> str:
    """Returns the alternatives and all sentences as lines for the terminal."""
    lines = []
    if smaller.alternatives:
        lines.append(
            "alternatives trained for as many epochs; differences are from the compressed "
            "network:"
        )
    lines += [f"  {_described(smaller, rival)}" for rival in smaller.alternatives]
    lines += [f"  {title}: not possible: {why}" for title, why in smaller.refused.items()]
    lines += [f"  {name} failed: {why}" for name, why in smaller.failed.items()]
    return "\n".join([*lines, *of_network(smaller), *of_alternatives(smaller)])


def _described(smaller: Smaller, rival: Rival) -> str:
    saved = savings_text(
        smaller.macs_saved(rival.macs), smaller.parameters_saved(rival.parameters)
    )
    title = KINDS[rival.kind].title
    difference = ""
    if rival.from_compressed:
        difference = f", {rival.from_compressed.text('points', 100)}"
    seeds = counted(len(rival.correct), "seed")
    return f"{title}: accuracy {percent(rival.accuracy)}{difference}; {saved}; {seeds}"


def recommendation(smaller: Smaller, max_drop: float) -> str | None:
    """Returns the sentence that recommends the compressed network or a better alternative.

    Returns None if that network loses more than may be lost, if this is not known, or if it
    saves no multiply-accumulates.

    Args:
        smaller: what the compression and its alternatives came to.
        max_drop: the accuracy that may be lost, 0..1; another one may have led the compression.
    """
    network = smaller.standing.to_take
    if network is None or network.from_parent is None:
        return None
    cost = network.from_parent
    if not within(cost.mean, max_drop) or smaller.macs_saved(network.macs) <= 0:
        return None
    title = network.name
    if network is smaller.compressed:
        title += f", with one layer each for {listed(smaller.compression.blocks)}"
    saved = savings_text(
        smaller.macs_saved(network.macs), smaller.parameters_saved(network.parameters)
    )
    return (
        f"{recommended(within(cost.low, max_drop))}: {title}. It {saved}; its accuracy "
        f"differs by {cost.text('points', 100)} from the parent{_over_seeds(network)}."
    )


def _nothing(smaller: Smaller) -> str:
    compression = smaller.compression
    most = f"the allowed {allowed(compression.max_drop)}"
    if smaller.doubt and not compression.candidates:
        why = "drops from this parent are meaningless"
    elif not compression.candidates:
        why = "the study has no candidate"
    elif not compression.steps:
        why = f"each candidate loses more than {most}, or saves nothing"
    else:
        tried = counted(len(compression.steps), "step")
        why = f"{tried} tried, and each failed or lost more than {most}"
    return f"Nothing was compressed: {why}."


def of_network(smaller: Smaller) -> list[str]:
    """Returns what was compressed, what it costs and saves, and what decided, as sentences."""
    compression, network = smaller.compression, smaller.compressed
    if network is None:
        return [_nothing(smaller)]
    undone = len(compression.steps) - len(compression.blocks)
    more = f"; {counted(undone, 'more step')} tried and undone" if undone else ""
    saved = savings_text(
        smaller.macs_saved(compression.macs), smaller.parameters_saved(compression.parameters)
    )
    return [
        f"Compressed: {listed(compression.blocks)}{more}.",
        f"The compressed network {saved}; {_accuracy(smaller)}.",
        *_certainty(smaller),
        _judges(compression.held_out),
        *_final(smaller),
        *_without_time(smaller),
    ]


def _accuracy(smaller: Smaller) -> str:
    compression, network = smaller.compression, smaller.compressed
    places = max((decimals(len(one)) for one in network.correct.values()), default=1)
    own = f"its test accuracy is {percent(compression.accuracy, places)}"
    change = points(_own_change(compression))
    if network.from_parent is None:
        return f"{own}, {change} from the parent, without an interval"
    cost = f"{network.from_parent.text('points', 100)} from the parent"
    seeds = len(network.correct)
    if seeds == 1:
        return f"{own}, {cost}"
    return f"{own}, {change}; over {seeds} seeds of the final retraining the mean is {cost}"


def _own_change(compression: Compression) -> float:
    return compression.accuracy - compression.baseline_accuracy


def _certainty(smaller: Smaller) -> list[str]:
    """Returns whether the loss on the test images is within what may be lost, as sentences."""
    compression, cost = smaller.compression, smaller.compressed.from_parent
    max_drop = compression.max_drop
    if cost is None or smaller.doubt:
        return []
    most = f"the allowed drop of {allowed(max_drop)}"
    several = len(smaller.compressed.correct) > 1
    subject = "The mean" if several else "That"
    if not within(cost.mean, max_drop):
        over = _beyond(cost.mean, max_drop)
        return [f"{subject} is {over} beyond {most}."]
    if within(cost.low, max_drop):
        said = [f"Even the low end of the interval is within {most}."]
    else:
        said = [f"{subject} is within {most}, but the low end of the interval is not."]
    own = _own_change(compression)
    if several and not within(own, max_drop):
        said.append(f"The saved network itself lost {_beyond(own, max_drop)} more than that.")
    return said


def _beyond(change: float, max_drop: float) -> str:
    """Returns by how many points a change of accuracy is below what may be lost."""
    over = -100 * (change + max_drop)
    return f"{over:.{1 if over >= 0.1 else 2}f} points"


def _over_seeds(rival: Rival) -> str:
    seeds = len(rival.correct)
    return f", the mean of {seeds} seeds" if seeds > 1 else ""


def _judges(held_out: int) -> str:
    if held_out:
        return (
            f"{held_out:,} validation images decided what to compress. The test images had no "
            "part in that."
        )
    return (
        "The test images themselves decided what to compress, so this accuracy is "
        "optimistic. With --validation_fraction, validation images decide instead."
    )


def _final(smaller: Smaller) -> list[str]:
    if smaller.compression.final:
        return []
    images = "validation" if smaller.compression.held_out else "test"
    lowered = f"lowered the accuracy on the {images} images"
    happened = lowered if smaller.compression.finals else "failed"
    return [f"The final retraining {happened}; the network is saved as it was before."]


def _without_time(smaller: Smaller) -> list[str]:
    saved = smaller.macs_saved(smaller.compression.macs)
    sentence = macs_without_speedup(smaller.latencies, saved)
    return [sentence] if sentence else []


def of_alternatives(smaller: Smaller) -> list[str]:
    """Returns which of the compressed network and its alternatives to take, as sentences."""
    standing, said = smaller.standing, []
    if standing.better:
        verb = "is" if len(standing.better) == 1 else "are"
        named = _named(standing.better)
        said = [f"{named} {verb} better than the compressed network.", *_to_take(smaller)]
    elif standing.level:
        said = _undecided(smaller)
    elif standing.worse:
        said = _best(smaller)
    said += [
        f"{_named([rival])} is more accurate than the compressed network, but saves only "
        f"{percent(smaller.macs_saved(rival.macs))} of the multiply-accumulates."
        for rival in standing.costlier
    ]
    unknown = [rival.name for rival in smaller.alternatives if not rival.from_compressed]
    if unknown:
        said.append(f"No interval compares {listed(unknown)} with the compressed network.")
    if smaller.stuck:
        said.append(smaller.stuck)
    return said


def _undecided(smaller: Smaller) -> list[str]:
    level, worse = smaller.standing.level, smaller.standing.worse
    named = _named(level)
    said = [f"{named} can't be distinguished from the compressed network.", *_to_take(smaller)]
    if worse:
        verb = "is" if len(worse) == 1 else "are"
        said.append(f"{_named(worse)} {verb} worse than the compressed network.")
    return said


def _to_take(smaller: Smaller) -> list[str]:
    """Returns which of the foremost networks to take, its file, and why, as sentences.

    Returns nothing if drops from the parent are meaningless.
    """
    if smaller.doubt:
        return []
    foremost, chosen = smaller.standing.foremost, smaller.standing.to_take
    max_drop = smaller.compression.max_drop
    losers = [rival for rival in foremost if rival.loses_more_than(max_drop)]
    most = f"the allowed drop of {allowed(max_drop)} from the parent"
    said = []
    if losers == foremost:
        who = {1: "It loses", 2: "Both lose"}.get(len(losers), "All of them lose")
        said.append(f"{who} more than {most}.")
    elif losers:
        verb = "loses" if len(losers) == 1 else "lose"
        said.append(f"But {listed([one.name for one in losers])} {verb} more than {most}.")
    folder = Path(compressions.FOLDER)
    if chosen.kind:
        folder = alternatives.folder_of(Path(), chosen.kind, min(chosen.correct))
    saves = smaller.macs_saved(chosen.macs) > 0
    if not saves:
        said.append(f"{chosen.name.capitalize()} saves no multiply-accumulates.")
    accepted = saves and losers != foremost
    take = "The network to take is" if accepted else "If that is acceptable, take"
    said.append(f"{take} {chosen.name}: {folder / 'model.keras'}.")
    said += _reasons(smaller, chosen)
    said.append("The test images decided this, so the accuracy of this network is optimistic.")
    return said


def _reasons(smaller: Smaller, chosen: Rival) -> list[str]:
    """Returns why the network is taken among several, as sentences."""
    standing, said = smaller.standing, []
    if beaten := [rival.name for rival in standing.foremost if beats(chosen, rival)]:
        said.append(f"It is better than {listed(beaten)}.")
    networks = standing.eligible
    if len(networks) == 1:
        return said
    if standing.better:
        others = listed([rival.name for rival in networks if rival is not chosen], "or")
        said.append(f"It can't be distinguished from {others}.")
    as_cheap = smaller.as_cheap(networks)
    cheap = "It needs the fewest multiply-accumulates"
    if len(as_cheap) > 1:
        cheap += ", give or take 1 % of the parent's"
    if any(rival.runs > chosen.runs for rival in as_cheap):
        cheap += f", and fewer trainings, {chosen.runs} rather than {smaller.compressed.runs}"
    said.append(f"{cheap}.")
    if [rival.runs for rival in as_cheap].count(chosen.runs) > 1:
        said.append("Of the networks that tie on this, it has the highest test accuracy.")
    return said


def _best(smaller: Smaller) -> list[str]:
    worse, count = smaller.standing.worse, len(smaller.alternatives)
    closest = worse[0]
    difference = f"differs from it by {closest.from_compressed.text('points', 100)}"
    if len(worse) == 1:
        which = "its alternative" if count == 1 else f"one of its {count} alternatives"
        said = f"{which}, {closest.name}, which {difference}"
    else:
        which = "each" if len(worse) == count else str(len(worse))
        said = f"{which} of its {count} alternatives; the closest, {closest.name}, {difference}"
    return [f"The compressed network is better than {said}."]


def _named(rivals: Sequence[Rival]) -> str:
    """Returns rivals with their differences from the compressed network."""
    return listed([f"{one.name} ({one.from_compressed.text('points', 100)})" for one in rivals])
