"""The plan of the study by folds: its contrasts, its rule, and its page."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from deep_net_triage.commands import command_line
from deep_net_triage.records import files
from tests.conftest import REPOSITORY

HERE = REPOSITORY / "figures" / "folds"
sys.path.insert(1, str(HERE))
import analyse  # noqa: E402
import beside  # noqa: E402
import block_figure  # noqa: E402
import contrasts  # noqa: E402
import fold_results  # noqa: E402
import headlines  # noqa: E402
import run  # noqa: E402
import verdicts  # noqa: E402

DIGITS = REPOSITORY / "figures" / "study" / "settling_results" / "digits" / "settled_parent0"
CONTROL = ("control", "no-block")
WHOLE = ("cm_rw", "cm_mw", "stn_cm")
NUMBER = re.compile(r"\d+\.\d+")


def made_up(number, accuracies=(), early=(), count=6, parent=0.8, noise=0.002):
    """A fold in which all trials end at 0.7 and begin at 0.6, but for those that are named."""
    draw = np.random.default_rng(number)
    cells = [(method, block) for method in contrasts.SIX for block in contrasts.BLOCKS]

    def values(usual, others):
        found = {cell: usual + noise * draw.normal() for cell in (*cells, CONTROL)}
        for (method, block), value in dict(others).items():
            chosen = [c for c in found if method in (c[0], "all") and block in (c[1], "all")]
            found |= {cell: value + noise * draw.normal() for cell in chosen}
        return found

    measures = {
        "accuracy": values(0.7, accuracies),
        "early": values(0.6, early),
        "later": values(0.65, ()),
    }
    return fold_results.Fold(number, count, parent, measures, 10, 10_000, 2000, 3)


def made_up_folds(*values, **more):
    return [made_up(number, *values, **more) for number in range(6)]


def judged(*values, **more):
    result = fold_results.judge("cifar10", made_up_folds(*values, **more))
    assert result.left_aside is None
    return {number: one.verdict for number, one in result.claims.items()}


def test_contrasts_compare_means_with_means():
    for claim in contrasts.CLAIMS:
        for part in claim.parts:
            assert sum(part.weights.values()) == pytest.approx(0), part.name
            assert sum(abs(w) for w in part.weights.values()) == pytest.approx(2), part.name


def test_nothing_differs():
    assert judged(noise=0.001) == {
        "1": "not supported",  # no gain of 1 % of what the parent knows, 0.7 points
        "2a": "supported",
        "2b": "supported",
        "3": "supported",
        "4": "supported",
        "5": "undecided",
        "6": "not supported",
        "8": "undecided",
    }


@pytest.mark.parametrize("methods", [contrasts.WHOLE, contrasts.LAYER])
def test_what_is_trained_decides_claims_1_to_3(methods):
    """A loss of 12 points, of which 7 are a tenth of what the parent knows."""
    found = judged({(method, "all"): 0.58 for method in methods})
    layer_loses = methods == contrasts.LAYER
    assert found["1"] == ("supported" if layer_loses else "not supported")
    assert found["2a"] == ("supported" if layer_loses else "not supported")
    assert found["3"] == ("not supported" if layer_loses else "supported")
    # Layers that keep what the others lose are no better than the control.
    assert found["2b"] == "supported"


def test_a_small_loss_that_is_clear_is_a_small_difference():
    """Parents err by 20 points; 8 % of that is 1.6."""
    found = judged({(method, "all"): 0.69 for method in contrasts.WHOLE})
    assert found["2a"] == "small difference"
    assert (
        judged({(method, "all"): 0.68 for method in contrasts.WHOLE})["2a"] == "not supported"
    )


def test_one_block_is_enough_against_claims_on_each():
    late_gain = {(method, "block5"): 0.73 for method in contrasts.LAYER}
    found = judged(late_gain)
    assert found["1"] == found["2b"] == "not supported"
    found = judged({("all", "block1"): 0.6})
    assert found["4"] == found["3"] == "not supported"


def test_early_accuracy_decides_claims_on_speed():
    by_mean = {(method, "all"): 0.604 for method in ("cl_mw", "cm_mw")}
    assert judged((), by_mean)["5"] == "supported"
    slower = {(method, "all"): 0.59 for method in ("cl_mw", "cm_mw")}
    assert judged((), slower)["5"] == "not supported"
    taught = {(method, "all"): 0.62 for method in ("stn", "stn_cm")}
    assert judged((), taught)["6"] == "supported"
    # Clearly faster is more than 1 % of what the parent knows, here 0.7 points.
    slightly = {(method, "all"): 0.603 for method in ("stn", "stn_cm")}
    assert judged((), slightly)["6"] == "not supported"


def test_claim_8_needs_both_speed_and_accuracy():
    both = {("stn_cm", "all"): 0.72}, {("stn_cm", "all"): 0.62}
    assert judged(*both)["8"] == "supported"
    assert judged(both[0])["8"] == "undecided"
    assert judged({**both[0], ("cm_mw", "all"): 0.76}, both[1])["8"] == "not supported"
    assert judged(both[0], {("cm_rw", "all"): 0.65})["8"] == "not supported"


def test_noise_leaves_claims_undecided():
    assert set(judged(noise=0.05).values()) == {"undecided"}


def test_verdicts_allow_for_training_images_that_folds_share():
    result = fold_results.judge("cifar10", made_up_folds(noise=0.009))
    differing = {n: one for n, one in result.claims.items() if one.verdict != one.uncorrected}
    assert differing
    assert {one.verdict for one in differing.values()} == {"undecided"}


@pytest.mark.parametrize(
    ("name", "folds", "why"),
    [
        ("cifar10", made_up_folds(parent=0.2), "has not learned"),
        ("cifar10", made_up_folds()[:5], "Only 5 of 6 folds"),
        ("mnist", made_up_folds(), "decides no claim but the seventh"),
        ("cifar10", made_up_folds(noise=2.0), "wider than a fifth of what the parents know"),
    ],
)
def test_sets_that_do_not_count(name, folds, why):
    result = fold_results.judge(name, folds)
    assert why in result.left_aside
    assert {one.verdict for one in result.claims.values()} == {"undecided"}


def test_slowness_is_what_early_epochs_lack_of_what_parents_know():
    folds = made_up_folds(noise=0.0)
    assert fold_results.slowness(folds) == pytest.approx([0.1 / 0.7] * 6)


def test_over_all_sets():
    right, wrong, open_ = "supported", "not supported", "undecided"
    assert analyse.over_all([right, right]) == right
    assert analyse.over_all([right, wrong]) == wrong
    assert analyse.over_all([right, open_]) == open_
    assert analyse.over_all([right]) == open_  # the other set has not been run


def test_intervals_and_p_values_are_those_of_scipy():
    values = np.array([[1.0, 2.5, 3.0, 4.5], [2.0, 2.0, 3.0, 2.5]])
    mean, low, high = verdicts.interval(values[0])
    expected = stats.ttest_1samp(values[0], 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((2.75, expected.low, expected.high))
    evidence = verdicts.weigh(values, np.array([0.5, 1.0]), np.array([4.0, 2.6]))
    above = [
        stats.ttest_1samp(values[n], boundary, alternative="greater").pvalue
        for n, boundary in enumerate((0.5, 1.0))
    ]
    below = [
        stats.ttest_1samp(values[n], boundary, alternative="less").pvalue
        for n, boundary in enumerate((4.0, 2.6))
    ]
    assert evidence.supports == pytest.approx(max(above))
    assert evidence.refutes == pytest.approx(2 * min(below))


def test_overlap_widens_an_interval_as_nadeau_and_bengio_say():
    values = [1.0, 2.5, 3.0, 4.5, 2.0, 2.0]
    _, low, high = verdicts.interval(values)
    _, wider, _ = verdicts.interval(values, overlap=1 / 5)
    # 1/6 + 1/5 in place of 1/6.
    assert (2.5 - wider) / (2.5 - low) == pytest.approx(np.sqrt((1 / 6 + 1 / 5) / (1 / 6)))
    assert high - 2.5 == pytest.approx(2.5 - low)


def test_holm_by_hand():
    """Levels are 0.05 / 4, / 3, / 2 and / 1; the third fails, and so the fourth."""

    def evidence(supports, refutes):
        return verdicts.Evidence(np.array(supports), np.array(refutes))

    claims = {
        "a": evidence(0.4, 0.005),  # 0.01 by 0.0125
        "b": evidence(0.008, 0.9),  # 0.016 by 0.0167
        "c": evidence(0.014, 0.9),  # 0.028 above 0.025
        "d": evidence(0.015, 0.9),  # 0.03, which 0.05 alone would pass
    }
    assert verdicts.verdicts(claims) == {
        "a": "not supported",
        "b": "supported",
        "c": "undecided",
        "d": "undecided",
    }


def test_an_ordering_needs_every_neighbour():
    low, middle, high = ([0.1, 0.11, 0.12], [0.2, 0.21, 0.22], [0.3, 0.31, 0.32])

    def found(*groups):
        return verdicts.verdicts({"7": verdicts.ordered(groups)})["7"]

    assert found(low, middle, high) == "supported"
    assert found(low, high, middle) == "not supported"
    assert found(low, middle, [0.1, 0.2, 0.35]) == "undecided"


def fold_of_digits(folder, fold, **settings):
    """A committed study of digits as if it were a fold."""
    shutil.copytree(DIGITS, folder)
    content = files.read_json(folder / "study.json")
    content["settings"] |= {"fold": fold, **settings}
    content["near_duplicates"] = 4
    files.write_json(folder / "study.json", content)


def run_analysis(results, output):
    command = [sys.executable, str(HERE / "analyse.py")]
    places = [f"--results={results}", f"--output={output}"]
    return subprocess.run([*command, *places], capture_output=True, text=True, check=False)


def test_folds_are_read_and_shown(tmp_path):
    for number in range(3):
        fold_of_digits(tmp_path / "mnist" / f"fold{number}", f"{number}/3", parent_seed=number)
    folds = fold_results.read(tmp_path / "mnist")
    assert [fold.number for fold in folds] == [0, 1, 2]
    rows = fold_results.read_study(DIGITS).rows
    row = next(row for row in rows if row.final_accuracy < row.max_accuracy)
    cell, trial = (row.method, row.block), f"{row.method}-{row.block}-seed0"
    assert folds[0].values["accuracy"][cell] == row.final_accuracy
    lines = list(map(json.loads, (DIGITS / "trials" / trial / "epochs.jsonl").open()))
    curve = [line["val_accuracy"] for line in lines if line["phase"] == "train"]
    assert folds[0].values["early"][cell] == pytest.approx(sum(curve[:3]) / 3)
    # The committed study of digits distils for 4 epochs.
    assert folds[0].values["later"][cell] == pytest.approx(np.mean(curve[4:7]))
    ended = run_analysis(tmp_path, tmp_path / "made")
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "made" / "figures" / "folds" / "README.md").read_text()
    assert "3 of 3 folds; parents 99.2 % (99.2 to 99.2); 12 of 1,080 test images" in page
    assert page.count("\n| 8 | ") == 4  # its verdict, and its three differences
    assert "| 7 | Harder data sets converge more slowly. | undecided |" in page
    assert "decides no claim but the seventh" in page
    (control,) = fold_results.read_study(DIGITS).controls
    first, *_ = [row for row in rows if (row.method, row.block) == ("cl_rw", "block1")]
    best = 100 * (first.max_accuracy - control.max_accuracy)
    assert f"<br>{best:+.1f}, {first.epochs_to_99}.0 ep. |".replace("-", "\u2212") in page


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"fold": "1/4"}, "folds i/3 and i/4 in one table"),
        ({"fold": "0/3"}, "a fold stands there twice"),
        ({"fold": "1/3", "epochs": 99}, "the folds differ by more than images (epochs)"),
        ({"fold": "1/3", "new": 1}, "the folds differ by more than images (new)"),
        ({"fold": None}, "is no study by --fold"),
    ],
)
def test_folds_that_do_not_belong_together_are_refused(second, message, tmp_path):
    fold_of_digits(tmp_path / "mnist" / "fold0", "0/3")
    fold_of_digits(tmp_path / "mnist" / "fold1", **second)
    ended = run_analysis(tmp_path, tmp_path / "made")
    assert ended.returncode == 2
    assert message in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "made").exists()


def test_a_fold_without_all_trials_is_refused():
    study = fold_results.read_study(DIGITS)
    fewer = dataclasses.replace(
        study,
        settings={**study.settings, "fold": "0/3"},
        rows=tuple(row for row in study.rows if row.trial[:2] != ("stn", "block2")),
    )
    with pytest.raises(
        fold_results.InputError, match=r"lacks 1 trials, the first .*stn.*block2"
    ):
        fold_results.fold_of(fewer)


def test_the_page_of_the_plan_is_made_from_the_files(tmp_path):
    """Shares of simulated studies may differ by rounding between processors."""
    ended = run_analysis(tmp_path, tmp_path)
    assert ended.returncode == 0, ended.stderr
    committed, made = (
        (folder / "docs" / "folds.md").read_text() for folder in (REPOSITORY, tmp_path)
    )
    assert NUMBER.sub("", made) == NUMBER.sub("", committed)
    both = (list(map(float, NUMBER.findall(text))) for text in (made, committed))
    np.testing.assert_allclose(*both, rtol=0.003, atol=0.02)
    assert not (tmp_path / "figures").exists()


def test_the_flags_are_those_of_the_plan(tmp_path):
    flags = run.flags_of("cifar10", "plan", "4", tmp_path, None)
    settings = command_line.parse(flags, REPOSITORY / "flags")
    assert (settings.dataset, settings.fold) == ("cifar10", (4, 6))
    assert (settings.parent_seed, settings.seeds) == (4, (4,))
    assert settings.settles
    assert settings.block_start == "literal"
    assert settings.augment == "flip_crop"
    assert (settings.augment_copies, settings.epochs, settings.distill_epochs) == (4, 8, 4)
    assert settings.methods == contrasts.SIX
    assert settings.control
    flags = run.flags_of("mnist", "plan", "0", tmp_path, "d")
    mnist = command_line.parse(flags, REPOSITORY / "flags")
    assert mnist.augment == "crop"
    assert mnist.image_size == 32


def test_parts_beside_the_plan_differ_from_its_folds_in_what_they_are_named_for(tmp_path):
    def settings(part):
        flags = run.flags_of("cifar10", part, "1", tmp_path, None)
        return dataclasses.asdict(command_line.parse(flags, REPOSITORY / "flags"))

    def differing(part):
        return {name: value for name, value in settings(part).items() if value != plan[name]}

    plan = settings("plan")
    geometry = differing("geometry")
    assert geometry.pop("image_size") == 64
    assert geometry.pop("methods") == beside.SIZED_METHODS
    assert geometry.pop("blocks") == beside.SIZED_BLOCKS
    assert not geometry
    seeds = {"seeds": (11,), "final_seeds": (11,)}  # the latter are not used
    assert differing("repeated") == {"parent_seed": 11, **seeds}
    recipe = differing("recipe")
    assert (recipe["schedule"], recipe["optimizer"], recipe["augment"]) == (
        "constant",
        "adam",
        "none",
    )
    same = {"epochs", "parent_epochs", "distill_epochs", "block_start", "seeds", "batch_size"}
    assert not same & recipe.keys()


def test_costs_beside_the_plan_are_those_of_all_images_of_the_folds():
    """By hand: 1 and 2 of 4 images right, less 2 and 3 of the control: -2 of 8 images."""
    control, cell = ("control", "no-block"), ("stn", "block1")
    rights = (([1, 0, 0, 0], [1, 1, 0, 0]), ([1, 1, 0, 0], [1, 1, 1, 0]))
    studies = [
        dataclasses.replace(
            fold_results.read_study(DIGITS),
            correct={(*cell, 3): np.array(own), (*control, 3): np.array(other)},
            parent_correct=np.ones(4),
        )
        for own, other in rights
    ]
    against_control = beside.difference(studies, [cell], [control])
    assert against_control.mean == pytest.approx(-2 / 8)
    assert beside.difference(studies, [cell], None).mean == pytest.approx(-5 / 8)
    with pytest.raises(fold_results.InputError, match=r"lacks correct.npy of .*cm_rw"):
        beside.difference(studies, [cell, ("cm_rw", "block1")], [control])
    # The artificial images that the interval adds, one for each side, are no part of the mean.
    expected = stats.ttest_1samp([0, -1, 0, 0, 0, 0, -1, 0, 1, -1], 0).confidence_interval()
    assert (against_control.low, against_control.high) == pytest.approx(tuple(expected))


def test_the_page_shows_what_was_run_beside_the_plan(tmp_path):
    for part in ("", "geometry", "recipe"):
        for number in range(2):
            folder = tmp_path / part / "cifar10" / f"fold{number}"
            fold_of_digits(folder, f"{number}/3", image_size=32 + 32 * bool(part))
    fold_of_digits(tmp_path / "repeated" / "cifar10" / "fold0", "0/3", image_size=32)
    ended = run_analysis(tmp_path, tmp_path / "made")
    assert ended.returncode == 0, ended.stderr
    beside_it = tmp_path / "made" / "figures" / "folds"
    page = (beside_it / "README.md").read_text()
    trials = DIGITS / "trials"
    control, *reached = (
        np.unpackbits(np.load(trials / name / "correct.npy"), count=360).mean()
        for name in (
            "control-no-block-seed0",
            *(f"{method}-block5-seed0" for method in beside.SIZED_METHODS),
        )
    )
    cost = 100 * (np.mean(reached) - control)
    # The same study stands for 32 and for 64 pixels.
    (row,) = re.findall(r"\| block5 less control (\|[^|]*\|[^|]*)\|\n\|", page)
    assert row.count(f" {cost:+.1f} [") == 2
    assert page.count("| the paper's, whole model | the paper's, layer |") == 1
    assert "CIFAR-10 with other seeds in 1 fold" in page
    assert (beside_it / "blocks.png").stat().st_size > 10_000


def test_the_committed_page_is_made_from_the_committed_folds(tmp_path):
    ended = run_analysis(HERE, tmp_path)
    assert ended.returncode == 0, ended.stderr
    made, committed = (
        (folder / "figures" / "folds" / "README.md").read_text()
        for folder in (tmp_path, REPOSITORY)
    )
    assert NUMBER.sub("", made) == NUMBER.sub("", committed), "run analyse.py"
    numbers = [list(map(float, NUMBER.findall(text))) for text in (made, committed)]
    np.testing.assert_allclose(*numbers, atol=0.011)


def test_a_repeated_fold_takes_the_place_of_the_first(tmp_path):
    for number in range(3):
        fold_of_digits(tmp_path / "a" / f"fold{number}", f"{number}/3", parent_seed=number)
    fold_of_digits(tmp_path / "b" / "fold1", "1/3", parent_seed=11)
    description = tmp_path / "b" / "fold1" / "study.json"
    files.write_json(description, files.read_json(description) | {"near_duplicates": 9})
    folds = fold_results.read(tmp_path / "a", instead=tmp_path / "b")
    assert [(fold.number, fold.near_duplicates) for fold in folds] == [(0, 4), (1, 9), (2, 4)]
    shutil.rmtree(tmp_path / "a" / "fold1")
    with pytest.raises(
        fold_results.InputError, match=r"\['1/3'\]; allowed: .* \['0/3', '2/3'\]"
    ):
        fold_results.read(tmp_path / "a", instead=tmp_path / "b")
    with pytest.raises(fold_results.InputError, match="holds folds"):
        fold_results.read(tmp_path / "a", instead=tmp_path / "none")


def test_headlines_are_of_complete_sets_and_hold_what_they_say():
    accuracies = {(method, "all"): 0.68 for method in contrasts.WHOLE}
    accuracies |= {(method, "block5"): 0.72 for method in contrasts.LAYER}
    early = {("cl_mw", "all"): 0.61, ("cm_mw", "all"): 0.63, ("stn", "all"): 0.66}
    folds = made_up_folds(accuracies, early, noise=0.0)
    assert not list(headlines.headlines({"cifar10": folds[:5], "mnist": folds}))
    whole, layer, blocks, speed, both = headlines.headlines({"cifar10": folds})

    def on(value):
        return f"{value:+.1f} points [{value:+.1f}, {value:+.1f}] on CIFAR-10"

    assert f"by {on(-2)}, the mean" in whole
    assert f"by {on(0)} at blocks 1 to 4, and by {on(2)} at block 5." in layer
    # At block 5 three of six methods are 2 points above what they are at block 1.
    assert f"by {on(-1)}." in blocks
    # One of two mean starts is 1 point above, the other 3; one of two distilled by 6.
    assert f"by {on(2)}, and distillation before them by {on(3)}." in speed
    # CM-MW is 3 points above STN-CM early, CM-RW as it is.
    assert f"by {on(0)} at the end, and by {on(-1.5)} over" in both


def test_headlines_allow_for_training_images_that_folds_share():
    folds = made_up_folds(noise=0.01)
    values = [
        100
        * (
            np.mean([fold.values["accuracy"][m, b] for m in WHOLE for b in contrasts.BLOCKS])
            - fold.values["accuracy"][CONTROL]
        )
        for fold in folds
    ]
    # 1/6 for six folds, and 2,000 of 10,000 images for their overlap.
    half = stats.t.ppf(0.975, 5) * np.std(values, ddof=1) * np.sqrt(1 / 6 + 1 / 5)
    mean = np.mean(values)
    shown = f" points [{mean - half:+.1f}, {mean + half:+.1f}] on CIFAR-10"
    assert shown in next(headlines.headlines({"cifar10": folds}))


def test_the_figure_shows_each_method_at_each_block_and_the_parent():
    folds = made_up_folds({("stn", "block2"): 0.65}, noise=0.0)
    panel = block_figure.of_folds("CIFAR-10", folds)
    assert panel.parent == pytest.approx(10)  # parents at 80 %, controls at 70 %
    assert panel.cells["stn", "block2"] == pytest.approx((-5, -5, -5))
    assert panel.cells["stn", "block3"] == pytest.approx((0, 0, 0))
    noisy = made_up_folds()
    values = [
        100 * (fold.values["accuracy"]["stn", "block2"] - fold.values["accuracy"][CONTROL])
        for fold in noisy
    ]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    shown = block_figure.of_folds("CIFAR-10", noisy).cells["stn", "block2"]
    assert shown == pytest.approx((np.mean(values), expected.low, expected.high))
    figure = block_figure.draw([panel, panel])
    first, second = figure.axes
    markers = [line for line in first.lines if line.get_marker() not in ("None", None, "")]
    assert len(markers) == 30
    assert first.get_ylim() == second.get_ylim()
