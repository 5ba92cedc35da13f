"""A practitioner's own network and images, from the command line."""

import shutil

import keras
import numpy as np
import pytest

import run_triage
from deep_net_triage.network import blocks, flattening, surgery
from deep_net_triage.records import models, results, study_results
from tests.studies import read, snapshot


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A residual network within a Sequential one, and folders of pictures of two sizes."""
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 6)):
        for number, name in enumerate(("cat", "dog")):
            (folder / "photos" / split / name).mkdir(parents=True)
            for index in range(count):
                picture = generator.integers(0, 120, (20, 20 + index % 2, 3)) + 120 * number
                file = folder / "photos" / split / name / f"{index}.png"
                keras.utils.save_img(file, picture.astype(np.uint8), scale=False)
    keras.utils.set_random_seed(0)
    x = images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(x)
    for stage in "ab":
        shortcut = keras.layers.Conv2D(6, 1, strides=2, name=f"{stage}_shortcut")(x)
        x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name=f"{stage}_conv1")(x)
        x = keras.layers.ReLU(name=f"{stage}_relu")(x)
        x = keras.layers.Conv2D(6, 3, padding="same", name=f"{stage}_conv2")(x)
        x = keras.layers.Add(name=f"{stage}_add")([x, shortcut])
        x = keras.layers.ReLU(name=f"{stage}_out")(x)
    body = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="body")
    head = keras.layers.Dense(2, activation="softmax", name="classes")
    scale = keras.layers.Rescaling(1 / 255)
    model = keras.Sequential([keras.Input((16, 16, 3)), scale, body, head])
    model.save(folder / "own.keras")
    return folder


def run(own, *arguments):
    typed = [
        f"--parent={own}/own.keras",
        f"--image_dir={own}/photos",
        f"--output_dir={own}/runs",
    ]
    typed += ["--recipe=paper", "--nocontrol", "--batch_size=8", "--epochs=1"]
    return run_triage.main([*typed, *arguments])


def test_blocks_are_listed_and_nothing_is_written(own, capsys):
    before = snapshot(own)
    assert run(own, "--list_blocks") == 0
    printed = capsys.readouterr().out
    assert "2 blocks" in printed
    assert "a_shortcut to a_out" in printed or "a_conv1 to a_out" in printed
    assert "not a block: stem to stem: it has fewer than two convolutions" in printed
    assert snapshot(own) == before
    assert run(own, "--list_blocks", "--block=b_conv1:b_add") == 2
    printed = capsys.readouterr().err
    assert "b_add also receives what b_shortcut returns" in printed


def test_a_study_of_it(own, capsys):
    assert run(own, "--method=cl_mw,stn_cm", "--distill_epochs=1", "--seeds=0,1") == 0
    printed = capsys.readouterr().out
    assert "blocks, the most compressible first, with 95 % intervals" in printed
    folder = own / "runs" / "photos"
    study = study_results.read_study(folder)
    assert len(study.rows) == 2 * 2 * 2
    parent = models.load(folder / "parent" / "model.keras")
    given = keras.models.load_model(own / "own.keras")
    images = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(parent(images), given(images), rtol=1e-5)
    for row in study.rows:
        assert row.bypassed_accuracy is None
        assert 0 <= row.reinitialized_accuracy <= 1
        assert -1 <= row.similarity <= 1.0001
        assert row.bytes < row.parent_bytes
        right = study.correct[row.method, row.block, row.seed]
        assert right.mean() == pytest.approx(row.chosen_accuracy)
    page = (folder / "report.html").read_text()
    assert "block2" in page
    described = read(folder / "study.json")
    assert [refused["first"] for refused in described["refused"]] == ["stem"]
    assert described["classes"] == 2


def test_held_out_images_choose_the_epoch(own, capsys):
    arguments = ("--method=cm_mw", "--block=2", "--validation_fraction=0.25", "--overwrite")
    assert run(own, *arguments, "--epochs=3", f"--output_dir={own}/held_out") == 0
    capsys.readouterr()
    folder = own / "held_out" / "photos"
    (row,) = study_results.read_study(folder).rows
    records = results.read_epochs(folder / "trials" / "cm_mw-block2-seed0")
    held_out = [record.held_out_accuracy for record in records]
    assert all(accuracy * 4 == round(accuracy * 4) for accuracy in held_out)  # of 4 images
    assert row.chosen_epoch == held_out.index(max(held_out)) + 1
    assert row.chosen_accuracy == records[row.chosen_epoch - 1].val_accuracy
    settings = read(folder / "study.json")["settings"]
    assert (settings["train_images"], settings["validation_fraction"]) == (12, 0.25)


def test_copies_of_a_picture_on_both_sides_of_what_is_held_out_are_told(own, tmp_path, capsys):
    shutil.copytree(own / "photos", tmp_path / "photos")
    for name in ("cat", "dog"):
        for number in range(1, 8):
            folder = tmp_path / "photos" / "train" / name
            shutil.copy(folder / "0.png", folder / f"{number}.png")
    flags = (f"--image_dir={tmp_path}/photos", "--validation_fraction=0.25", "--list_blocks")
    assert run(own, *flags) == 0
    assert "the training images include 4 of 4 validation images" in capsys.readouterr().out


def test_results_of_pictures_that_were_replaced_stop_the_study(own, tmp_path, capsys):
    shutil.copytree(own / "photos", tmp_path / "photos")
    flags = (f"--image_dir={tmp_path}/photos", f"--output_dir={tmp_path}/runs")
    assert run(own, "--method=cl_mw", "--block=2", *flags) == 0
    (tmp_path / "moved").mkdir()
    shutil.copytree(tmp_path / "photos", tmp_path / "moved" / "photos")
    capsys.readouterr()
    moved = (f"--image_dir={tmp_path}/moved/photos", f"--output_dir={tmp_path}/runs")
    assert run(own, "--method=cl_mw", "--block=2", *moved) == 0
    assert "block2 cl_mw seed 0  is already finished" in capsys.readouterr().out
    black = np.zeros((20, 20, 3), np.uint8)
    keras.utils.save_img(tmp_path / "photos/train/dog/0.png", black, scale=False)
    capsys.readouterr()
    assert run(own, "--method=cl_mw", "--block=2", *flags) == 2
    assert "holds a parent with other settings (images_digest: " in capsys.readouterr().err


def test_a_model_of_equal_weights_that_computes_something_else_is_another_parent(
    own, tmp_path, capsys
):
    """A user who saw a bad baseline puts the preprocessing in front, under the same name."""
    shutil.copytree(own, tmp_path / "own")
    flags = ("--method=cl_mw", "--block=2", "--overwrite", f"--output_dir={tmp_path}/runs")
    assert run(tmp_path / "own", *flags) == 0
    model = keras.models.load_model(own / "own.keras")
    layers = [keras.Input((16, 16, 3)), keras.layers.Rescaling(20.0), *model.layers]
    keras.Sequential(layers).save(tmp_path / "own" / "own.keras")
    capsys.readouterr()
    assert run(tmp_path / "own", *flags[:2], flags[3]) == 2
    assert "equal weights, but other layers without weights" in capsys.readouterr().err
    assert run(tmp_path / "own", *flags) == 0
    assert "the baseline (given)" in capsys.readouterr().out
    assert run(tmp_path / "own", *flags) == 0
    assert "the baseline (kept from an earlier run)" in capsys.readouterr().out


def test_a_model_of_other_weights_under_the_same_name_is_another_parent(own, tmp_path, capsys):
    """Its outputs hardly differ: by them alone it would pass for the parent of before."""
    shutil.copytree(own, tmp_path / "own")
    flags = ("--method=cl_mw", "--block=2", f"--output_dir={tmp_path}/runs")
    assert run(tmp_path / "own", *flags, "--overwrite") == 0
    model = keras.models.load_model(own / "own.keras")
    last = model.trainable_variables[-1]
    last.assign(last + 1e-4)
    model.save(tmp_path / "own" / "own.keras")
    capsys.readouterr()
    assert run(tmp_path / "own", *flags) == 2
    assert "holds a parent with other settings (weights_sha256: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset=digits"], "--image_dir and --dataset can't be combined"),
        (["--image_dir=/nowhere"], "--image_dir=/nowhere is not a folder"),
        (["--class_names={own}/nothing.txt"], "nothing.txt"),
        (["--validation_fraction=0.01"], "--validation_fraction=0.01 of 16 training images"),
        (
            ["--export=onnx"],
            "'onnx' is not a format; allowed: litert, litert_int8, saved_model",
        ),
        (["--compress", "--nosave_models"], "--compress and --export need saved models"),
        (["--block=stem:nothing", "--output_dir={own}/new"], "no layer nothing"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(own, arguments, expected, capsys):
    before = snapshot(own)
    assert run(own, *(argument.format(own=own) for argument in arguments)) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert message.count("\n") == 1
    assert snapshot(own) == before


def test_a_legacy_file_is_the_same_model(own, capsys):
    model = keras.models.load_model(own / "own.keras")
    model.save(own / "own.h5")
    assert run(own, "--list_blocks", f"--parent={own}/own.h5") == 0
    assert "2 blocks" in capsys.readouterr().out
    images = np.random.default_rng(2).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    loaded = models.load(own / "own.h5")
    np.testing.assert_allclose(loaded(images), model(images), rtol=1e-5)


def test_a_shortcut_around_a_compressed_branch_passes_on_what_it_did(own):
    parent = flattening.flat(keras.models.load_model(own / "own.keras"))
    block = blocks.named(parent, "b_conv1", "b_conv2")
    student = surgery.compress(parent, block, initializer="mean", seed=0)
    names = ("b_shortcut", block.compressed_layers[-1], "b_add")
    outputs = [student.get_layer(name).output for name in names]
    images = np.random.default_rng(2).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    shortcut, branch, added = keras.Model(student.inputs[0], outputs)(images, training=False)
    expected = keras.Model(parent.inputs[0], parent.get_layer("b_shortcut").output)(images)
    np.testing.assert_allclose(shortcut, expected, rtol=1e-5)
    np.testing.assert_allclose(added, shortcut + branch, rtol=1e-5)
    assert np.abs(branch).max() > 0
