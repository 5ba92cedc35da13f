import keras
import numpy as np
import pytest
import tensorflow as tf

import deep_net_triage as dnt
from deep_net_triage.errors import InputError


def examples(count):
    generator = np.random.default_rng(count)
    labels = np.arange(count) % 3
    images = generator.uniform(size=(count, 8, 8, 2)).astype(np.float32)
    images[:, :, :, 0] += labels[:, None, None]
    return images, labels


def test_blocks_of_a_model_and_one_of_them_compressed(parent):
    wrapped = keras.Sequential([keras.Input((8, 8, 2)), parent])
    found = dnt.find_blocks(wrapped)
    assert [block.name for block in found] == ["block1", "block2"]
    for block in (found[1], "block2", "2", "b2_conv1:b2_relu3"):
        student = dnt.compress(wrapped, block)
        assert student.count_params() < wrapped.count_params()
        assert student.output_shape == (None, 3)
    with pytest.raises(InputError, match="--block=block3 is no block"):
        dnt.compress(wrapped, "block3")


def test_triage_of_arrays_and_of_tf_data(parent, tmp_path, capsys):
    train, test = examples(24), examples(12)
    flags = {"method": "cl_mw,cm_mw", "epochs": 1, "batch_size": 8, "output_dir": tmp_path}
    study = dnt.triage(parent, train, test, name="arrays", block="block2", **flags)
    assert {(row["method"], row["block"]) for row in study.rows} == {
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
    assert [row["max_accuracy"] for row in again.rows] == [
        row["max_accuracy"] for row in study.rows
    ]
    capsys.readouterr()


def test_what_does_not_fit_is_refused(parent, tmp_path):
    train, test = examples(24), examples(12)
    with pytest.raises(InputError, match="dataset is no argument"):
        dnt.triage(parent, train, test, dataset="digits")
    with pytest.raises(InputError, match="parallel_trials is no argument"):
        dnt.triage(parent, train, test, parallel_trials=2)
    with pytest.raises(InputError, match="epochs"):
        dnt.triage(parent, train, test, epochs=-1, output_dir=tmp_path)
    with pytest.raises(InputError, match="images of shape .24, 8, 8. with labels"):
        dnt.triage(parent, (train[0][..., 0], train[1]), test, output_dir=tmp_path)
    with pytest.raises(InputError, match="not finite"):
        dnt.triage(parent, (train[0] * np.nan, train[1]), test, output_dir=tmp_path)
    assert not list(tmp_path.iterdir())
