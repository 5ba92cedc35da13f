import pytest

from deep_net_triage.findings.time_saved import macs_without_speedup
from deep_net_triage.network.latency_timing import Latency

SAVES = "The smaller model saves 30.0 % of the multiply-accumulates, "


def pair(parent, smaller, *, spread=0.01, format="keras", batch=1, threads=1):
    """Latencies in milliseconds."""
    return [
        Latency(model, format, batch, threads, median / 1000, spread / 1000)
        for model, median in (("parent", parent), ("smaller", smaller))
    ]


def test_arithmetic_that_saves_no_time_is_named_with_its_setting():
    said = macs_without_speedup(pair(1.0, 0.995) + pair(8.0, 6.0, batch=64), 0.3)
    change = "Keras: 0.5 % less, within the spread"
    assert said == (SAVES + f"but no time at batch 1 with 1 thread ({change}).")


def test_a_model_that_takes_longer_saves_no_time_however_much_runs_vary():
    said = macs_without_speedup(pair(1.0, 1.6, spread=0.5, threads=2), 0.3)
    assert said == (SAVES + "but no time at batch 1 with 2 threads (Keras: 60.0 % more).")


def test_formats_of_one_setting_stand_together():
    latencies = [
        *pair(1.0, 1.0),
        *pair(1.0, 1.0, batch=64, threads=2),
        *pair(0.5, 0.51, format="litert_int8"),
    ]
    assert macs_without_speedup(latencies, 0.3) == (
        SAVES + "but no time at batch 1 with 1 thread (Keras: unchanged, LiteRT int8: 2.0 % "
        "more) and batch 64 with 2 threads (Keras: unchanged)."
    )


def test_a_difference_within_the_spread_is_no_time_saved():
    """Of 10 %, where the arithmetic's 30 % would show."""
    assert "no time" in macs_without_speedup(pair(1.0, 0.9, spread=0.11), 0.3)
    assert macs_without_speedup(pair(1.0, 0.9, spread=0.09), 0.3) is None


@pytest.mark.parametrize("wide", [0, 1])
def test_the_wider_spread_of_the_two_counts(wide):
    latencies = pair(1.0, 0.9, spread=0.09)
    other = pair(1.0, 0.9, spread=0.11)
    latencies[wide] = other[wide]
    assert "no time" in macs_without_speedup(latencies, 0.3)


def test_runs_that_vary_by_as_much_as_the_arithmetic_tell_nothing():
    latencies = pair(1.0, 0.9, spread=0.31) + pair(2.0, 2.0, batch=64)
    assert macs_without_speedup(latencies, 0.3) == (
        SAVES + "but no time at batch 64 with 1 thread (Keras: unchanged). At batch 1 with "
        "1 thread (Keras), runs vary too much to tell whether it saves time."
    )


def test_nothing_is_said_where_time_is_saved_or_no_arithmetic_is():
    assert macs_without_speedup(pair(1.0, 0.7), 0.3) is None
    assert macs_without_speedup(pair(1.0, 1.2), 0.0) is None
    assert macs_without_speedup(pair(1.0, 1.2), -0.1) is None
