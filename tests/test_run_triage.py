import subprocess
import sys

import keras
import pytest

import run_triage
from deep_net_triage.records import files
from deep_net_triage.study import command
from tests.conftest import REPOSITORY
from tests.screens import Screen, in_terminal
from tests.studies import TINY, newcomer, read, run, snapshot


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset=cifar11"], "--dataset=cifar11 is unknown; allowed: digits, mnist"),
        (["--block=6"], "--block=6 is not a block; allowed: 1 to 5"),
        (["--train_examples=9999"], "--train_examples=9999 asks for more than there are: 1437"),
        (["--parent={tmp}/junk.keras"], "junk.keras is not a Keras model"),
        (["--parent={tmp}/other.keras"], "has images of 1 channel, and the model takes 4"),
        (
            ["--parent={tmp}/classes.keras"],
            "4 values per image, but digits has 10 classes",
        ),
        (["--parent={tmp}/dense.keras"], "no block found in"),
        (["--output_dir={tmp}/junk.keras/runs"], "junk.keras is a file"),
        (["--flagfile={tmp}/bad.flags"], "'epochs=3' sets nothing"),
        (["--method=foo"], "'foo' is not a method"),
        (["--batch_size=many"], "must be a whole number"),
        (["--image_size=16"], "must be at least 32"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, expected, tmp_path, capsys):
    (tmp_path / "junk.keras").write_bytes(b"junk")
    (tmp_path / "bad.flags").write_text("epochs=3\n")
    for name, channels, classes in (("other", 4, 10), ("classes", 1, 4), ("dense", 1, 10)):
        inputs = keras.Input((8, 8, channels))
        outputs = keras.layers.Dense(classes)(keras.layers.Flatten()(inputs))
        keras.Model(inputs, outputs).save(tmp_path / f"{name}.keras")
    before = snapshot(tmp_path)
    typed = [argument.format(tmp=tmp_path) for argument in arguments]
    assert run(tmp_path / "runs", *typed) == 2
    message = capsys.readouterr().err
    assert expected in message
    assert message.count("\n") == 1
    assert message.startswith("run_triage.py: ")
    assert snapshot(tmp_path) == before
    assert not (tmp_path / "runs").exists()


def test_folder_without_permission_is_refused(tmp_path, capsys, monkeypatch):
    # A test may run as root, whom no permission stops.
    monkeypatch.setattr(files.os, "access", lambda folder, mode: False)
    assert run(tmp_path / "runs") == 2
    assert f"no permission in {tmp_path}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_advice_that_contradicts_the_command_line_refuses_no_study(monkeypatch):
    given = []
    monkeypatch.setattr(command, "run", lambda *_, quick, **__: given.append(quick) or 0)
    assert run_triage.main(["--dataset=mnist"]) == 0
    # The file's five epochs are no more than this warm-up.
    assert run_triage.main(["--dataset=mnist", "--warmup_epochs=6"]) == 0
    (flag, quick), none = given
    assert flag == "--flagfile=flags/small.flags"
    assert (quick.dataset, quick.width) == ("mnist", 0.25)
    assert none is None


def test_help_needs_no_certain_working_directory(tmp_path):
    command = [sys.executable, run_triage.__file__, "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--distill_epochs" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("started", "name"),
    [
        ("run_triage.py", "run_triage.py"),
        ("/some/where/run_triage.py", "run_triage.py"),
        ("/some/where/bin/deep-net-triage", "deep-net-triage"),
        ("/some/where/deep_net_triage/__main__.py", "python -m deep_net_triage"),
        ("/some/where/pytest/__main__.py", "run_triage.py"),
    ],
)
def test_the_program_has_the_name_it_was_typed_with(started, name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [started])
    assert run_triage.main(["--help"]) == 0
    shell = "python run_triage.py" if name == "run_triage.py" else name
    assert f"  {shell} --dataset=" in capsys.readouterr().out
    assert run_triage.main(["--epochs=0"]) == 2
    assert capsys.readouterr().err.startswith(f"{name}: flag --epochs=0")


@pytest.mark.parametrize("script", ["1_structure", "2_accuracy", "3_convergence"])
def test_figure_scripts(script, study):
    file = REPOSITORY / "figures" / f"figure_{script}.py"
    command = [sys.executable, file, f"--results={study.parent}"]
    done = subprocess.run(command, cwd=study, capture_output=True, text=True, check=True)
    picture = study.parent / f"figure_{script}.png"
    assert done.stdout.strip() == str(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_figure_scripts_name_what_is_missing(study, tmp_path):
    file = REPOSITORY / "figures" / "figure_2_accuracy.py"
    for arguments, expected in (
        (["--results=absent"], "no results in absent"),
        ([f"--results={study.parent}", "--dataset=mnist"], "--dataset=mnist has no results"),
        ([f"--results={study}", "--output=absent/a.png"], "absent/a.png can't be written"),
    ):
        command = [sys.executable, file, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 2
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_parent_that_starts_from_a_weights_file(tmp_path):
    weights = tmp_path / "vgg16.weights.h5"
    keras.applications.VGG16(include_top=False, weights=None).save_weights(weights)
    arguments = (f"--parent_weights={weights}", "--width=1", "--method=cl_mw", "--block=5")
    assert run(tmp_path / "runs", *arguments) == 0
    recorded = read(tmp_path / "runs" / "digits" / "parent" / "result.json")
    assert recorded["settings"]["parent_weights"] == str(weights)


def own_lines(printed):
    """Whether each line before the table is one of this program's."""
    before_the_table = printed.split("\n\n")[0].splitlines()
    starts = ("digits: ", "parent", "block5: ", "[1/1] block5 cl_rw seed 0  ")
    return [line for line in before_the_table if not line.startswith(starts)] == []


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--parallel_trials=2",)])
def test_a_study_from_another_working_directory_prints_its_own_lines_alone(flags, tmp_path):
    command = [sys.executable, run_triage.__file__, *TINY, "--method=cl_rw", "--block=5"]
    home = {"HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    done = subprocess.run(
        [*command, *flags],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env=newcomer() | home,
    )
    assert done.stderr == ""
    assert own_lines(done.stdout)
    # digits.flags was found beside the script: 32 pixels are digits' own setting.
    settings = read(tmp_path / "runs" / "digits" / "study.json")["settings"]
    assert settings["image_size"] == 32
    for line in ("parent  train 2/2", "[1/1] block5 cl_rw seed 0  train 2/2", "CL-RW"):
        assert line in done.stdout


@pytest.mark.slow
def test_libraries_speak_if_asked_to(tmp_path):
    command = [sys.executable, run_triage.__file__, *TINY, "--list_blocks", "--verbose"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=newcomer())
    assert b"oneDNN" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 40, 20])
def test_a_study_on_a_terminal_leaves_what_it_says_alone(columns, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    flags = (*TINY, "--method=cl_rw", "--block=5", f"--output_dir={tmp_path}")
    written, code = in_terminal([run_triage.__file__, *flags], columns)
    assert code == 0
    # A second epoch, of two steps, may be over before the screen is drawn again.
    assert "train 1/2" in written or columns == 20
    seen = Screen(columns).feed(written).unwrapped
    assert own_lines(seen)
    for moved in ("study  ", "━", "train 1/2"):
        assert moved not in seen
    assert seen.endswith("report.html")


@pytest.mark.slow
def test_a_study_behind_head_goes_on(tmp_path):
    command = [sys.executable, run_triage.__file__, *TINY, "--method=cl_rw", "--block=5"]
    study = subprocess.Popen(
        [*command, f"--output_dir={tmp_path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=newcomer(),
        text=True,
    )
    assert study.stdout.readline() == "digits: starting TensorFlow\n"
    study.stdout.close()
    assert study.stderr.read() == ""
    assert study.wait() == 0
    assert (tmp_path / "digits" / "report.html").is_file()
