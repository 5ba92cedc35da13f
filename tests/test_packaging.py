"""Wheel and sdist hold what the program needs, and an installed wheel runs on its own."""

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.studies import TINY, newcomer

BUILD = "import setuptools.build_meta as backend; backend.build_{}('out')"
KINDS = (".py", ".typed", ".css", ".js", ".jinja", ".flags")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The sdist of a copy of this checkout, and the wheel built from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("distributions")
    copy = folder / "copy"
    copy.mkdir()
    for file in REPOSITORY.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    for name in ("deep_net_triage", "flags"):
        shutil.copytree(REPOSITORY / name, copy / name)
    sdist = built("sdist", copy)
    # Not by `tarfile`: Python 3.11.2, which Debian 12 has, knows no filters yet.
    subprocess.run(["tar", "-xf", sdist, "-C", folder], check=True)
    return sdist, built("wheel", folder / sdist.name.removesuffix(".tar.gz"))


def built(kind, folder):
    command = [sys.executable, "-c", BUILD.format(kind)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (distribution,) = (folder / "out").iterdir()
    return distribution


def needed(folder):
    """Paths of the code, templates and flag files below a folder of the checkout."""
    files = (REPOSITORY / folder).rglob("*")
    return {str(file.relative_to(REPOSITORY)) for file in files if file.suffix in KINDS}


def test_the_wheel_holds_code_templates_and_flag_files(distributions):
    _, wheel = distributions
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    flags = {f"deep_net_triage/{name}" for name in needed("flags")}
    assert held == needed("deep_net_triage") | flags
    assert {"deep_net_triage/flags/digits.flags", "deep_net_triage/findings/report.css"} < held
    # By this file type checkers know that the package has types.
    assert "deep_net_triage/py.typed" in held


def test_the_source_distribution_holds_what_a_checkout_runs_with(distributions):
    sdist, _ = distributions
    root = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.removeprefix(f"{root}/") for name in archive.getnames()}
    assert needed("deep_net_triage") | needed("flags") < held
    assert {"run_triage.py", "constraints.txt", "LICENSE", "CITATION.cff"} < held


def test_the_citation_names_the_version_of_the_package():
    (version,) = re.findall(r"^version = (.+)$", (REPOSITORY / "setup.cfg").read_text(), re.M)
    assert f"\nversion: {version}\n" in (REPOSITORY / "CITATION.cff").read_text()


@pytest.mark.slow
def test_an_installed_wheel_runs_without_a_checkout(distributions, tmp_path):
    """The environment takes this one's dependencies by a `.pth` file, to spare a download.

    Such a file does not activate the `.pth` files of the folder it names, so that an editable
    installation of this checkout is not found there: the package comes from the wheel.
    """
    _, wheel = distributions
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    python, program = environment / "bin" / "python", environment / "bin" / "deep-net-triage"

    def run(*command):
        clean = {name: value for name, value in newcomer().items() if name != "PYTHONPATH"}
        return subprocess.run(
            command, cwd=elsewhere, env=clean, capture_output=True, text=True, check=True
        ).stdout

    run(sys.executable, "-m", "venv", "--without-pip", environment)
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    folder = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(folder, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    found = run(python, "-c", "import deep_net_triage; print(deep_net_triage.__file__)")
    assert found.startswith(folder)

    assert "  deep-net-triage --dataset=" in run(program, "--help")
    listed = run(python, "-m", "deep_net_triage", "--list_blocks", "--dataset=digits")
    assert "block5" in listed
    study = (*TINY, "--epochs=1", "--block=5")
    run(program, *study, "--method=cl_rw")
    # Processes are spawned, and import the program once more.
    again = ("--method=cl_mw", "--parallel_trials=2", "--flagfile=flags/small.flags")
    run(python, "-m", "deep_net_triage", *study, *again)
    left = elsewhere / "runs" / "digits"
    assert (left / "report.html").is_file()
    assert len((left / "results.csv").read_text().splitlines()) == 3
    described = json.loads((left / "study.json").read_text())
    commands = [command["command"].split(" --")[0] for command in described["commands"]]
    assert commands == ["deep-net-triage", "python -m deep_net_triage"]
    # That is the setting of digits.flags, which was found in the package.
    assert described["settings"]["image_size"] == 32
