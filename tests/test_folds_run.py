"""The runs of the study by folds: their flags, what is repeated, and when a fold is done."""

import dataclasses
import sys
import time

import pytest

from deep_net_triage.commands import command_line
from deep_net_triage.records import provenance
from deep_net_triage.records.provenance import Description
from deep_net_triage.records.results import Failure
from tests.conftest import REPOSITORY
from tests.made_folds import HERE

sys.path.insert(1, str(HERE))
import beside  # noqa: E402
import contrasts  # noqa: E402
import run  # noqa: E402


def left_by_a_command(study, seconds):
    """Writes what the program leaves in a study; without seconds it was cut short."""
    study.mkdir(parents=True, exist_ok=True)
    (study / "results.csv").touch()
    ran = provenance.this_command("run_triage.py", time.time(), seconds)
    provenance.write(study / "study.json", Description(commands=(ran,)), print)


def test_the_flags_are_those_of_the_plan(tmp_path):
    flags = run.flags_of("cifar10", "plan", "4", tmp_path, None)
    settings = command_line.parse(flags, REPOSITORY / "flags")
    assert (settings.dataset, settings.fold) == ("cifar10", (4, 6))
    assert (settings.parent_seed, settings.seeds) == (4, (4,))
    assert settings.reports_last_epoch
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


def test_a_failed_trial_is_repeated_once_with_another_seed(tmp_path, monkeypatch):
    ran, kept = [], []
    failed = [
        Failure({"method": method, "block": block, "seed": seed}, "out of memory")
        for method, block, seed in (
            ("stn", "block2", 4),
            ("control", "no-block", 4),
            # It was repeated before the command was interrupted, and failed again.
            ("stn", "block3", 4),
            ("stn", "block3", 104),
        )
    ]

    def run_triage(flags):
        ran.append(command_line.parse(flags, REPOSITORY / "flags"))
        left_by_a_command(tmp_path / "runs" / "fold4" / "cifar10", seconds=1.0)
        return 1

    def keep(study, copy):
        kept.append(copy)
        copy.mkdir(parents=True)
        (copy / "results.csv").touch()

    monkeypatch.setattr(run, "run_triage", run_triage)
    monkeypatch.setattr(run, "read_trials", lambda study: dict(enumerate(failed)))
    monkeypatch.setattr(run.collect, "keep", keep)
    monkeypatch.setattr(run, "HERE", tmp_path / "copies")
    command = ["run.py", "--dataset=cifar10", "--folds=4", f"--runs={tmp_path / 'runs'}"]
    monkeypatch.setattr(sys, "argv", command)
    assert run.main() == 0
    whole, student, control = ran
    assert (whole.methods, whole.seeds, whole.blocks) == (contrasts.SIX, (4,), None)
    assert (student.methods, student.seeds, student.blocks) == (("stn",), (104,), ("block2",))
    assert not student.control
    assert (control.methods, control.control, control.seeds) == ((), True, (104,))
    assert {one.output_dir for one in ran} == {tmp_path / "runs" / "fold4"}
    assert kept == [tmp_path / "copies" / "cifar10" / "fold4"]
    # The fold has ended: neither it nor its failed trials are run once more.
    assert run.main() == 0
    assert len(ran) == 3


def test_a_repetition_that_is_killed_leaves_the_fold_to_be_continued(tmp_path, monkeypatch):
    codes = [1, -9]

    def run_triage(flags):
        left_by_a_command(tmp_path / "runs" / "fold4" / "cifar10", seconds=1.0)
        return codes.pop(0)

    failed = Failure({"method": "stn", "block": "block2", "seed": 4}, "out of memory")
    monkeypatch.setattr(run, "run_triage", run_triage)
    monkeypatch.setattr(run, "read_trials", lambda study: {"a": failed})
    monkeypatch.setattr(run, "HERE", tmp_path / "copies")
    command = ["run.py", "--dataset=cifar10", "--folds=4", f"--runs={tmp_path / 'runs'}"]
    monkeypatch.setattr(sys, "argv", command)
    assert run.main() == -9
    assert not (tmp_path / "copies").exists()


def test_a_fold_that_an_error_stopped_is_left_to_be_continued(tmp_path, monkeypatch):
    """A full disk ends the program with the code of a failed trial."""

    def run_triage(flags):
        left_by_a_command(tmp_path / "runs" / "fold4" / "cifar10", seconds=None)
        return 1

    monkeypatch.setattr(run, "run_triage", run_triage)
    monkeypatch.setattr(run, "HERE", tmp_path / "copies")
    command = ["run.py", "--dataset=cifar10", "--folds=4", f"--runs={tmp_path / 'runs'}"]
    monkeypatch.setattr(sys, "argv", command)
    assert run.main() == 1
    assert not (tmp_path / "copies").exists()


def test_a_fold_that_leaves_no_table_ends_the_command_with_its_code(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "run_triage", lambda flags: 2)
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["run.py", "--dataset=cifar10", f"--runs={tmp_path}"])
    assert run.main() == 2
    assert not list(tmp_path.iterdir())


def test_parts_are_refused_for_other_data_sets(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run.py", "--dataset=mnist", "--part=geometry"])
    with pytest.raises(SystemExit, match="2"):
        run.main()
    assert "--part=geometry is not run of mnist; allowed: cifar10" in capsys.readouterr().err
