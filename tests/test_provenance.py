"""Which versions a command is recorded with."""

import importlib.metadata
import subprocess

import pytest

from deep_net_triage.records import provenance
from tests.conftest import REPOSITORY


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with one commit, and its short hash."""

    def git(*command):
        author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", *author, "-C", tmp_path, *command],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "--message=one")
    git("tag", "--annotate", "v1", "--message=one")  # the hash is recorded all the same
    return tmp_path, git("rev-parse", "--short", "HEAD")


def test_a_checkout_is_known_by_its_commit_and_by_changes_since(checkout):
    folder, commit = checkout
    (folder / "runs").mkdir()
    (folder / "runs" / "study.json").write_text("{}")  # not tracked
    assert provenance.checkout(folder) == f"+g{commit}"
    (folder / "code.py").write_text("2")
    assert provenance.checkout(folder) == f"+g{commit}.dirty"


def test_a_package_that_is_installed_within_another_checkout_has_no_commit(checkout, tmp_path):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    assert provenance.checkout(installed) == ""


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    folder, _ = checkout
    monkeypatch.setenv("PATH", "")
    assert provenance.checkout(folder) == ""


def test_a_command_is_recorded_with_the_commit_of_this_package(monkeypatch):
    monkeypatch.setattr(provenance, "checkout", lambda folder: f"+g1a2b3c4 of {folder}")
    provenance._this_checkout.cache_clear()
    version = provenance.this_command("run_triage.py", 0.0, None).versions["deep_net_triage"]
    provenance._this_checkout.cache_clear()
    assert version.endswith(f"+g1a2b3c4 of {REPOSITORY}")


def test_a_package_that_was_not_installed_by_its_name_has_an_unknown_version(monkeypatch):
    def version(package):
        if package == "tensorflow":  # `tensorflow-cpu` provides the same modules
            raise importlib.metadata.PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(importlib.metadata, "version", version)
    versions = provenance.this_command("run_triage.py", 0.0, None).versions
    assert versions.pop("tensorflow") == "unknown"
    assert versions.pop("deep_net_triage").startswith("1.2")  # then the commit
    assert set(versions.values()) == {"1.2"}
