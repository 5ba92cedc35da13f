import os
import subprocess
import sys

import pytest
import tensorflow as tf

from deep_net_triage import devices
from deep_net_triage.devices import Share
from deep_net_triage.errors import InputError


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ([], "float32"),
        ([(6, 1)], "float32"),
        ([(7, 5)], "mixed_float16"),
        ([(9, 0)], "mixed_bfloat16"),
        ([(9, 0), (7, 0)], "mixed_float16"),
        ([(8, 0), (6, 0)], "float32"),
        ([None], "float32"),
    ],
)
def test_precision_is_what_every_gpu_is_made_for(capabilities, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: capabilities)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {} if gpu is None else {"compute_capability": gpu},
    )
    assert devices.resolve_precision("auto") == expected
    assert devices.resolve_precision("mixed_float16") == "mixed_float16"


@pytest.mark.parametrize(("before", "expected"), [(None, "1"), ("0", "0")])
def test_onednn_is_on_for_whoever_imports_the_package_unless_they_said_no(before, expected):
    environment = {name: value for name, value in os.environ.items() if "ONEDNN" not in name}
    if before:
        environment["TF_ENABLE_ONEDNN_OPTS"] = before
    script = "import deep_net_triage, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=devices.__file__.rsplit("/", 2)[0],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected


def test_more_replicas_than_devices_are_refused():
    there = len(tf.config.list_logical_devices("CPU"))
    expected = (
        f"--replicas=99, but this process has {there} CPU devices?; allowed: 1 to {there}"
    )
    with pytest.raises(InputError, match=expected):
        devices.strategy(99)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (None, None),
        (Share(1, 4), ["gpu1"]),
        (Share(1, 2), ["gpu1", "gpu3"]),  # several GPUs, which share each batch
        (Share(5, 6), ["gpu1"]),  # more processes than GPUs
    ],
)
def test_a_process_sees_its_own_gpus_alone(share, expected, monkeypatch):
    there, visible = ["gpu0", "gpu1", "gpu2", "gpu3"], []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: there)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda own, kind: visible.append(own))
    grown = []
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda gpu, on: grown.append(gpu)
    )
    devices.import_tensorflow(share=share)
    assert visible == ([expected] if expected else [])
    assert grown == (expected or there)
