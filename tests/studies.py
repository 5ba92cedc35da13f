"""Studies of seconds, run as from the command line, and how their files are read."""

import json
import os

import run_triage

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
    """The environment of one who has run nothing yet; other tests have set this in ours."""
    return {name: os.environ[name] for name in os.environ if name != "TF_CPP_MIN_LOG_LEVEL"}


def run(folder, *arguments):
    return run_triage.main([f"--output_dir={folder}", *TINY, *arguments])


def read(file):
    return json.loads(file.read_text())


def snapshot(folder):
    """Content of every file below a folder, and when it was written."""
    return {
        path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
