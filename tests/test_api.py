import contextlib
import io
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import config

import deep_net_triage as dnt
from deep_net_triage import devices, steps
from deep_net_triage.errors import InputError
from deep_net_triage.images import in_memory
from deep_net_triage.progress import Progress
from tests.toys import dtype_policy, toy_arrays

ONE_TRIAL = {"method": "cl_mw", "recipe": "paper", "block": "2", "epochs": 1}


def test_blocks_of_a_model_and_one_of_them_replaced(parent):
    wrapped = keras.Sequential([keras.Input((8, 8, 2)), parent])
    found = dnt.find_blocks(wrapped)
    assert [block.name for block in found] == ["block1", "block2"]
    for block in (found[1], "block2", "2", 2, "b2_conv1:b2_relu3"):
        student = dnt.replace_block(wrapped, block)
        assert student.count_params() < wrapped.count_params()
        assert student.output_shape == (None, 3)
    with pytest.raises(InputError, match="^block=block3 is not a block"):
        dnt.replace_block(wrapped, "block3")


def test_a_name_that_can_not_name_a_folder_is_refused_by_its_own_name(parent):
    with pytest.raises(InputError, match="^name='my study': allowed: letters"):
        dnt.triage(parent, toy_arrays(24), toy_arrays(12), name="my study")


def test_triage_of_arrays_and_of_tf_data(parent, tmp_path, capsys):
    train, test = toy_arrays(24), toy_arrays(12)
    flags = {
        "method": ["cl_mw", "cm_mw"],
        "recipe": "paper",
        "epochs": 1,
        "batch_size": 8,
        "output_dir": tmp_path,
    }
    study = dnt.triage(parent, train, test, name="arrays", block="block2", **flags)
    (call,) = study.commands
    assert call.command == (
        "deep_net_triage.triage(model, train, test, max_drop=0.02, name='arrays', "
        "block='block2', method=['cl_mw', 'cm_mw'], recipe='paper', epochs=1, batch_size=8, "
        f"output_dir={tmp_path!r})"
    )
    assert {(row.method, row.block) for row in study.rows} == {
        ("cl_mw", "block2"),
        ("cm_mw", "block2"),
    }
    right = parent.predict(test[0], verbose=0).argmax(axis=1) == test[1]
    assert study.baseline_accuracy == pytest.approx(right.mean())
    np.testing.assert_array_equal(study.parent_correct, right)
    assert (tmp_path / "arrays" / "report.html").is_file()

    batched = [tf.data.Dataset.from_tensor_slices(split) for split in (train, test)]
    again = dnt.triage(
        parent, batched[0].batch(5), batched[1], name="tf_data", block="block2", **flags
    )
    assert [row.max_accuracy for row in again.rows] == [row.max_accuracy for row in study.rows]
    capsys.readouterr()


def test_what_does_not_fit_is_refused(parent, tmp_path):
    train, test = toy_arrays(24), toy_arrays(12)
    with pytest.raises(InputError, match="epochs"):
        dnt.triage(parent, train, test, epochs=-1, output_dir=tmp_path)
    with pytest.raises(InputError, match="images of shape .24, 8, 8. with labels"):
        dnt.triage(parent, (train[0][..., 0], train[1]), test, output_dir=tmp_path)
    with pytest.raises(InputError, match="not finite"):
        dnt.triage(parent, (train[0] * np.nan, train[1]), test, output_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_data_set_without_end_is_refused(parent):
    endless = tf.data.Dataset.from_tensor_slices(toy_arrays(24)).repeat().batch(5)
    with pytest.raises(InputError, match="test: the data set repeats without end"):
        dnt.triage(parent, toy_arrays(24), endless)


def without_length(*arrays):
    """A data set that a generator makes: nobody knows its length before its end."""
    specs = tuple(tf.TensorSpec(array.shape[1:], array.dtype) for array in arrays)
    return tf.data.Dataset.from_generator(
        lambda: zip(*arrays, strict=True), output_signature=specs
    )


@pytest.mark.parametrize(("batch", "counts"), [(10, [0, 10, 20, 24]), (None, list(range(25)))])
def test_reading_a_data_set_reports_how_many_images_it_has_read(batch, counts, monkeypatch):
    monkeypatch.setattr(steps, "SECONDS_BETWEEN_REPORTS", 0)
    examples, reported = without_length(*toy_arrays(24)), []
    train = examples.batch(batch) if batch else examples
    splits = {"train": train, "test": toy_arrays(4)}
    read = in_memory.dataset("toy", splits, 3, None, reported.append)
    np.testing.assert_array_equal(read.train.images, toy_arrays(24)[0])
    assert {step.work for step in reported} == {"reading train images"}
    assert [step.done for step in reported] == counts


def test_a_data_set_of_no_pairs_is_refused_before_it_is_read(parent):
    images, labels = toy_arrays(24)
    weighted = without_length(images, labels, labels)
    weighted.as_numpy_iterator = None  # to read it would fail
    with pytest.raises(InputError, match="train must be a data set of .image, label. pairs"):
        dnt.triage(parent, weighted, toy_arrays(24))
    with pytest.raises(InputError, match="train must not be empty"):
        dnt.triage(parent, without_length(images, labels).take(0), toy_arrays(24))


@pytest.mark.parametrize(("batch", "message"), [(5, "images of shape"), (None, "of shapes")])
def test_images_of_a_data_set_that_do_not_fit_together_are_refused(batch, message, parent):
    """Grey images without an axis for it in batches, the last one smaller; and two sizes."""
    images, labels = toy_arrays(24)
    if batch:
        odd = tf.data.Dataset.from_tensor_slices((images[..., 0], labels)).batch(batch)
    else:
        sizes = tf.data.Dataset.from_tensor_slices(([8, 9], labels[:2]))
        odd = sizes.map(lambda side, label: (tf.zeros((side, side, 2)), label))
    with pytest.raises(InputError, match=message):
        dnt.triage(parent, odd, toy_arrays(24))


@pytest.mark.parametrize("train", [toy_arrays(24)[0], (*toy_arrays(24), np.ones(24)), None])
def test_what_is_no_pair_is_refused(train, parent):
    with pytest.raises(InputError, match="train is not a pair of images and labels"):
        dnt.triage(parent, train, toy_arrays(24))


@pytest.mark.parametrize("batch", [None, 5])
def test_labels_of_a_data_set_that_are_words_are_refused(batch, parent):
    images, _ = toy_arrays(24)
    words = tf.data.Dataset.from_tensor_slices((images, ["cat"] * 24))
    with pytest.raises(InputError, match="train: labels of type .*; allowed: integers"):
        dnt.triage(parent, words.batch(batch) if batch else words, toy_arrays(24))


def test_a_label_with_an_axis_of_its_own_makes_no_batch(parent):
    images, labels = toy_arrays(24)
    single = tf.data.Dataset.from_tensor_slices((images, labels[:, None]))
    with pytest.raises(
        InputError, match=r"shape \(24, 8, 8, 2\) with labels of shape \(24, 1\)"
    ):
        dnt.triage(parent, single, toy_arrays(24))


def test_the_public_names_are_listed_before_they_are_imported():
    assert set(dir(dnt)) == {
        "CompressOptions",
        "Compressed",
        "InputError",
        "Options",
        "compress_within",
        "find_blocks",
        "replace_block",
        "triage",
    }
    for name in dir(dnt):
        assert getattr(dnt, name).__doc__
    assert not hasattr(dnt, "compress")


def two_blocks(images):
    """What two blocks and a dense layer make of images."""
    x = images
    for name, filters in (("a", 3), ("b", 4)):
        for number in (1, 2):
            x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}{number}")(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Dense(3)(x)


def model_of(shape):
    images = keras.Input(shape)
    return keras.Model(images, two_blocks(images))


def subclassed():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, images):
            return self.dense(images)

    return Own()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: keras.Sequential([keras.layers.Conv2D(3, 3)]), "shape of its images|built"),
        (subclassed, "subclassed"),
        (lambda: keras.Model(*_two_outputs()), "2 outputs"),
    ],
)
def test_a_model_that_can_not_be_triaged_is_refused(model, message, tmp_path):
    with pytest.raises(InputError, match=message):
        dnt.triage(model(), toy_arrays(24), toy_arrays(12), output_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def _two_outputs():
    images = keras.Input((8, 8, 2))
    flat = keras.layers.Flatten()(images)
    return images, [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images: (300 * images).astype(np.int32), "pixels from 0 to .* of type int32"),
        (lambda images: (900 * images).astype(np.uint16), "of type uint16"),
        (lambda images: (-9 * images - 1).astype(np.int8), "pixels from -"),
        (lambda images: images.astype(bool), "pixels of type bool"),
        (lambda images: images[:0], "one example or more"),
        (lambda images: images.tolist(), None),
        (lambda images: (80 * images).astype(np.int64), None),
    ],
)
def test_pixels_that_would_wrap_are_refused_and_lists_are_taken(
    parent, change, message, tmp_path
):
    images, labels = toy_arrays(24)
    train = change(images), labels[: len(change(images))]
    flags = {**ONE_TRIAL, "output_dir": tmp_path}
    if message:
        with pytest.raises(InputError, match=message):
            dnt.triage(parent, train, toy_arrays(12), **flags)
        assert not list(tmp_path.iterdir())
    else:
        assert len(dnt.triage(parent, train, toy_arrays(12), **flags).rows) == 1


def test_nothing_is_written_before_a_refusal(parent, tmp_path):
    with pytest.raises(InputError, match="^block=9 is not a block"):
        dnt.triage(parent, toy_arrays(24), toy_arrays(12), block="9", output_dir=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("train_shape", "test_shape"), [((12, 14, 3), (12, 14, 3)), ((16, 16, 3), (9, 9, 1))]
)
def test_images_of_another_size_are_resized_and_the_model_stays_as_it_is(
    train_shape, test_shape, tmp_path
):
    generator = np.random.default_rng(0)
    model = model_of((16, 16, 3))

    def split(count, shape):
        images = generator.integers(0, 256, (count, *shape), dtype=np.uint8)
        return images, np.arange(count) % 3

    splits = split(12, train_shape), split(6, test_shape)
    study = dnt.triage(
        model, *splits, method="cl_mw", warmup_epochs=0, epochs=1, output_dir=tmp_path
    )
    # 3 x 3 kernels: 16 x 16 places of 3 to 3 and 3 to 3, 8 x 8 of 3 to 4 and 4 to 4, 4 to 3.
    macs = 9 * (256 * (9 + 9) + 64 * (12 + 16)) + 12
    assert {row.parent_macs for row in study.rows} == {macs}


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (lambda model: dnt.find_blocks("x"), "a str is not a model"),
        (lambda model: dnt.replace_block("x", "block1"), "a str is not a model"),
        (lambda model: dnt.replace_block(model, "block1", initializer="zeros"), "zeros"),
        (
            lambda model: dnt.replace_block(model, dnt.find_blocks(model_of((16, 16, 3)))[0]),
            "block1 is not a block",
        ),
    ],
)
def test_what_is_no_model_block_or_initializer_is_refused(parent, blocks, message):
    with pytest.raises(InputError, match=message):
        blocks(parent)


def test_results_of_other_images_are_not_returned(parent, tmp_path):
    (images, labels), test = toy_arrays(24), toy_arrays(12)
    flags = {**ONE_TRIAL, "output_dir": tmp_path}
    first = dnt.triage(parent, (images, labels), test, **flags)
    assert dnt.triage(parent, (images, labels), test, **flags).rows == first.rows
    corrected = images.copy()
    corrected[5] += 0.25
    relabelled = labels.copy()
    relabelled[0] = 2
    for train in ((corrected, labels), (images, relabelled)):
        with pytest.raises(InputError, match="images_digest: .*, now "):
            dnt.triage(parent, train, test, **flags)
    with pytest.raises(InputError, match="images_digest"):
        dnt.triage(parent, (images, labels), (test[0] + 1, test[1]), **flags)


def test_random_states_of_the_caller_are_restored():
    """All three are seeded, as training does, though the caller is deterministic already."""

    tf.config.experimental.enable_op_determinism()
    try:
        keras.utils.set_random_seed(5)
        state = random.getstate()
        with devices.restored():
            keras.utils.set_random_seed(3)
            tf.random.set_seed(0)
        assert random.getstate() == state
        drawn = np.random.rand()
        np.random.seed(5)
        assert drawn == np.random.rand()
        assert context.global_seed() == 5
        keras.utils.set_random_seed(5)
        expected = [float(keras.random.uniform(())) for _ in range(2)]
        keras.utils.set_random_seed(5)
        assert float(keras.random.uniform(())) == expected[0]
        with devices.restored():
            keras.random.uniform(())
            keras.utils.set_random_seed(3)
        assert float(keras.random.uniform(())) == expected[1]
    finally:
        config.disable_op_determinism()


class Watching(Progress):
    """Notes, at each message, whether operations are deterministic, and the default dtype."""

    def __init__(self):
        super().__init__(io.StringIO())
        self.seen = set()

    def say(self, message):
        self.seen.add((config.is_op_determinism_enabled(), keras.config.dtype_policy().name))
        super().say(message)


@pytest.mark.parametrize(
    ("block", "ends"),
    [
        ("2", contextlib.nullcontext()),
        ("9", pytest.raises(InputError, match="block=9 is not a block")),
    ],
)
def test_what_the_caller_had_set_is_restored(block, ends, parent, tmp_path):
    tf.random.set_seed(7)
    options = {"method": "cl_mw", "recipe": "paper", "epochs": 1, "batch_size": 8}
    options |= {"deterministic": True, "precision": "float32", "block": block}
    watching = Watching()
    images = toy_arrays(24), toy_arrays(12)
    with dtype_policy("mixed_bfloat16"):
        with ends:
            dnt.triage(parent, *images, output_dir=tmp_path, progress=watching, **options)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert not config.is_op_determinism_enabled()
    assert context.global_seed() == 7
    if block == "2":
        assert (True, "float32") in watching.seen
