"""The table of verdicts, and which data sets it still awaits."""

from collections.abc import Iterator, Mapping, Sequence

import fold_results
import verdicts
from contrasts import CLAIMS, HARDER, Claim
from fold_results import DECIDING, PLANNED, Fold, SetResult

from deep_net_triage.findings import looks
from deep_net_triage.wording import listed, signed

ERRORS = ("verdict", "uncorrected")


def rows(sets: Mapping[str, Sequence[Fold]], results: Mapping[str, SetResult]) -> Iterator[str]:
    """Yields the verdicts on each claim, of each deciding data set that has all its folds.

    Once all of them do, a column has the verdicts over the data sets.
    """
    complete = [name for name in fold_results.complete(sets) if name in DECIDING]
    columns = {looks.title(name): of_claims(sets[name], results[name]) for name in complete}
    if len(complete) == len(DECIDING):
        overall = over_sets([results[name] for name in complete])
        columns = {"overall": overall | {"7": ordering(sets)}} | columns
    yield f"| | claim | {' | '.join(columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    claims = {claim.number: claim.sentence for claim in CLAIMS} | {"7": HARDER}
    for number, sentence in sorted(claims.items()):
        cells = (column.get(number, "–") for column in columns.values())
        yield f"| {' | '.join([number, sentence, *cells])} |"


def of_claims(folds: Sequence[Fold], result: SetResult) -> dict[str, str]:
    """Returns a data set's verdict and lowest difference for each claim, by its number."""
    if result.left_aside:
        return dict.fromkeys(result.claims, "left aside")
    found = {claim.number: (claim, result.claims[claim.number]) for claim in CLAIMS}
    return {
        number: f"**{flagged(one.verdict, one.uncorrected)}**<br>{lowest(folds, claim)}"
        for number, (claim, one) in found.items()
    }


def lowest(folds: Sequence[Fold], claim: Claim) -> str:
    """Returns the lowest difference of a claim, its corrected interval and its boundaries."""
    found = [(fold_results.intervals(folds, part)[0], part) for part in claim.parts]
    interval, part = min(found, key=lambda one: one[0])
    value, low, high = (signed(100 * number) for number in interval)
    bounds = dict.fromkeys(
        signed(100 * bound) if bound else "0" for bound in fold_results.boundaries(folds, part)
    )
    name = "boundary" if len(bounds) == 1 else "boundaries"
    return f"{part.name}: {value} [{low}, {high}], {name} {' and '.join(bounds)}"


def over_sets(results: Sequence[SetResult]) -> dict[str, str]:
    """Returns the verdict over data sets on each claim, by the claim's number."""
    return {
        number: flagged(
            *(over_all([getattr(one.claims[number], how) for one in results]) for how in ERRORS)
        )
        for number in results[0].claims
    }


def awaited(sets: Mapping[str, Sequence[Fold]]) -> str:
    """Returns which data sets must be completed before the verdicts are."""
    complete = fold_results.complete(sets)
    lacking = {
        name: looks.title(name)
        + (f" ({len(sets[name])} of {planned} folds so far)" if name in sets else "")
        for name, planned in PLANNED.items()
        if name not in complete
    }
    deciding = [title for name, title in lacking.items() if name in DECIDING]
    others = [title for name, title in lacking.items() if name not in DECIDING]
    sentences = []
    if deciding:
        sentences.append(f"Overall verdicts await {listed(deciding)}.")
    if others:
        sentences.append(f"Claim 7 {'also ' if deciding else ''}awaits {listed(others)}.")
    return " ".join(sentences)


def flagged(verdict: str, uncorrected: str) -> str:
    """Returns a verdict, with that of independent folds if it is another one."""
    return (
        verdict
        if verdict == uncorrected
        else f"{verdict} (if folds were independent: {uncorrected})"
    )


def over_all(found: Sequence[str]) -> str:
    """Returns the verdict over the deciding data sets.

    It is "not supported" if any of them says so, and otherwise the verdict that all share.
    """
    if "not supported" in found:
        return "not supported"
    return found[0] if len(set(found)) == 1 else "undecided"


def ordering(sets: Mapping[str, Sequence[Fold]]) -> str:
    """Returns the verdict on claim 7, an ordering of data sets, once all folds are there."""
    lacking = len(fold_results.complete(sets)) < len(PLANNED)
    if lacking or any(map(fold_results.why_not, sets.values())):
        return "undecided"
    groups = [fold_results.slowness(sets[name]) for name in PLANNED]
    return verdicts.verdicts({"7": verdicts.ordered(groups)})["7"]
