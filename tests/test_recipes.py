"""Whole studies by the settled recipe and by other training settings."""

import types

import keras
import pytest

import deep_net_triage as dnt
from deep_net_triage import methods
from deep_net_triage.commands import command_line
from deep_net_triage.errors import InputError
from deep_net_triage.images import datasets
from deep_net_triage.records import results
from deep_net_triage.records.study_results import read_study
from deep_net_triage.study import plan
from tests.studies import read, run
from tests.toys import toy_images


def test_the_last_epoch_counts_where_the_rate_falls_to_zero(tmp_path, capsys):
    flags = ("--recipe=settled", "--method=cl_rw,cm_rw", "--block=4", "--epochs=4")
    assert run(tmp_path, *flags) == 0
    study = read_study(tmp_path / "digits")
    parent = results.read_parent(tmp_path / "digits" / "parent")
    curve = results.read_epochs(tmp_path / "digits" / "parent")
    assert parent.baseline_accuracy == curve[-1].val_accuracy
    assert study.parent_ended == "after all 2 epochs"
    # A block alone reads images as they are, so that activations can be stored.
    assert "block4: computing its inputs and outputs" in capsys.readouterr().out
    assert len(study.rows) == 2
    test = datasets.load("digits", image_size=32, train_examples=60, test_examples=30).test
    for row in study.rows:
        curve = [epoch.val_accuracy for epoch in study.epochs[row.trial]]
        assert (row.chosen_epoch, row.chosen_accuracy) == (4, curve[-1])
        assert row.max_accuracy == max(curve)
        folder = results.trial_folder(study.folder, *row.trial)
        model = keras.models.load_model(folder / "model.keras")
        predicted = model.predict(test.images, verbose=0).argmax(axis=1)
        assert (predicted == test.labels.numpy()).mean() == pytest.approx(curve[-1])


def test_study_json_says_when_a_parent_stopped_improving(tmp_path):
    flags = ("--parent_epochs=9", "--parent_patience=2", "--learning_rate=1e-12")
    flags += ("--layer_learning_rate=0.01",)
    assert run(tmp_path, *flags, "--method=cl_rw", "--block=5") == 0
    ended = "after epoch 3 of 9: none of the last 2 was better than epoch 1"
    assert read(tmp_path / "digits" / "study.json")["parent_ended"] == ended
    assert len(results.read_epochs(tmp_path / "digits" / "parent")) == 3


def test_why_a_parent_stopped_does_not_depend_on_a_later_command(tmp_path):
    assert run(tmp_path, "--method=cl_rw", "--block=5") == 0
    study = tmp_path / "digits"
    given = f"--parent={study / 'parent' / 'model.keras'}"
    assert run(tmp_path, given, "--parent_epochs=12", "--method=cl_rw", "--block=5") == 0
    assert read(study / "study.json")["parent_ended"] == "after all 2 epochs"


def test_draws_for_which_there_is_no_memory_are_refused(tmp_path, monkeypatch, capsys):
    # 60 digits of 8 x 8 make 3,840 bytes a draw; half of 10,000 bytes is room for one.
    free = types.SimpleNamespace(available=10_000)
    monkeypatch.setattr("deep_net_triage.study.plan.psutil.virtual_memory", lambda: free)
    assert run(tmp_path, "--augment=crop", "--augment_copies=2") == 2
    assert (
        "--augment_copies=2 needs 0.0 GiB for the augmented copies of 60"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "digits" / "parent").exists()


def test_draws_that_no_method_reads_need_no_memory(small_settings, toy_dataset, monkeypatch):
    free = types.SimpleNamespace(available=10)
    monkeypatch.setattr("deep_net_triage.study.plan.psutil.virtual_memory", lambda: free)
    flags = {"augment": "crop", "augment_copies": 2}
    plan._check_copies(small_settings(method="cm_rw", **flags), toy_dataset)
    with pytest.raises(InputError, match="--augment_copies=2 needs"):
        plan._check_copies(small_settings(method="cm_rw,cl_rw", **flags), toy_dataset)


def test_each_rate_determines_the_methods_that_use_it(small_settings):
    one = small_settings()

    def differing(**flags):
        other = small_settings(**flags)
        return {name for name in methods.TABLE if one.of_trial(name) != other.of_trial(name)}

    whole = {"cm_rw", "cm_mw", "stn_cm", "stn_kd", "control"}
    assert differing(retrain_learning_rate=0.5) == whole
    # Of the compressed block, alone or with all others.
    assert differing(layer_learning_rate=0.5) == set(methods.METHODS)
    of_block = {"cl_rw", "cl_mw", "stn", "stn_cm", "stn_kd"}
    assert differing(augment_copies=0) == of_block
    assert differing(distill="both") == differing(temperature=2) == {"stn_kd"}
    assert differing(parent_seed=1, parent_patience=3) == set()
    assert one.of_parent() != small_settings(parent_seed=1).of_parent()


def test_a_recipe_smooths_no_labels_of_a_given_parent_and_flips_no_images_of_a_user(tmp_path):
    model, own = tmp_path / "model.keras", f"--image_dir={tmp_path}"
    model.touch()

    def chosen(*typed, **more):
        found = command_line.parse([*typed], tmp_path, **more)
        return found.label_smoothing, found.augment

    assert chosen("--dataset=cifar10") == (0.1, "flip_crop")
    assert chosen("--dataset=mnist_corrupted/fog") == (0.1, "crop")
    assert chosen("--dataset=cifar10", f"--parent={model}") == (0, "flip_crop")
    assert chosen(own) == (0.1, "crop")
    assert chosen("--dataset=mine", in_memory=True) == (0, "crop")
    # What is typed is what is done.
    assert chosen(own, "--augment=flip_crop", "--label_smoothing=0.2") == (0.2, "flip_crop")


def test_a_recipe_is_overridden_flag_by_flag(tmp_path):
    (tmp_path / "digits.flags").write_text("--weight_decay=0.25\n")
    found = command_line.parse(["--label_smoothing=0.5"], tmp_path)
    assert found.reports_last_epoch
    assert found.optimizer == "adamw"
    assert (found.weight_decay, found.label_smoothing) == (0.25, 0.5)
    paper = command_line.parse(["--recipe=paper"], tmp_path / "nowhere")
    assert not paper.reports_last_epoch
    assert (paper.optimizer, paper.learning_rate, paper.augment) == ("adam", 0.001, "none")
    # What the paper's recipe leaves out is off by default.
    assert (paper.weight_decay, paper.label_smoothing, paper.clip_norm) == (0, 0, None)
    assert (paper.warmup_epochs, paper.parent_patience) == (0, None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--epochs=1"], "--epochs=1 leaves no epoch after --warmup_epochs=1"),
        (["--parent_epochs=2", "--warmup_epochs=2"], "--parent_epochs=2 leaves no epoch"),
        (["--distill_epochs=1", "--method=stn"], "--distill_epochs=1 leaves no epoch"),
        (
            ["--optimizer=sgd"],
            "--weight_decay=0.05 needs --optimizer=adamw; with sgd, set --weight_decay=0",
        ),
        (["--temperature=0"], "--temperature=0.0: must be above 0"),
        (["--clip_norm=0"], "--clip_norm=0.0: must be above 0"),
        (["--augment=none", "--augment_copies=2"], "--augment_copies=2 needs --augment"),
        (["--parent_patience=3"], "--parent_patience needs --schedule=constant"),
    ],
)
def test_training_that_can_not_be_is_refused_in_a_line(tmp_path, arguments, expected):
    with pytest.raises(InputError) as refusal:
        command_line.parse(arguments, tmp_path)
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_phase_that_does_not_run_may_be_short(tmp_path):
    found = command_line.parse(["--distill_epochs=1", "--method=cl_rw"], tmp_path)
    assert found.distill_epochs == 1


def test_images_of_the_last_epoch_are_kept_beside_those_of_the_best(parent, tmp_path):
    images = toy_images(27, 60)
    train, test = ((split.images, split.labels) for split in (images.train, images.test))
    flags = {"recipe": "paper", "learning_rate": 0.03, "epochs": 5, "batch_size": 8}
    flags |= {"method": "cm_rw", "seeds": (0, 1, 2), "output_dir": tmp_path}
    study = dnt.triage(parent, train, test, **flags)
    assert len(study.rows) == 6
    assert any(row.final_accuracy != row.chosen_accuracy for row in study.rows)
    for row in study.rows:
        assert study.correct[row.trial].mean() == pytest.approx(row.chosen_accuracy)
        assert study.final_correct[row.trial].mean() == pytest.approx(row.final_accuracy)
