import numpy as np
import tensorflow as tf

from deep_net_triage import steps
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


def test_how_many_images_have_been_classified_is_reported(parent, toy_dataset, monkeypatch):
    monkeypatch.setattr(steps, "SECONDS_BETWEEN_REPORTS", 0)
    monkeypatch.setattr(predictions, "images_at_once", lambda model: 5)
    test, reports = toy_dataset.test, []
    predictions.correct(parent, test.images, test.labels, reports.append)
    count = len(test)
    assert [step.done for step in reports] == [*range(0, count, 5), count]
    assert {(step.of, step.unit) for step in reports} == {(count, "image")}
