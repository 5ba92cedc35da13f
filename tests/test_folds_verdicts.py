"""The table of verdicts of `figures/folds/`, and what is decided over all data sets."""

import sys

from tests.made_folds import HERE, made_up, made_up_folds

sys.path.insert(1, str(HERE))
import analyse  # noqa: E402
import contrasts  # noqa: E402
import fold_results  # noqa: E402
import verdict_table  # noqa: E402


def summary(incomplete=(), **sets):
    """The rows of the table of verdicts, each as its cells, and the last line below it."""
    results = {name: fold_results.judge(name, folds) for name, folds in sets.items()}
    lines = [
        line.replace("\u2212", "-")
        for line in analyse.summary(sets, results, dict.fromkeys(incomplete, "reason"))
    ]
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return table, lines[-1]


ALONE = (
    "Overall, *not supported* on one data set decides against a claim; otherwise CIFAR-10 and "
    "CIFAR-100 must agree."
)


def test_the_table_of_verdicts_awaits_each_set_that_lacks_folds():
    folds = made_up_folds()
    none, overall = summary(cifar10=folds[:5])
    assert not none
    awaited = "CIFAR-10 (5 of 6 folds so far) and CIFAR-100, and claim 7 also MNIST."
    assert overall == f"{ALONE} Verdicts await {awaited}"
    (heading, *rows), overall = summary(cifar10=folds, cifar100=folds[:2])
    assert heading == ["claim", "CIFAR-10"]
    assert [row[0] for row in rows] == ["1", "2a", "2b", "3", "4", "5", "6", "7", "8"]
    assert " awaits CIFAR-100 (2 of 6 folds so far), and claim 7 also MNIST." in overall
    _, overall = summary(["cifar100"], cifar10=folds)
    assert (
        " awaits CIFAR-100 (which decides nothing without its missing trials), and" in overall
    )
    (heading, *rows), overall = summary(cifar10=folds, cifar100=made_up_folds(parent=0.2))
    assert heading == ["claim", "overall", "CIFAR-10", "CIFAR-100"]
    assert [row[-1] == "left aside" for row in rows].count(False) == 1  # claim 7
    assert overall == f"{ALONE} Claim 7 awaits MNIST."
    assert summary(mnist=folds[:3], cifar10=folds, cifar100=folds)[1] == ALONE


def test_one_data_set_suffices_against_a_claim_and_all_must_agree_for_it():
    """Whole models lose 5 points on one set and gain 5 on the other, layers lose 2 on both."""
    layer = {(method, "all"): 0.68 for method in contrasts.LAYER}
    loses, gains = (
        made_up_folds(layer | {(method, "all"): ends for method in contrasts.WHOLE})
        for ends in (0.65, 0.75)
    )
    (_, *rows), _ = summary(cifar10=gains, cifar100=loses)
    overall, gain, loss = (
        {row[0]: row[column].split("<br>")[0] for row in rows} for column in (2, 3, 4)
    )
    for number in ("1", "2a"):
        assert (overall[number], gain[number], loss[number]) == (
            "**not supported**, because of CIFAR-100",
            "**supported**",
            "**not supported**",
        )
    assert overall["2b"] == "**supported**"
    assert gain["2b"] == loss["2b"] == overall["2b"]
    assert overall["6"] == "**not supported**"
    claims = {row[0]: row[1] for row in rows}
    assert "exceeds the parent.<br>*Judged by the mean of three methods" in claims["2b"]
    assert claims["1"].endswith("at every block.")
    assert overall["7"] == "–"  # MNIST has no folds
    _, so_far = summary(cifar10=loses)
    assert " Already decided: claims 1, 2a, 6 and 8. The rest awaits CIFAR-100" in so_far


def test_claim_7_is_decided_by_the_gap_between_early_and_final_accuracy():
    """By hand: parents know 70 points; final accuracy is 70 %, early accuracy as given."""
    sets = {
        name: made_up_folds(early={("all", "all"): early})[:planned]
        for (name, planned), early in zip(
            fold_results.PLANNED.items(), (0.665, 0.595, 0.56), strict=True
        )
    }
    (*_, row7, _), _ = summary(**sets)
    assert row7[2] == "**supported**<br>MNIST, final minus early accuracy: 5.0 %"
    assert [cell.split(" % ")[0] for cell in row7[3:]] == [
        "–<br>final minus early accuracy: 15.0",
        "–<br>final minus early accuracy: 20.0",
    ]


def test_the_table_of_verdicts_shows_what_decides_and_its_boundaries():
    """By hand: parents at 80 % know 70 points more than chance and err by 20."""
    accuracies = {(method, "block5"): 0.72 for method in contrasts.LAYER}
    (_, *rows), _ = summary(cifar10=made_up_folds(accuracies, noise=0.0001))
    found = {row[0]: row[2].split("<br>")[-1] for row in rows}
    loss = "layer only, block5: -2.0 [-2.0, -2.0], boundaries"
    # A hundredth and a tenth of 70 points, and 8 % of 20.
    assert found["1"] == f"whole model minus {loss} 0 and +0.7"
    assert found["2b"] == f"control minus {loss} -1.6 and 0"
    assert found["3"].endswith("+0.0 [+0.0, +0.0], boundary -7.0")
    assert found["5"].endswith(", boundary 0")


def test_the_difference_that_decides_is_the_most_certain_not_the_largest():
    """By hand: layers gain 0.5 +- 0.15 points at block 5 and 2 +- 0.5 at block 4.

    By Nadeau and Bengio, standard errors are 0.0995 and 0.332. Relative to them, block 5 is
    further below +0.7 (12.1 against 8.1), and block 4 further below 0 (6.0 against 5.0).
    """

    def fold(number):
        sign = (-1) ** number
        gains = {"block4": 0.02 + 0.005 * sign, "block5": 0.005 + 0.0015 * sign}
        cells = {(method, "all"): 0.65 for method in contrasts.LAYER}
        for block, gain in gains.items():
            cells |= {(method, block): 0.7 + gain for method in contrasts.LAYER}
        return made_up(number, cells, noise=1e-6)

    (_, row1, *_), _ = summary(cifar10=[fold(number) for number in range(6)])
    half = 2.571 * 0.0995  # the quantile of Student's t with five degrees of freedom
    assert row1[2] == (
        "**not supported**<br>whole model minus layer only, block5: -0.5 "
        f"[{-0.5 - half:+.1f}, {-0.5 + half:+.1f}], boundaries 0 and +0.7"
    )


def test_a_verdict_that_only_independent_folds_give_is_added():
    assert verdict_table.flagged("undecided", "supported") == (
        "**undecided** (if folds were independent: supported)"
    )
