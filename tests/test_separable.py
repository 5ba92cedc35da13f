"""`--replacement=separable`: a depthwise 3x3 and a pointwise convolution instead of one 3x3."""

import keras
import numpy as np
import pytest

import deep_net_triage as dnt
from deep_net_triage.errors import InputError
from deep_net_triage.learning import alignment
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_model
from deep_net_triage.methods import METHODS, TABLE
from deep_net_triage.network import blocks, inventory, surgery
from deep_net_triage.network.block import REPLACEMENTS
from deep_net_triage.network.blocks import find_blocks
from deep_net_triage.network.halves import halves
from tests.studies import read
from tests.studies import run as run_study
from tests.test_retraining import moved, run

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 2)).astype(np.float32)


def student_of(parent, block, initializer="glorot_uniform", seed=0):
    return surgery.compress(parent, block, initializer=initializer, seed=seed)


def test_it_computes_a_depthwise_and_a_pointwise_convolution(parent):
    block = find_blocks(parent, "separable")[0]
    student = student_of(parent, block)
    depthwise, pointwise = block.kernels_in(student)
    assert (depthwise.shape, pointwise.shape) == ((3, 3, 2, 1), (1, 1, 2, 3))
    received = np.pad(IMAGES, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(received, (3, 3), axis=(1, 2))
    filtered = np.einsum("bhwcij,ijc->bhwc", windows, depthwise.numpy()[..., 0])
    expected = np.einsum("bhwc,cf->bhwf", filtered, pointwise.numpy()[0, 0])
    convolution = student.get_layer(block.compressed_layers[0])
    np.testing.assert_allclose(convolution(IMAGES), expected, rtol=1e-4, atol=1e-3)
    names = [layer.name for layer in student.layers]
    at = names.index(block.compressed_layers[0])
    assert names[at : at + 4] == [*block.compressed_layers, "b1_pool"]


def test_its_cost_is_that_of_both(parent):
    described = inventory.of_blocks(parent, find_blocks(parent, "separable"))[1]
    # Of 3 channels, to 4 filters, on 4 x 4 pixels; a bias and four numbers of the batch norm.
    assert described.compressed_macs == 16 * (9 * 3 + 3 * 4)
    assert described.compressed_parameters == 9 * 3 + 3 * 4 + 4 + 16


def test_random_kernels_have_kerass_ranges_and_are_drawn_apart():
    images = keras.Input((4, 4, 40))
    x = images
    for name in "ab":
        x = keras.layers.Conv2D(60, 3, padding="same", name=name)(x)
    model = keras.Model(images, keras.layers.Flatten()(x))
    block = find_blocks(model, "separable")[0]
    depthwise, pointwise = (k.numpy() for k in block.kernels_in(student_of(model, block)))
    for kernel, fans in ((depthwise, 9 * 40 + 9 * 1), (pointwise, 40 + 60)):
        limit = np.sqrt(6 / fans)
        assert 0.97 * limit < np.abs(kernel).max() <= limit
        np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.1)
    drawn = depthwise.ravel(), pointwise.ravel()[: depthwise.size]
    assert abs(np.corrcoef(*drawn)[0, 1]) < 0.2
    again, other = (block.kernels_in(student_of(model, block, seed=s)) for s in (0, 1))
    for kernel, same, another in zip((depthwise, pointwise), again, other, strict=True):
        np.testing.assert_array_equal(kernel, same.numpy())
        assert not np.array_equal(kernel, another.numpy())


@pytest.mark.parametrize("number", [0, 1])
def test_from_the_mean_it_starts_as_the_convolution_does(parent, number):
    plain, separable = (
        student_of(parent, find_blocks(parent, kind)[number], "mean") for kind in REPLACEMENTS
    )
    expected = plain.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(
        separable.predict(IMAGES, verbose=0), expected, rtol=1e-4, atol=1e-4
    )


def test_all_methods_train_both_kernels(toy_dataset, small_settings, parent):
    block = find_blocks(parent, "separable")[1]
    settings = small_settings(learning_rate=0.01, replacement="separable")
    source = for_model(toy_dataset, settings)
    bench = Retraining(parent, block, toy_dataset, source, settings)
    for method, row in METHODS.items():
        start = student_of(parent, block, row.initializer)
        run(bench, method)
        changed = moved(start, bench.student)
        kernels = {"depthwise_kernel", "pointwise_kernel", "bias"}
        assert changed[block.compressed_layers[0]] == kernels, method


def test_alignment_rearranges_the_pointwise_filters(parent, toy_dataset):
    for _ in range(40):
        parent(toy_dataset.train.images, training=True)
    block, images = find_blocks(parent, "separable")[1], toy_dataset.train.images
    student = student_of(parent, block)
    convolution = student.get_layer(block.compressed_layers[0])
    depthwise, drawn = (kernel.numpy() for kernel in block.kernels_in(student))
    before = alignment.correlations(parent, block, convolution, images)
    alignment.align(student, parent, block, images)
    after = alignment.correlations(parent, block, convolution, images)
    assert np.all(np.diag(after) > 0)
    assert np.trace(after) > np.abs(np.trace(before))
    same, aligned = (kernel.numpy() for kernel in block.kernels_in(student))
    np.testing.assert_array_equal(same, depthwise)
    np.testing.assert_array_equal(
        np.sort(np.abs(aligned), axis=-1), np.sort(np.abs(drawn), axis=-1)
    )


def test_it_determines_the_trials_that_compress(small_settings):
    plain, separable = (small_settings(replacement=kind) for kind in REPLACEMENTS)
    differing = {n for n in TABLE if plain.of_trial(n) != separable.of_trial(n)}
    assert differing == set(METHODS)
    # So that results from before it was a flag stay valid.
    assert "replacement" not in plain.of_trial("cl_mw")


def test_a_study_does_not_mix_it_with_the_other(tmp_path, capsys):
    flags = ("--method=cl_mw", "--block=4", "--nocontrol")
    assert run_study(tmp_path, *flags, "--replacement=separable") == 0
    study = tmp_path / "digits"
    trial = study / "trials" / "cl_mw-block4-seed0"
    assert read(trial / "result.json")["settings"]["replacement"] == "separable"
    assert read(study / "study.json")["settings"]["replacement"] == "separable"
    model = keras.models.load_model(trial / "model.keras", compile=False)
    convolution = model.get_layer("block4_compressed_conv")
    assert type(convolution) is keras.layers.SeparableConv2D
    assert run_study(tmp_path, *flags) != 0
    assert "replacement: separable, now not set" in "".join(capsys.readouterr())


def test_a_mean_for_each_channel_is_refused(small_settings):
    with pytest.raises(InputError, match="--mean_over=channel needs --replacement=conv"):
        small_settings(replacement="separable", mean_over="channel")


def depthwise_stage(widest):
    layers = keras.layers
    x = images = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 1, name="stem")(x)
    for name in "ab":
        x = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(x)
        x = layers.Conv2D(widest, 1, name=f"{name}_pointwise")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    for name in "cd":
        x = layers.Conv2D(16, 3, padding="same", name=name)(x)
    return keras.Model(images, layers.Flatten()(x))


def test_it_is_recommended_for_depthwise_stages():
    model = depthwise_stage(16)
    block = blocks.named(model, "a_depthwise", "b_pointwise")
    # Twice 9 * 16 + 16 * 16 for a pixel, where 9 * 16 * 16 or half of it come instead.
    every = (block, *find_blocks(model)[1:])
    assert inventory.recommended(model, every) == [
        "--replacement=separable is recommended: a 3x3 convolution costs more than what it "
        "would replace (a_depthwise-b_pointwise); a separable one costs less"
    ]
    assert inventory.recommended(model, find_blocks(model)[1:]) == []
    separable = blocks.named(model, "a_depthwise", "b_pointwise", "separable")
    assert inventory.recommended(model, [separable]) == []


def test_halves_of_a_depthwise_stage_are_separable_too():
    model = depthwise_stage(16)
    (half,) = halves(model, blocks.named(model, "a_depthwise", "b_pointwise", "separable"))
    assert half.replacement == "separable"
    # One 3x3 convolution would save nothing in any half.
    assert halves(model, blocks.named(model, "a_depthwise", "b_pointwise")) == ()


def test_a_stride_that_differs_along_the_axes_is_refused():
    x = images = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=(2, 1), padding="same", name="a")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", name="b")(x)
    model = keras.Model(images, keras.layers.Flatten()(x))
    assert find_blocks(model)[0].shape.strides == (2, 1)
    assert inventory.recommended(model, find_blocks(model)) == []
    with pytest.raises(InputError, match="its stride is 2 x 1, and TensorFlow's depthwise"):
        find_blocks(model, "separable")


def test_the_library_replaces_by_it(parent):
    block = dnt.find_blocks(parent, replacement="separable")[0]
    by_name = dnt.replace_block(parent, "block1", replacement="separable")
    for student in (dnt.replace_block(parent, block), by_name):
        assert isinstance(
            student.get_layer("block1_compressed_conv"), keras.layers.SeparableConv2D
        )
    with pytest.raises(InputError, match="replacement=other: allowed: conv, separable"):
        dnt.find_blocks(parent, replacement="other")
