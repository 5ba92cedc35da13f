"""What a study leaves, what it does again, and what it refuses."""

import csv
import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.errors import ExportFailed, InputError, TrainingFailed
from deep_net_triage.images import datasets
from deep_net_triage.learning import training
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.network import exports
from deep_net_triage.records import results, study_results
from deep_net_triage.study import compression, exporting
from tests.studies import read, run, snapshot


def test_files_of_the_contract(finished):
    trial = finished / "trials" / "stn-block4-seed0"
    for file in (
        "study.json",
        "results.csv",
        "parent/model.keras",
        "parent/epochs.jsonl",
        "parent/result.json",
        "figures/accuracy.png",
        "figures/convergence.png",
        "figures/structure.png",
        "trials/cl_rw-block4-seed0/model.keras",
        "trials/stn-block4-seed0/epochs.jsonl",
        "trials/stn-block4-seed0/correct.npy",
        "trials/stn-block4-seed0/final_correct.npy",
    ):
        assert (finished / file).stat().st_size > 0, file
    assert not list(finished.rglob("unfinished-*"))
    epochs = results.read_epochs(trial)
    assert [(line.phase, line.epoch) for line in epochs] == [
        ("distill", 1),
        ("train", 1),
        ("train", 2),
    ]
    result = read(trial / "result.json")
    assert (result["status"], result["reason"]) == ("finished", None)
    determining = {
        "dataset": "digits",
        "method": "stn",
        "block": "block4",
        "seed": 0,
        "epochs": 2,
    }
    assert determining.items() <= result["settings"].items()
    described = read(finished / "study.json")
    sizes = {"train_images": 60, "test_images": 30, "epochs": 2, "width": 0.02}
    assert sizes.items() <= described["settings"].items()
    assert described["commands"][0]["command"].startswith("run_triage.py --output_dir=")
    assert described["commands"][0]["seconds"] > 0
    versions = described["commands"][0]["versions"]
    assert set(versions) >= {"tensorflow", "keras", "deep_net_triage"}


def test_rows_agree_with_the_curves_and_the_models(finished):
    with (finished / "results.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows["stn"]) == list(results.COLUMNS)
    study = study_results.read_study(finished)
    parent = [line.val_accuracy for line in results.read_epochs(finished / "parent")]
    digits = datasets.load("digits", image_size=32, test_examples=30)
    for method, row in rows.items():
        trial = finished / "trials" / f"{method}-block4-seed0"
        reached = [line.val_accuracy for line in results.read_epochs(trial)]
        reached = [accuracy for accuracy in reached if accuracy is not None]
        assert float(row["max_accuracy"]) == max(reached)
        assert float(row["final_accuracy"]) == reached[-1]
        assert float(row["baseline_accuracy"]) == max(parent)
        drop = float(row["baseline_accuracy"]) - float(row["max_accuracy"])
        assert float(row["accuracy_drop"]) == pytest.approx(drop, abs=1e-9)
        final_drop = float(row["baseline_accuracy"]) - reached[-1]
        assert float(row["final_drop"]) == pytest.approx(final_drop, abs=1e-9)
        last = study.final_correct[method, "block4", 0]
        assert (len(last), last.mean()) == (30, reached[-1])
        model = keras.models.load_model(trial / "model.keras")
        predicted = model.predict(digits.test.images.numpy(), verbose=0).argmax(axis=1)
        assert np.mean(predicted == digits.test.labels.numpy()) == float(row["max_accuracy"])
        assert int(row["parameters"]) == model.count_params() < int(row["parent_parameters"])
        assert not model.compiled
        assert all(layer.trainable for layer in model.layers)
    assert (rows["stn"]["distill_epochs"], rows["cl_rw"]["distill_epochs"]) == ("1", "0")
    assert rows["cl_rw"]["distilled_accuracy"] == ""
    # The same seed starts both from the same random block.
    assert rows["stn"]["initial_accuracy"] == rows["cl_rw"]["initial_accuracy"]


def test_saved_models_need_nothing_of_this_package(finished, tmp_path):
    digits = datasets.load("digits", image_size=32, test_examples=30)
    np.save(tmp_path / "images.npy", digits.test.images.numpy())
    script = """
import sys, json, numpy, keras
images = numpy.load(sys.argv[1])
logits = [keras.models.load_model(file).predict(images, verbose=0) for file in sys.argv[2:]]
assert "deep_net_triage" not in sys.modules
print(json.dumps([each.argmax(axis=1).tolist() for each in logits]))
"""
    files = [finished / "parent", finished / "trials" / "stn-block4-seed0"]
    command = [sys.executable, "-c", script, tmp_path / "images.npy"]
    command += [file / "model.keras" for file in files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    row = study_results.read_study(finished).rows[-1]
    recorded = [row.baseline_accuracy, row.max_accuracy]
    for predicted, accuracy in zip(json.loads(done.stdout), recorded, strict=True):
        assert np.mean(np.array(predicted) == digits.test.labels.numpy()) == accuracy


def test_finished_trials_are_skipped_and_new_ones_added(study, capsys):
    before = snapshot(study / "trials") | snapshot(study / "parent")
    assert run(study.parent, "--method=cl_rw,stn", "--block=4,5") == 0
    after = snapshot(study / "trials") | snapshot(study / "parent")
    assert before.items() <= after.items()
    rows = study_results.read_study(study).rows
    assert [(row.block, row.method) for row in rows] == [
        ("block4", "cl_rw"),
        ("block4", "stn"),
        ("block5", "cl_rw"),
        ("block5", "stn"),
    ]
    assert len(read(study / "study.json")["commands"]) == 2
    printed = capsys.readouterr().out
    assert printed.count("is already finished") == 2
    assert "kept from an earlier run" in printed


def test_unfinished_trial_starts_again(study):
    trial = study / "trials" / "cl_rw-block4-seed0"
    (trial / "result.json").unlink()
    (trial / "epochs.jsonl").write_text('{"phase": "train", "epoch": 1, "val_acc')
    other = snapshot(study / "trials" / "stn-block4-seed0")
    assert run(study.parent, "--method=cl_rw", "--block=4") == 0
    assert [line.epoch for line in results.read_epochs(trial)] == [1, 2]
    assert snapshot(study / "trials" / "stn-block4-seed0") == other


def test_settings_that_differ_are_named_and_nothing_is_touched(study, capsys):
    before = snapshot(study)
    # Not asked for, but in the folder, and it would stand in the same table.
    assert run(study.parent, "--method=cl_rw", "--block=5", "--epochs=3") == 2
    message = capsys.readouterr().err
    assert "2 finished trials with other settings (epochs: 2, now 3)" in message
    assert message.count("\n") == 1
    assert run(study.parent, "--method=cl_rw", "--parent_epochs=3") == 2
    assert "a parent with other settings (parent_epochs: 2, now 3)" in capsys.readouterr().err
    assert snapshot(study) == before


def test_overwrite_replaces_what_differs_and_nothing_else(study):
    before = snapshot(study / "trials" / "cl_rw-block4-seed0")
    parent = snapshot(study / "parent")
    assert (
        run(study.parent, "--method=stn", "--block=4", "--distill_epochs=2", "--overwrite") == 0
    )
    assert snapshot(study / "trials" / "cl_rw-block4-seed0") == before
    assert snapshot(study / "parent") == parent
    rows = study_results.read_study(study).rows
    assert [(row.method, row.distill_epochs) for row in rows] == [
        ("cl_rw", 0),
        ("stn", 2),
    ]


@pytest.mark.parametrize("changed", ["--parent_epochs=1", "--epochs=1"])
def test_overwriting_removes_what_was_compressed_by_the_old_results(changed, study, capsys):
    derived = [study / "compressed", study / "alternatives"]
    for folder in derived:
        folder.mkdir()
        (folder / "result.json").write_text("{}")
    before = snapshot(study)
    flags = ("--method=cl_rw", "--block=4", changed, "--overwrite")
    assert run(study.parent, *flags, "--estimate") == 0
    assert snapshot(study) == before
    said = capsys.readouterr().out
    assert "with other settings will be replaced (" in said
    assert "[1/1] block4 cl_rw seed 0  " in said
    assert ("parent  " in said) == (changed == "--parent_epochs=1")
    assert run(study.parent, *flags) == 0
    assert not any(folder.exists() for folder in derived)


def test_overwriting_the_parent_replaces_every_trial(study):
    assert run(study.parent, "--method=cl_rw", "--block=4", "--seeds=1", "--parent_epochs=1",
               "--overwrite") == 0  # fmt: skip
    assert len(results.read_epochs(study / "parent")) == 1
    assert [path.name for path in (study / "trials").iterdir()] == ["cl_rw-block4-seed1"]


def test_a_given_parent_has_the_same_baseline_without_training(study, tmp_path):
    file = study / "parent" / "model.keras"
    baseline = read(study / "parent" / "result.json")["baseline_accuracy"]
    elsewhere = tmp_path / "elsewhere"
    given = (f"--parent={file}", "--method=cl_rw", "--block=4")
    assert run(elsewhere, *given) == 0
    adopted = elsewhere / "digits" / "parent"
    assert read(adopted / "result.json")["baseline_accuracy"] == baseline
    assert not (adopted / "epochs.jsonl").exists()
    assert not keras.models.load_model(adopted / "model.keras").compiled
    assert run(elsewhere, *given) == 0
    # In the study that trained it, it is the parent that is there already.
    before = snapshot(study / "trials") | snapshot(study / "parent")
    assert run(study.parent, *given) == 0
    assert snapshot(study / "trials") | snapshot(study / "parent") == before


def test_a_parent_given_from_the_studys_own_folder_is_never_lost(study):
    file = study / "parent" / "model.keras"
    weights = keras.models.load_model(file).get_weights()
    given = (f"--parent={file}", "--method=cl_rw", "--block=4")
    (study / "parent" / "result.json").unlink()
    assert run(study.parent, *given, "--overwrite") == 0
    # Another test split, another baseline: the recorded parent is replaced by the same model.
    assert run(study.parent, *given, "--overwrite", "--test_examples=40") == 0
    for was, now in zip(weights, keras.models.load_model(file).get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    assert not (study / "parent" / "epochs.jsonl").exists()


def test_weights_that_can_not_be_had_leave_everything_as_it_was(study, tmp_path, capsys):
    (tmp_path / "junk.h5").write_bytes(b"junk")
    before = snapshot(study)
    arguments = (f"--parent_weights={tmp_path}/junk.h5", "--width=1", "--overwrite")
    assert run(study.parent, *arguments) == 2
    assert "does not hold weights" in capsys.readouterr().err
    assert snapshot(study) == before
    assert run(tmp_path / "new", *arguments) == 2
    assert not (tmp_path / "new").exists()


def test_a_sequential_parent_without_batchnorm_that_returns_probabilities(tmp_path):
    keras.utils.set_random_seed(0)
    convolutions = [
        keras.layers.Conv2D(4, 3, padding="same", activation="relu") for _ in range(2)
    ]
    layers = [*convolutions, keras.layers.MaxPooling2D(2), keras.layers.Flatten()]
    layers.append(keras.layers.Dense(10, activation="softmax"))
    keras.Sequential([keras.Input((8, 8, 1)), *layers]).save(tmp_path / "mine.keras")
    given = f"--parent={tmp_path}/mine.keras"
    assert run(tmp_path / "runs", given, "--method=cm_mw,stn", "--mean_over=channel") == 0
    study = study_results.read_study(tmp_path / "runs" / "digits")
    assert [(row.block, row.method) for row in study.rows] == [
        ("block1", "cm_mw"),
        ("block1", "stn"),
    ]
    digits = datasets.load("digits", image_size=32, test_examples=30)
    trial = tmp_path / "runs" / "digits" / "trials" / "cm_mw-block1-seed0"
    returned = keras.models.load_model(trial / "model.keras").predict(
        digits.test.images.numpy()
    )
    np.testing.assert_allclose(returned.sum(axis=1), 1, rtol=1e-5)


def test_a_trial_that_fails_is_recorded_shown_as_a_gap_and_tried_again(
    study, monkeypatch, capsys
):
    original = Retraining.run

    def fails_at_block_5(self, *rest):
        if self.block.name == "block5":
            raise TrainingFailed("loss is nan after train epoch 1")
        return original(self, *rest)

    monkeypatch.setattr(Retraining, "run", fails_at_block_5)
    assert run(study.parent, "--method=cl_rw", "--block=3,5") == 1
    failed = read(study / "trials" / "cl_rw-block5-seed0" / "result.json")
    assert (failed["status"], failed["reason"]) == ("failed", "loss is nan after train epoch 1")
    assert "row" not in failed
    blocks = [row.block for row in study_results.read_study(study).rows]
    assert blocks == ["block3", "block4", "block4"]
    assert "1 trial failed; the reason is in result.json" in capsys.readouterr().err
    monkeypatch.setattr(Retraining, "run", original)
    assert run(study.parent, "--method=cl_rw", "--block=5") == 0
    assert read(study / "trials" / "cl_rw-block5-seed0" / "result.json")["status"] == "finished"


def test_a_parent_that_diverges_is_recorded_and_no_result(tmp_path, capsys):
    arguments = ("--optimizer=sgd", "--learning_rate=1e38", "--method=cm_rw", "--block=1")
    assert run(tmp_path, *arguments) == 1
    assert re.search(r"the parent: (val_)?loss is \S+ after", capsys.readouterr().err)
    recorded = read(tmp_path / "digits" / "parent" / "result.json")
    assert recorded["status"] == "failed"
    assert "after train epoch" in recorded["reason"]
    assert not list(tmp_path.rglob("results.csv"))
    # It is tried again, not taken for a parent.
    assert run(tmp_path, "--method=cl_rw", "--block=5") == 0


def test_a_trial_that_changes_a_frozen_layer_counts_as_failed(study, monkeypatch):
    fit = training.fit

    def careless(learner, *rest, **more):
        fitted = fit(learner, *rest, **more)
        frozen = learner.network.get_layer("fc1")
        frozen.kernel.assign_add(frozen.kernel * 1e-3)
        return fitted

    monkeypatch.setattr(training, "fit", careless)
    assert run(study.parent, "--method=cl_rw", "--block=5") == 1
    trial = study / "trials" / "cl_rw-block5-seed0"
    assert read(trial / "result.json")["reason"] == "the frozen layer fc1 has changed"
    assert not (trial / "model.keras").exists()
    assert [row.block for row in study_results.read_study(study).rows] == ["block4", "block4"]


def test_what_trials_read_depends_on_what_was_asked_for_not_on_what_is_left(
    tmp_path, monkeypatch, capsys
):
    """Alone, the second method would store no activations."""
    flags = ("--method=cl_rw,cm_rw", "--block=5", "--activation_dtype=float16")
    begin, retrain, read_types = Retraining.__init__, Retraining.run, []

    def noting(self, parent, block, dataset, source, settings):
        read_types.append(source.test.dtype)
        begin(self, parent, block, dataset, source, settings)

    def killed(self, method, *rest):
        if method == "cm_rw":
            raise KeyboardInterrupt
        return retrain(self, method, *rest)

    monkeypatch.setattr(Retraining, "__init__", noting)
    with monkeypatch.context() as patched:
        patched.setattr(Retraining, "run", killed)
        assert run(tmp_path, *flags) == 130
    capsys.readouterr()
    assert run(tmp_path, *flags) == 0
    assert "block5: computing its inputs and outputs" in capsys.readouterr().out
    assert read_types == [np.float16, np.float16]


def test_an_export_that_fails_leaves_table_figures_and_page(study, monkeypatch, capsys):
    other = exports.Format(
        file="model.tflite",
        write=lambda model, file: None,
        load=lambda file: lambda images: np.zeros((len(images), 10)) + 1e6,
    )
    shutil.rmtree(study / "figures")
    (study / "report.html").unlink()
    monkeypatch.setitem(exports.FORMATS, "litert", other)
    monkeypatch.setattr(
        exporting, "chosen", lambda folder, *_: folder / "parent" / "model.keras"
    )
    assert run(study.parent, "--method=cl_rw", "--block=4", "--export=litert") == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("run_triage.py: the export ")
    assert "model.tflite returns other values than the model" in printed.err
    assert "the parent reaches" in printed.out
    for file in ("report.html", "figures/accuracy.png"):
        assert (study / file).is_file()


def test_exports_are_made_outside_the_scope_of_replicas(study, monkeypatch):
    """TensorFlow can't run a SavedModel within it."""
    inside = []
    one_device = tf.distribute.OneDeviceStrategy("/cpu:0")
    monkeypatch.setattr(devices, "strategy", lambda replicas: one_device)
    monkeypatch.setattr(
        exporting, "chosen", lambda *_: inside.append(tf.distribute.has_strategy())
    )
    monkeypatch.setattr(
        exporting, "export", lambda *_: inside.append(tf.distribute.has_strategy())
    )
    assert run(study.parent, "--method=cl_rw", "--block=4", "--export=saved_model") == 0
    assert inside == [True, False]


def test_a_format_that_can_not_be_made_keeps_no_other_from_being_made(
    study, monkeypatch, capsys
):
    student = study / "trials" / "stn-block4-seed0" / "model.keras"
    plan = SimpleNamespace(
        settings=SimpleNamespace(export=("saved_model", "litert")),
        dataset=datasets.load("digits", image_size=32),
    )
    wrong = exports.Format(
        file="saved_model",
        write=lambda model, file: None,
        load=lambda file: lambda images: np.zeros((len(images), 10)) + 1e6,
    )
    monkeypatch.setitem(exports.FORMATS, "saved_model", wrong)
    shown = SimpleNamespace(say=print, step=lambda *_: None)
    with pytest.raises(ExportFailed, match="the export saved_model returns other values"):
        exporting.export(student, plan, shown)
    assert student.with_name("model.tflite").is_file()
    assert "model.tflite" in capsys.readouterr().out


def test_an_int8_export_says_its_accuracy(study, monkeypatch, capsys):
    """It is that of all 30 test images, and the 60 training images calibrate."""
    calibrated, parent = [], study / "parent" / "model.keras"
    right = exports.Format(
        file="model_int8.tflite",
        write=lambda model, file, images: file.touch() or calibrated.append(images.shape),
        load=lambda file: keras.models.load_model(parent).predict_on_batch,
    )
    monkeypatch.setitem(exports.FORMATS, "litert_int8", right)
    monkeypatch.setattr(
        exporting, "chosen", lambda folder, *_: folder / "parent" / "model.keras"
    )
    assert run(study.parent, "--method=cl_rw", "--block=4", "--export=litert_int8") == 0
    accuracy = study_results.read_study(study).baseline_accuracy
    file = parent.with_name("model_int8.tflite")
    assert calibrated == [(60, 8, 8, 1)]
    assert (
        f"exported in int8, accuracy {accuracy:.4f} (+0.0000 from the model): {file}"
        in capsys.readouterr().out
    )


def test_trials_are_presented_even_if_the_compression_is_refused(study, monkeypatch, capsys):
    def refuse(*_):
        raise InputError("--compress needs models")

    monkeypatch.setattr(compression, "run", refuse)
    (study / "report.html").unlink()
    flags = ("--block=4", "--compress", "--validation_fraction=0")
    assert run(study.parent, "--method=cl_rw,stn", *flags) == 2
    said = capsys.readouterr()
    assert "--compress needs models" in said.err
    assert "everything on one page" in said.out
    assert (study / "report.html").is_file()


def test_why_nothing_is_exported_is_said(study, capsys):
    """A parent of two epochs on 60 images has not learned."""
    assert run(study.parent, "--method=cl_rw,stn", "--block=4", "--export=litert") == 0
    assert "Nothing is exported. The parent has not learned" in capsys.readouterr().out
    assert not list(study.rglob("*.tflite"))


def test_an_export_that_fails_its_check_leaves_nothing(study, monkeypatch):
    student = study / "trials" / "stn-block4-seed0" / "model.keras"
    plan = SimpleNamespace(
        settings=SimpleNamespace(export=("litert",)),
        dataset=datasets.load("digits", image_size=32),
    )
    shown = SimpleNamespace(say=print, step=lambda *_: None)
    monkeypatch.setattr(exports, "TOLERANCE", -1.0)
    with pytest.raises(ExportFailed, match="the export model.tflite returns other values"):
        exporting.export(student, plan, shown)
    before = {"model.keras", "epochs.jsonl", "result.json", "correct.npy", "final_correct.npy"}
    assert {file.name for file in student.parent.iterdir()} == before
    monkeypatch.undo()
    exporting.export(student, plan, shown)
    assert {file.name for file in student.parent.iterdir()} == before | {"model.tflite"}
