"""Studies of seconds, run as from the command line, and how their files are read."""

import json
import os

import numpy as np

import run_triage
from deep_net_triage.records import checkpoints
from deep_net_triage.records.checkpoints import Checkpoint

# VGG16 of 1 to 10 filters on 60 digits: what takes time is tracing it.
TINY = (
    "--recipe=paper",
    "--precision=float32",  # `auto` would measure some CPUs for seconds
    "--width=0.02",
    "--train_examples=60",
    "--test_examples=30",
    "--parent_epochs=2",
    "--epochs=2",
    "--distill_epochs=1",
    "--batch_size=30",
    "--nocontrol",
)


def newcomer():
    """Our environment, in which TensorFlow's messages are shown as they are by default."""
    return {name: os.environ[name] for name in os.environ if name != "TF_CPP_MIN_LOG_LEVEL"}


def run(folder, *arguments):
    return run_triage.main([f"--output_dir={folder}", *TINY, *arguments])


def interrupted(folder, settings):
    """Leaves what a training leaves that was interrupted after its first epoch."""
    folder.mkdir()
    checkpoints.write(folder, Checkpoint(settings, [{}], {}, {"weights": np.zeros(3)}))


def read(file):
    return json.loads(file.read_text())


def snapshot(folder):
    """Content of every file below a folder, and when it was written."""
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
