from deep_net_triage.network import latency, surgery
from deep_net_triage.network.blocks import find_blocks


def test_both_models_are_measured_for_one_image_and_for_many(parent, monkeypatch):
    monkeypatch.setattr(latency, "SECONDS", 0.0)
    seen = []
    student = surgery.compress(parent, find_blocks(parent)[0], initializer="mean", seed=0)
    measure = latency.measure

    def spy(model, shape):
        seen.append((model is parent, shape))
        return measure(model, shape)

    monkeypatch.setattr(latency, "measure", spy)
    found = latency.compare(parent, student, (8, 8, 2))
    assert seen == [
        (True, (1, 8, 8, 2)),
        (False, (1, 8, 8, 2)),
        (True, (64, 8, 8, 2)),
        (False, (64, 8, 8, 2)),
    ]
    names = ("parent_latency", "latency", "parent_batch_latency", "batch_latency")
    assert set(found) == {*names, *(f"{name}_spread" for name in names)}
    assert all(found[name] > 0 for name in names)


def test_first_runs_do_not_count(monkeypatch):
    """A model's clock: its first runs are slow, the rest take 1, 2, ... 7 seconds."""
    now = iter([0, 1, 1, 3, 3, 6, 6, 10, 10, 15, 15, 21, 21, 28])
    monkeypatch.setattr(latency.time, "perf_counter", lambda: next(now))
    import keras

    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    found = latency.measure(model, (1, 2, 2, 1))
    assert found == latency.Latency(median=4, spread=4)
