"""The table of verdicts, what each rests on, and what is decided over all data sets."""

from collections.abc import Iterator, Mapping, Sequence

import fold_results
import verdicts
from contrasts import CLAIMS, HARDER, Part
from fold_results import DECIDING, PLANNED, Fold, Result, SetResult

from deep_net_triage.findings import looks
from deep_net_triage.records.study_results import mean
from deep_net_triage.wording import listed, signed

KINDS = ("verdict", "uncorrected")
# How claims are judged. As in the paper, claims on speed do not count distillation.
REMARKS = {
    "2b": "Judged by the mean of three methods; a gain that is not clear is tolerated up to "
    "the lower boundary.",
    "3": "Judged by the mean of three methods; about 5 points are read as a tenth of the "
    "parents' accuracy above chance.",
    "6": "Epochs of distillation are not counted.",
    "8": "The paper's hypothesis. Judged by means over methods and blocks. Speed is compared "
    "with CM-RW's and CM-MW's only; epochs of distillation are not counted.",
}


def table(
    sets: Mapping[str, Sequence[Fold]], results: Mapping[str, SetResult]
) -> Iterator[str]:
    """Yields the verdicts on each claim, of each deciding data set that has all its folds.

    Once all of them do, a column has the verdicts over the data sets.
    """
    complete = fold_results.complete_deciding(sets)
    columns = {looks.title(name): of_set(sets[name], results[name]) for name in complete}
    if len(complete) == len(DECIDING):
        overall = over_sets({looks.title(name): results[name] for name in complete})
        columns = {"overall": overall | {"7": ordering(sets)}} | columns
    yield f"| | claim | {' | '.join(columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    claims = {claim.number: claim.sentence for claim in CLAIMS} | {"7": HARDER}
    for number, sentence in sorted(claims.items()):
        cells = (column[number] for column in columns.values())
        remark = f"<br>*{REMARKS[number]}*" if number in REMARKS else ""
        yield f"| {' | '.join([number, sentence + remark, *cells])} |"


def of_set(folds: Sequence[Fold], result: SetResult) -> dict[str, str]:
    """Returns a data set's verdict on each claim and what it rests on, by number."""
    cells = {number: judged(result, number) for number in result.claims}
    if not result.left_aside:
        cells = {
            number: f"{cell}<br>{difference(folds, result.claims[number].part)}"
            for number, cell in cells.items()
        }
    return cells | {"7": f"–<br>{gap_of(folds)} of the parents' accuracy above chance"}


def gap_of(folds: Sequence[Fold]) -> str:
    """Returns what claim 7 orders data sets by."""
    return f"final minus early accuracy: {100 * mean(fold_results.slowness(folds)):.1f} %"


def judged(result: SetResult, number: str) -> str:
    """Returns a data set's verdict on a claim, if the set counts."""
    one = result.claims[number]
    return "left aside" if result.left_aside else flagged(one.verdict, one.uncorrected)


def difference(folds: Sequence[Fold], part: Part) -> str:
    """Returns a difference with its corrected interval and its boundaries, in points."""
    value, low, high = (signed(100 * end) for end in fold_results.intervals(folds, part)[0])
    bounds = dict.fromkeys(
        signed(100 * bound) if bound else "0" for bound in fold_results.boundaries(folds, part)
    )
    name = "boundary" if len(bounds) == 1 else "boundaries"
    return f"{part.name}: {value} [{low}, {high}], {name} {' and '.join(bounds)}"


def flagged(verdict: str, uncorrected: str) -> str:
    """Returns a verdict, with that of independent folds if it is another one."""
    if verdict == uncorrected:
        return f"**{verdict}**"
    return f"**{verdict}** (if folds were independent: {uncorrected})"


def over_sets(results: Mapping[str, SetResult]) -> dict[str, str]:
    """Returns the verdict over data sets on each claim, by number.

    Args:
        results: what each data set says, by its title.
    """
    return {
        claim.number: _over_sets(
            {title: one.claims[claim.number] for title, one in results.items()}
        )
        for claim in CLAIMS
    }


def _over_sets(of_sets: Mapping[str, Result]) -> str:
    verdict, uncorrected = (
        over_all([getattr(one, kind) for one in of_sets.values()]) for kind in KINDS
    )
    against = [title for title, one in of_sets.items() if one.verdict == "not supported"]
    alone = verdict == "not supported" and len(against) < len(of_sets)
    return flagged(verdict, uncorrected) + (f", because of {listed(against)}" if alone else "")


def over_all(found: Sequence[str]) -> str:
    """Returns the verdict over the deciding data sets.

    It is "not supported" if any of them says so, and otherwise the verdict that all share.
    """
    if "not supported" in found:
        return "not supported"
    return found[0] if len(found) == len(DECIDING) and len(set(found)) == 1 else "undecided"


def ordering(sets: Mapping[str, Sequence[Fold]]) -> str:
    """Returns the verdict on claim 7, an ordering of data sets; a dash while folds lack."""
    if len(fold_results.complete(sets)) < len(PLANNED):
        return "–"
    if any(map(fold_results.why_not, sets.values())):
        return "**undecided**"
    groups = [fold_results.slowness(sets[name]) for name in PLANNED]
    verdict = verdicts.verdicts({"7": verdicts.ordered(groups)})["7"]
    # The columns of the deciding sets have their own.
    others = (f"<br>{looks.title(n)}, {gap_of(sets[n])}" for n in PLANNED if n not in DECIDING)
    return f"**{verdict}**{''.join(others)}"


def overall_so_far(
    sets: Mapping[str, Sequence[Fold]],
    results: Mapping[str, SetResult],
    incomplete: Mapping[str, str],
) -> str:
    """Returns the rule over all data sets, what it decides already, and what it awaits.

    Args:
        sets: the folds of each data set.
        results: what they say.
        incomplete: why a data set that lacks trials is left aside.
    """

    def counted_folds(name: str) -> str:
        if name in incomplete:
            return f"{looks.title(name)} (which decides nothing without its missing trials)"
        so_far = f" ({len(sets[name])} of {PLANNED[name]} folds so far)" if name in sets else ""
        return looks.title(name) + so_far

    lacking = [name for name in PLANNED if name not in fold_results.complete(sets)]
    deciding = [counted_folds(name) for name in lacking if name in DECIDING]
    others = [counted_folds(name) for name in lacking if name not in DECIDING]
    text = (
        "Overall, *not supported* on one data set decides against a claim; otherwise "
        f"{listed([looks.title(name) for name in DECIDING])} must agree."
    )
    if deciding:
        claims = [results[name].claims for name in fold_results.complete_deciding(sets)]
        decided = [
            claim.number
            for claim in CLAIMS
            if over_all([one[claim.number].verdict for one in claims]) != "undecided"
        ]
        if decided:
            text += f" Already decided: claim{'s' * (len(decided) > 1)} {listed(decided)}."
        text += f" {'The rest awaits' if decided else 'Verdicts await'} {listed(deciding)}"
        text += f", and claim 7 also {listed(others)}." if others else "."
    elif others:
        text += f" Claim 7 awaits {listed(others)}."
    return text
