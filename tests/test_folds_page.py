"""What is made from the folds: their reading, the page, its figure, and what stands beside."""

import dataclasses
import json
import re
import shutil
import sys

import numpy as np
import pytest
from scipy import stats

from deep_net_triage.records import files
from tests.conftest import REPOSITORY
from tests.made_folds import (
    CONTROL,
    DIGITS,
    HERE,
    STUDIES,
    fold_of_digits,
    made_up_folds,
    run_analysis,
)

sys.path.insert(1, str(HERE))
import beside  # noqa: E402
import block_figure  # noqa: E402
import contrasts  # noqa: E402
import fold_results  # noqa: E402
import fold_tables  # noqa: E402
import headlines  # noqa: E402

WHOLE = ("cm_rw", "cm_mw", "stn_cm")
NUMBER = re.compile(r"\d+\.\d+")


def test_folds_are_read_and_shown(tmp_path):
    for number in range(3):
        fold_of_digits(tmp_path / "mnist" / f"fold{number}", f"{number}/6", parent_seed=number)
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
    assert (
        "3 of 3 planned folds; parents 99.2 % (99.2 to 99.2); 12 of 1,080 test images" in page
    )
    assert page.count("\n| 8 | ") == 3  # its differences: MNIST decides no claim but 7
    assert "must agree. Verdicts await CIFAR-10 and CIFAR-100.\n" in page
    assert "enters claim 7 only" in page
    (control,) = fold_results.read_study(DIGITS).controls
    first, *_ = [row for row in rows if (row.method, row.block) == ("cl_rw", "block1")]
    best = 100 * (first.max_accuracy - control.max_accuracy)
    assert f"<br>{best:+.2f}, {first.epochs_to_99}.0 epochs |".replace("-", "\u2212") in page


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"fold": "1/4"}, "holds folds i/4 and i/6; the plan has i/6"),
        ({"fold": "0/6"}, "a fold stands there twice"),
        (
            {"fold": "1/6", "epochs": 99},
            "the folds differ by more than images (epochs: 5, now 99)",
        ),
        (
            {"fold": "1/6", "new": 1},
            "the folds differ by more than images (new: not set, now 1)",
        ),
        ({"fold": None}, "is no study by --fold"),
    ],
)
def test_folds_that_do_not_belong_together_are_refused(second, message, tmp_path):
    fold_of_digits(tmp_path / "mnist" / "fold0", "0/6")
    fold_of_digits(tmp_path / "mnist" / "fold1", **second)
    ended = run_analysis(tmp_path, tmp_path / "made")
    assert ended.returncode == 2
    assert message in ended.stderr.splitlines()[-1]
    assert not (tmp_path / "made").exists()


def test_a_fold_without_all_trials_is_refused():
    study = fold_results.read_study(DIGITS)
    fewer = dataclasses.replace(
        study,
        settings={**study.settings, "fold": "0/6"},
        rows=tuple(row for row in study.rows if row.trial[:2] != ("stn", "block2")),
    )
    with pytest.raises(
        fold_results.InputError, match=r"lacks 1 trial, the first .*stn.*block2"
    ):
        fold_results.fold_of(fewer)


def test_costs_beside_the_plan_are_those_of_all_images_of_the_folds():
    """By hand: 1 and 2 of 4 images right, less 2 and 3 of the control: -2 of 8 images."""
    control, cell = ("control", "no-block"), ("stn", "block1")
    rights = (([1, 0, 0, 0], [1, 1, 0, 0]), ([1, 1, 0, 0], [1, 1, 1, 0]))
    studies = [
        dataclasses.replace(
            fold_results.read_study(DIGITS),
            final_correct={},
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
    # Where the chosen epoch is not the last, the last one counts.
    (first, second), wrong = studies, {(*cell, 3): np.zeros(4)}
    studies = [dataclasses.replace(first, final_correct=wrong), second]
    assert beside.difference(studies, [cell], [control]).mean == pytest.approx(-3 / 8)
    # The artificial images that the interval adds, one for each side, are no part of the mean.
    expected = stats.ttest_1samp([0, -1, 0, 0, 0, 0, -1, 0, 1, -1], 0).confidence_interval()
    assert (against_control.low, against_control.high) == pytest.approx(tuple(expected))


def last(source, methods, block):
    """The mean share of test images that some students of a study classify correctly."""
    files_ = (source / "trials" / f"{name}-{block}-seed0" / "correct.npy" for name in methods)
    return np.mean([np.unpackbits(np.load(file), count=360).mean() for file in files_])


def test_the_page_shows_what_was_run_beside_the_plan(tmp_path):
    """Three studies of digits stand for the plan's folds, for 64 pixels and for the recipe."""
    parts = {"": "settled_parent0", "geometry": "settled_parent1", "recipe": "settled_parent2"}
    sources = {part: STUDIES / name for part, name in parts.items()}
    own = {"geometry": {"image_size": 64}, "recipe": {"learning_rate": 0.001}}
    for part, source in sources.items():
        for number in range(2):
            folder = tmp_path / part / "cifar10" / f"fold{number}"
            fold_of_digits(folder, f"{number}/6", source, **own.get(part, {}))
    fold_of_digits(tmp_path / "repeated" / "cifar10" / "fold0", "0/6")
    ended = run_analysis(tmp_path, tmp_path / "made")
    assert ended.returncode == 0, ended.stderr
    beside_it = tmp_path / "made" / "figures" / "folds"
    page = (beside_it / "README.md").read_text().replace("\u2212", "-")
    assert {file.name for file in beside_it.iterdir()} == {"README.md", "blocks.png"}

    def cost(part, methods):
        source = sources[part]
        less = last(source, methods, "block5") - last(source, ["control"], "no-block")
        return f"{100 * less:+.1f}"

    sized, recipes = re.findall(r"\| block5 minus control \|(.*)\|\n", page)
    shown = [re.findall(r"(\S+) \[", row) for row in (sized, recipes)]
    assert shown[0] == [cost(part, beside.SIZED_METHODS) for part in ("", "geometry")]
    assert shown[1] == [
        cost(part, methods) for part in ("", "recipe") for methods in (WHOLE, contrasts.LAYER)
    ]
    between, _ = re.findall(r"\n\| block1 minus block5 \|(.*)\|\n", page)
    changes = [
        last(source, beside.SIZED_METHODS, "block1")
        - last(source, beside.SIZED_METHODS, "block5")
        for source in (sources[""], sources["geometry"])
    ]
    assert re.findall(r"(\S+) \[", between) == [f"{100 * change:+.1f}" for change in changes]
    assert "CIFAR-10 with other seeds in 1 fold\n\nLeft aside. Only 2 of 6 folds" in page


@pytest.mark.parametrize(
    ("part", "setting"), [("geometry", "learning_rate"), ("recipe", "image_size")]
)
def test_a_part_that_differs_by_more_than_its_own_settings_is_refused(part, setting, tmp_path):
    fold_of_digits(tmp_path / "cifar10" / "fold0", "0/6")
    other = tmp_path / part / "cifar10" / "fold0"
    fold_of_digits(other, "0/6", **{setting: 7})
    with pytest.raises(fold_results.InputError, match=rf"fold0 differs .*\({setting}: .*now 7"):
        beside.with_the_plan(tmp_path, part)


def test_a_set_that_lacks_a_trial_is_left_aside_and_the_others_are_shown(tmp_path):
    for name in ("mnist", "cifar10"):
        for number in range(2):
            fold_of_digits(tmp_path / name / f"fold{number}", f"{number}/6")
    table = tmp_path / "cifar10" / "fold1" / "results.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if ",stn,block2," not in line))
    ended = run_analysis(tmp_path, tmp_path / "made")
    assert ended.returncode == 0, ended.stderr
    page = (tmp_path / "made" / "figures" / "folds" / "README.md").read_text()
    assert (
        "## CIFAR-10\n\nLeft aside: fold1 lacks 1 trial, the first ('stn', 'block2')." in page
    )
    assert "2 of 3 planned folds" in page.split("## MNIST")[1].split("## CIFAR-10")[0]


def test_missing_trials_leave_aside_what_they_are_of_and_no_page(tmp_path):
    """They are missing in a repeated fold, in one of the recipe's, and in the only data set."""
    for folder in ("cifar10/fold0", "cifar10/fold1", "recipe/cifar10/fold0"):
        fold_of_digits(tmp_path / folder, f"{folder[-1]}/6")
    fold_of_digits(tmp_path / "repeated" / "cifar10" / "fold0", "0/6")
    aside = "Left aside: fold0 lacks 1 trial, the first ('stn', 'block2')."

    def page_without(folder):
        table = tmp_path / folder / "results.csv"
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(line for line in lines if ",stn,block2," not in line))
        shutil.rmtree(tmp_path / folder / "trials" / "stn-block2-seed0")
        ended = run_analysis(tmp_path, tmp_path / "made")
        assert ended.returncode == 0, ended.stderr
        return (tmp_path / "made" / "figures" / "folds" / "README.md").read_text()

    page = page_without("repeated/cifar10/fold0")
    assert f"## CIFAR-10 with other seeds in 1 fold\n\n{aside}" in page
    page = page_without("recipe/cifar10/fold0")
    assert "Left aside: fold0 lacks correct.npy of ('stn', 'block2')." in page
    page = page_without("cifar10/fold0")
    assert f"## CIFAR-10\n\n{aside}" in page
    assert "blocks.png" not in page


def test_the_committed_page_is_made_from_the_committed_folds(tmp_path):
    ended = run_analysis(HERE, tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name in ("README.md", "figures/folds/README.md"):
        made, committed = ((folder / name).read_text() for folder in (tmp_path, REPOSITORY))
        assert NUMBER.sub("", made) == NUMBER.sub("", committed), f"{name}: run analyse.py"
        numbers = [list(map(float, NUMBER.findall(text))) for text in (made, committed)]
        np.testing.assert_allclose(*numbers, atol=0.11 if name == "README.md" else 0.011)


def test_a_repeated_fold_takes_the_place_of_the_first(tmp_path):
    for number in range(3):
        fold_of_digits(tmp_path / "a" / f"fold{number}", f"{number}/6", parent_seed=number)
    fold_of_digits(tmp_path / "b" / "fold1", "1/6", parent_seed=11)
    description = tmp_path / "b" / "fold1" / "study.json"
    files.write_json(description, files.read_json(description) | {"near_duplicates": 9})
    folds = fold_results.read(tmp_path / "a", instead=tmp_path / "b")
    assert [(fold.number, fold.near_duplicates) for fold in folds] == [(0, 4), (1, 9), (2, 4)]
    shutil.rmtree(tmp_path / "a" / "fold1")
    allowed = r"\['1/6'\]; allowed: .* \['0/6', '2/6'\]"
    with pytest.raises(fold_results.InputError, match=allowed):
        fold_results.read(tmp_path / "a", instead=tmp_path / "b")
    with pytest.raises(fold_results.InputError, match="holds folds"):
        fold_results.read(tmp_path / "a", instead=tmp_path / "none")


def found(sets):
    results = {name: fold_results.judge(name, folds) for name, folds in sets.items()}
    return list(headlines.headlines(sets, results))


def test_headlines_are_of_complete_sets_and_hold_what_they_say():
    accuracies = {(method, "all"): 0.68 for method in contrasts.WHOLE}
    accuracies |= {(method, "block5"): 0.72 for method in contrasts.LAYER}
    early = {("cl_mw", "all"): 0.61, ("cm_mw", "all"): 0.63, ("stn", "all"): 0.66}
    folds = made_up_folds(accuracies, early, noise=0.0)
    assert not found({"cifar10": folds[:5], "mnist": folds})
    heading, _, whole, layer, blocks, speed, both = found({"cifar10": folds})
    assert heading.startswith(
        "These are the findings on CIFAR-10 (parents 80.0 %, controls 70.0 %), with 95 %"
    )

    def on(value):
        return f"{value:+.1f} [{value:+.1f}, {value:+.1f}] points"

    assert f"from the control's by {on(-2)}. Compared" in whole
    assert f"by {on(-2)}† at block 1, and by {on(-4)}† at block 5." in whole
    assert f"by {on(0)} at blocks 1 to 4, and by {on(2)} at block 5." in layer
    # At block 5 three of six methods are 2 points above what they are at block 1.
    assert f"by {on(-1)}." in blocks
    # One of two mean starts is 1 point above, the other 3; one of two distilled by 6.
    assert f"on labels changes by {on(2)} with mean instead" in speed
    assert f"and by {on(3)} with distillation beforehand" in speed
    # STN's early accuracy is 66 %, CL-RW's later one 65 %.
    assert (
        f"on labels differ from CL-RW's epochs 5 to 7 by {on(1)}†. This favours CL-RW" in speed
    )
    # CM-MW is 3 points above STN-CM early, CM-RW as it is.
    assert f"from that of CM-RW and CM-MW by {on(0)}. Its" in both
    assert f"on labels, accuracy differs by {on(-1.5)}." in both
    # 68 % at each block, and one block of five at 72 % instead of 70 %.
    assert f"layer-only methods by {on(-2.4)}" in both


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
    shown = f" [{mean - half:+.1f}, {mean + half:+.1f}] points. Comp"
    assert shown in found({"cifar10": folds})[2]


def test_headlines_of_two_sets_keep_their_order_and_mark_one_that_is_left_aside():
    low = {(method, "all"): 0.68 for method in contrasts.WHOLE}
    loses, poor = made_up_folds(low, noise=0.0), made_up_folds(parent=0.2, noise=0.0)
    heading, _, whole, *_ = found({"cifar10": loses, "cifar100": poor})
    sets = (
        "CIFAR-10 / CIFAR-100 (left aside) (parents 80.0 % / 20.0 %, controls 70.0 % / 70.0 %)"
    )
    assert f"findings on {sets}, with 95 %" in heading
    assert "from the control's by -2.0 [-2.0, -2.0] / +0.0 [+0.0, +0.0] points. " in whole


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
    # Of a few folds: 1 of 4 images less 2 of the control's, beside a parent with 3.
    study = dataclasses.replace(
        fold_results.read_study(DIGITS),
        final_correct={},
        correct={
            **{(method, block, 0): np.array([1, 0, 0, 0]) for method, block in panel.cells},
            (*CONTROL, 0): np.array([1, 1, 0, 0]),
        },
        parent_correct=np.array([1, 1, 1, 0]),
    )
    few = block_figure.of_images("64 pixels", [study])
    assert few.parent == pytest.approx(25)
    assert {cell[1] for cell in few.cells} == set(beside.SIZED_BLOCKS)
    assert [value for value, *_ in few.cells.values()] == pytest.approx([-25] * 12)
    assert all(low < -25 < high for _, low, high in few.cells.values())
    figure = block_figure.draw([panel, panel])
    first, second = figure.axes
    assert not first.texts
    markers = [line for line in first.lines if line.get_marker() not in ("None", None, "")]
    assert len(markers) == 30
    assert first.get_ylim() == second.get_ylim()


def test_a_mean_beyond_the_axis_stands_at_its_edge_with_its_number():
    folds = made_up_folds({("stn", "block2"): 0.5}, noise=0.0)
    (panel,) = block_figure.draw([block_figure.of_folds("CIFAR-10", folds)]).axes
    (number,) = panel.texts
    assert number.get_text() == "\N{MINUS SIGN}20"
    assert number.xy[1] == panel.get_ylim()[0] == -12


def test_a_trial_that_got_stuck_is_named_beside_its_data_set():
    folds = made_up_folds()[:2]
    said = fold_tables.described("mnist", folds, fold_results.judge("mnist", folds))
    folds[1] = dataclasses.replace(folds[1], stuck="STN may have got stuck.")
    named = fold_tables.described("mnist", folds, fold_results.judge("mnist", folds))
    assert named == (
        f"{said} In fold 1, STN may have got stuck. It counts like any other trial."
    )
