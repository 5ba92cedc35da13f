import numpy as np
import tensorflow as tf

from deep_net_triage.learning import predictions


def test_each_image_is_judged_by_itself(parent, toy_dataset, monkeypatch):
    test = toy_dataset.test
    outputs = parent.predict(tf.cast(test.images, tf.float32), verbose=0)
    expected = outputs.argmax(axis=1) == test.labels.numpy()
    np.testing.assert_array_equal(
        predictions.correct(parent, test.images, test.labels), expected
    )
    # 64 pixels an image at the widest: three at once, and one left.
    monkeypatch.setattr(predictions, "PIXELS_AT_ONCE", 200)
    assert predictions.images_at_once(parent) == 3
    np.testing.assert_array_equal(
        predictions.correct(parent, test.images, test.labels), expected
    )
