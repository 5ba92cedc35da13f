import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.errors import ExportFailed
from deep_net_triage.network import graphs, litert
from tests.toys import dtype_policy


def classifier():
    """A small network whose filters are drawn by a seed."""
    keras.utils.set_random_seed(0)
    x = images = keras.Input((6, 6, 1))
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(images, keras.layers.Dense(3)(x))


def drawn(count):
    return np.random.default_rng(0).uniform(0, 255, (count, 6, 6, 1)).astype(np.float32)


@pytest.fixture
def interpreters(monkeypatch):
    """The arguments of each interpreter that is made."""
    made, interpreter = [], tf.lite.Interpreter

    def spy(file, **arguments):
        made.append(arguments)
        return interpreter(file, **arguments)

    monkeypatch.setattr(tf.lite, "Interpreter", spy)
    return made


def test_an_interpreter_takes_batches_of_any_size_with_as_many_threads_as_allowed(
    tmp_path, interpreters
):
    model = classifier()
    litert.write(model, tmp_path / "model.tflite")
    run = litert.runner(tmp_path / "model.tflite", threads=2)
    assert interpreters == [{"num_threads": 2}]
    for count in (1, 5, 3, 3, 1):
        images = drawn(count)
        np.testing.assert_allclose(run(images), model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:[\\s\\S]*Interpreter is deprecated")
def test_int8_holds_integers_everywhere_but_at_both_ends(tmp_path):
    litert.write_int8(classifier(), tmp_path / "model.tflite", drawn(20))
    # Without delegates, which add tensors of their own.
    reference = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(
        str(tmp_path / "model.tflite"), experimental_op_resolver_type=reference
    )
    (received,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (received["dtype"], returned["dtype"]) == (np.float32, np.float32)
    floating = [
        tensor["index"]
        for tensor in interpreter.get_tensor_details()
        if np.issubdtype(tensor["dtype"], np.floating)
    ]
    assert sorted(floating) == sorted([received["index"], returned["index"]])


def test_int8_is_calibrated_on_images_of_all_classes(tmp_path):
    """A folder's images are in the order of their classes: here dark ones come first."""
    model = classifier()
    images = drawn(300)
    images[:200] /= 50
    litert.write_int8(model, tmp_path / "model.tflite", images)
    bright = images[200:]
    expected = np.asarray(model(bright))
    returned = litert.runner(tmp_path / "model.tflite")(bright)
    assert np.abs(returned - expected).max() < 0.05 * np.abs(expected).max()


def test_what_a_wrapper_holds_is_in_float32_as_well():
    with dtype_policy("mixed_bfloat16"):
        x = images = keras.Input((6, 6, 1))
        x = keras.layers.SpectralNormalization(keras.layers.Conv2D(4, 3))(x)
        model = keras.Model(images, keras.layers.Flatten()(x))
    copy = litert.in_float32(model)
    assert {layer.compute_dtype for layer in graphs.with_held(copy)} == {"float32"}
    for was, now in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_a_model_of_mixed_precision_is_written_in_float32(tmp_path):
    precise = classifier()
    with dtype_policy("mixed_bfloat16"):
        model = classifier()
    model.set_weights(precise.get_weights())
    litert.write(model, tmp_path / "model.tflite")
    images = drawn(4)
    returned = litert.runner(tmp_path / "model.tflite")(images)
    np.testing.assert_allclose(returned, precise(images), rtol=1e-4, atol=1e-5)
    assert {layer.compute_dtype for layer in model.layers[1:]} == {"bfloat16"}


def test_a_model_of_float32_is_not_copied():
    model = classifier()
    assert litert.in_float32(model) is model


@pytest.mark.parametrize("write", [litert.write, lambda *a: litert.write_int8(*a, drawn(4))])
def test_an_operation_that_litert_lacks_is_named_in_one_line(tmp_path, capfd, write):
    images = keras.Input((6, 6, 1))
    model = keras.Model(images, keras.ops.erf(images))
    with pytest.raises(ExportFailed) as failed:
        write(model, tmp_path / "model.tflite")
    assert str(failed.value) == (
        "the export model.tflite can't be made: LiteRT has no operation for TensorFlow's Erf"
    )
    assert capfd.readouterr().err == ""
