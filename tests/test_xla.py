"""Steps compiled by XLA, as on a GPU, do what uncompiled steps do."""

import subprocess
import sys

import numpy as np
import pytest

from deep_net_triage.methods import METHODS
from tests.conftest import REPOSITORY
from tests.studies import newcomer

PAPER = "--recipe=paper"
# At so small a limit the gradient is clipped in every step.
SETTLED = "--recipe=settled --clip_norm=0.01"


def trained(folder, flags, policy, batch_size, methods, epochs=2):
    """What `tests.compiled` writes down, uncompiled and compiled, each by name."""
    asked = map(str, (flags, policy, epochs, batch_size, ",".join(methods), folder))
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiled", *asked],
        cwd=REPOSITORY,
        env=newcomer(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    plain, compiled = (dict(np.load(folder / f"{name}.npz")) for name in ("plain", "xla"))
    assert set(plain) == set(compiled)
    return plain, compiled


def assert_equal(plain, compiled):
    for name, value in plain.items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-8, atol=1e-8, err_msg=name)


def test_every_phase_equals_the_uncompiled_one(tmp_path):
    """A block alone, a whole model, one that is taught, distillation, and the parent."""
    plain, compiled = trained(tmp_path, SETTLED, "float64", 25, ["cl_rw", "stn_kd"])
    phases = {
        "cl_rw-images|train2|val_loss",
        "cl_rw-kept|train2|val_loss",
        "stn_kd-images|distill2|loss",
        "stn_kd-kept|distill2|loss",
        "stn_kd-kept|train2|val_accuracy",
        "control|train2|val_loss",
        "parent|train2|val_loss",
    }
    assert phases < set(plain)
    assert_equal(plain, compiled)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [PAPER, SETTLED])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_equals_the_uncompiled_one(method, flags, tmp_path):
    """An epoch's last batch holds one image, so that each step is compiled twice."""
    assert_equal(*trained(tmp_path, flags, "float64", 8, [method]))


@pytest.mark.slow
def test_in_mixed_bfloat16_losses_are_close_after_a_step(tmp_path):
    """bfloat16 has 8 significant bits, and XLA rounds to it less often than single operations.

    One batch an epoch: the first loss is computed before any weight has moved.
    """
    plain, compiled = trained(tmp_path, PAPER, "mixed_bfloat16", 25, ["cl_mw", "stn_kd"], 1)
    losses = [name for name in plain if name.endswith("1|loss")]
    assert len(losses) == 8
    for name in losses:
        np.testing.assert_allclose(compiled[name], plain[name], rtol=0.02, err_msg=name)
    assert all(np.all(np.isfinite(value)) for value in compiled.values())
