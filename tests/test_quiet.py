import signal
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

HELD = """
import os, sys
from deep_net_triage.quiet import native_messages_held
with native_messages_held():
    os.write(2, b"from native code\\n")
    print("from Python", file=sys.stderr)
    {ending}
os.write(2, b"afterwards\\n")
"""
ALL = "from native code\nfrom Python\n"


def run(ending):
    return subprocess.run(
        [sys.executable, "-c", HELD.format(ending=ending)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )


def test_what_native_code_writes_is_dropped_if_all_goes_well():
    done = run("pass")
    assert (done.returncode, done.stderr) == (0, "afterwards\n")


def test_all_of_it_is_shown_before_an_error():
    done = run("import a_library_that_is_missing")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{ALL}Traceback")
    assert "a_library_that_is_missing" in done.stderr


def test_all_of_it_is_shown_if_native_code_ends_the_process():
    done = run("os.abort()")
    assert (done.returncode, done.stderr) == (-signal.SIGABRT, ALL)


def test_much_of_it_is_held():
    assert run("os.write(2, b'x' * 2**20)").stderr == "afterwards\n"
    assert run("os.write(2, b'x' * 2**20); os.abort()").stderr.count("x") == 2**20


@pytest.mark.parametrize("ending", ["raise KeyboardInterrupt", "raise SystemExit(3)"])
def test_an_interrupted_command_shows_no_library_messages(ending):
    assert "native" not in run(ending).stderr
