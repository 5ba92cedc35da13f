"""Random filters are put where the parent has similar maps, before a trial begins."""

import itertools

import keras
import numpy as np
import pytest

from deep_net_triage.commands.settings import GIB
from deep_net_triage.learning import alignment
from deep_net_triage.methods import METHODS
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import find_blocks
from tests.test_resuming import Killed, dying, going_on
from tests.test_retraining import assert_same, retraining, run
from tests.toys import dtype_policy, toy_images, toy_parent


@pytest.fixture
def parent(toy_dataset):
    """A toy parent without dead maps: its batch norms have the statistics of the images."""
    toy = toy_parent()
    for _ in range(40):
        toy(toy_dataset.train.images, training=True)
    return toy


def drawn(parent, block, seed=0):
    return surgery.compress(parent, block, initializer="glorot_uniform", seed=seed)


def convolution_of(student, block):
    return student.get_layer(block.compressed_layers[0])


def by_numpy(parent, block, kernel, images):
    """Correlations of maps, by a 3x3 convolution of stride 1 with a border of zeros."""
    tensors = block.received_by(parent), parent.get_layer(block.layers[-1]).output
    received, returned = (
        keras.Model(parent.inputs[0], tensor)(images.numpy().astype("float32")).numpy()
        for tensor in tensors
    )
    padded = np.pad(received.astype(np.float64), [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    maps = np.einsum("bhwcij,ijcf->bhwf", windows, kernel)
    filters = kernel.shape[-1]
    columns = [array.reshape(-1, filters) for array in (maps, returned)]
    return np.corrcoef(*columns, rowvar=False)[:filters, filters:]


# The first block receives the images themselves.
@pytest.mark.parametrize("number", [0, 1])
def test_correlations_are_numpys(number, parent, toy_dataset, monkeypatch):
    # Ten images at once: 27 take three batches.
    monkeypatch.setattr(alignment.predictions, "PIXELS_AT_ONCE", 640)
    block, images = find_blocks(parent)[number], toy_dataset.train.images
    convolution = convolution_of(drawn(parent, block), block)
    found = alignment.correlations(parent, block, convolution, images)
    expected = by_numpy(parent, block, convolution.kernel.numpy(), images)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_arrangements_is_taken(number, seed, parent, toy_dataset):
    block, images = find_blocks(parent)[number], toy_dataset.train.images
    student = drawn(parent, block, seed)
    convolution = convolution_of(student, block)
    before = {weight.path: weight.numpy() for weight in student.weights}
    kernel = convolution.kernel.numpy()
    correlation = by_numpy(parent, block, kernel, images)
    places = range(kernel.shape[-1])
    best = max(
        itertools.permutations(places),
        key=lambda filters: sum(abs(correlation[f, p]) for p, f in enumerate(filters)),
    )
    expected = [np.sign(correlation[f, p]) * kernel[..., f] for p, f in enumerate(best)]

    alignment.align(student, parent, block, images)

    np.testing.assert_array_equal(convolution.kernel.numpy(), np.stack(expected, axis=-1))
    for weight in student.weights:
        if weight is not convolution.kernel:
            np.testing.assert_array_equal(weight.numpy(), before[weight.path])


def test_a_parent_in_float64_is_compared_with_filters_in_float32(toy_dataset):
    with dtype_policy("float64"):
        parent = toy_parent()
    block, images = find_blocks(parent)[1], toy_dataset.train.images
    convolution = convolution_of(drawn(parent, block), block)
    assert (convolution.kernel.dtype, parent.dtype) == ("float32", "float64")
    found = alignment.correlations(parent, block, convolution, images)
    expected = by_numpy(parent, block, convolution.kernel.numpy(), images)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_map_that_is_the_same_everywhere_correlates_with_none(parent, toy_dataset):
    block = find_blocks(parent)[0]
    dead = parent.get_layer(block.batchnorms[-1])
    dead.gamma.assign(dead.gamma.numpy() * [1, 0, 1])
    dead.beta.assign([0.5, -1, 0.5])
    convolution = convolution_of(drawn(parent, block), block)
    found = alignment.correlations(parent, block, convolution, toy_dataset.train.images)
    assert np.all(found[:, 1] == 0)
    assert np.all(found[:, [0, 2]] != 0)


def test_images_in_the_order_of_their_classes_are_read_from_all_over(parent, monkeypatch):
    monkeypatch.setattr(alignment, "IMAGES_COMPARED", 20)
    block, images = find_blocks(parent)[0], toy_images(40, 1).train.images.numpy()
    images[:20] = 0
    convolution = convolution_of(drawn(parent, block), block)
    black = alignment.correlations(parent, block, convolution, np.zeros_like(images))
    found = alignment.correlations(parent, block, convolution, images)
    assert np.abs(found - black).max() > 0.01


def test_random_starts_are_aligned_and_mean_ones_are_not(
    parent, toy_dataset, small_settings, monkeypatch
):
    aligned, align = [], alignment.align

    def watched(student, *others):
        before = student.get_weights()
        align(student, *others)
        aligned.append(any(map(np.any, map(np.not_equal, before, student.get_weights()))))

    monkeypatch.setattr(alignment, "align", watched)
    run(retraining(parent, toy_dataset, small_settings()), "cl_rw")
    assert aligned == []
    bench = retraining(parent, toy_dataset, small_settings(block_start="aligned"))
    for name, row in METHODS.items():
        aligned.clear()
        run(bench, name)
        assert aligned == [True] * (row.initializer == "glorot_uniform")


@pytest.mark.usefixtures("float64")
def test_an_aligned_trial_reads_images_or_activations_and_may_be_killed(
    toy_dataset, small_settings, tmp_path
):
    settings = small_settings(block_start="aligned", epochs=2, distill_epochs=1)
    fed, kept, later = (
        retraining(toy_parent(), toy_dataset, settings, 1, tmp_path, **limits)
        for limits in ({}, {"memory": GIB}, {"memory": GIB})
    )
    expected = run(fed, "stn", seed=3)
    assert_same(run(kept, "stn", seed=3), expected, tolerance=1e-8)
    for epochs in (1, 2):
        with pytest.raises(Killed):
            kept.run("stn", 3, dying(tmp_path / str(epochs), epochs))
        journal = going_on(tmp_path / str(epochs))
        trained = later.run("stn", 3, journal)
        found = (journal.epochs, trained, trained.model.get_weights())
        assert_same(found, expected, tolerance=1e-8)
