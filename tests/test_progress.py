import io
import subprocess
import sys
from dataclasses import replace

import pytest

from deep_net_triage import progress as progress_module
from deep_net_triage.forecast import ExpectedPhase, ExpectedTraining
from deep_net_triage.progress import Progress
from deep_net_triage.records.results import Epoch
from deep_net_triage.steps import Step
from deep_net_triage.wording import duration
from tests.conftest import REPOSITORY
from tests.screens import Screen, in_terminal

TRIAL = "[3/30] block1 cl_mw seed 0"
STEP = Step(
    "train 2/20",
    done=120,
    of=600,
    images_per_second=35.4,
    loss=4.5119,
    phase="train",
    epoch=2,
    share=0.2,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Makes a terminal with so many columns, and what shows progress on it."""
    shown = []

    def make(columns, term="xterm"):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", term)
        stream = Terminal()
        shown.append(Progress(stream))
        return stream, shown[-1]

    yield make
    for progress in shown:
        progress.__exit__(None, None, None)


def expected(name=TRIAL, epochs=20, phase="train"):
    """A training whose epochs should take a minute each."""
    return ExpectedTraining(name, (ExpectedPhase(phase, phase, epochs, 60.0),))


def ended(epoch, accuracy=0.5, phase="train"):
    return Epoch(
        phase=phase,
        epoch=epoch,
        loss=1.0,
        val_accuracy=accuracy,
        relative_error=0.25,
        seconds=1.0,
    )


def test_a_file_gets_a_line_an_epoch():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.epoch("parent", ended(1), of=1)
    progress.expect([expected(TRIAL, 3)])
    progress.epoch(TRIAL, ended(1, None, "distill"), of=1)
    progress.epoch(TRIAL, ended(1), of=3)
    progress.say("done")
    assert stream.getvalue().splitlines() == [
        "parent  train 1/1  accuracy 0.5000",
        # Three epochs of a minute as estimated; then one took 1 s, and two are left.
        f"{TRIAL}  distill 1/1  relative error 0.250  3.0 min left",
        f"{TRIAL}  train 1/3  accuracy 0.5000  2 s left",
        "done",
    ]


def test_a_file_gets_a_line_a_minute_of_work_that_takes_longer(clock):
    stream = io.StringIO()
    progress = Progress(stream)
    reading = Step("reading train images", 512, 12000, "image", 8.53)
    for clock[0] in (59, 60, 61, 119, 120):
        progress.step("stanford_dogs", reading)
    progress.expect([expected("parent")])
    for clock[0] in (121, 179, 180, 200):
        progress.step("parent", STEP)
    progress.epoch("parent", ended(2), of=20)
    for clock[0] in (259, 260):
        progress.step("parent", STEP)
    assert stream.getvalue().splitlines() == [
        "stanford_dogs  reading train images  image 512/12000  8.5 images/s",
        "stanford_dogs  reading train images  image 512/12000  8.5 images/s",
        # Of 20 minutes, 1.2 are over.
        "parent  train 2/20  step 120/600  35 images/s  loss 4.512  19 min left",
        # The second epoch took a second, and so will the others.
        "parent  train 2/20  accuracy 0.5000  18 s left",
        "parent  train 2/20  step 120/600  35 images/s  loss 4.512  19 s left",
    ]


def test_work_after_all_that_was_expected_has_no_time_left(clock):
    stream = io.StringIO()
    progress = Progress(stream)
    progress.expect([])
    clock[0] = 60
    progress.step("export", Step("testing model.tflite", 640, 10000, "image"))
    progress.step("own", Step("reading train images", 3200, unit="image"))
    assert stream.getvalue() == "export  testing model.tflite  image 640/10000\n"


def test_each_process_has_a_minute_of_its_own(clock):
    stream = io.StringIO()
    progress = Progress(stream)
    clock[0] = 50
    progress.epoch("one", ended(1), of=2, process=0)
    for clock[0] in (60, 110):
        for process, name in enumerate(("one", "other")):
            progress.step(name, Step("checking"), process)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        "one",
        "other",
        "one",
    ]


def test_a_terminal_has_a_row_for_the_study_and_one_for_what_runs(terminal, clock):
    stream, progress = terminal(100)
    progress.say("digits: reading images")
    progress.expect([expected(), expected("[4/30]")])
    clock[0] = 60
    progress.epoch(TRIAL, ended(1, 0.25), of=20)
    progress.step(TRIAL, replace(STEP, done=300, share=0.5))
    progress.say("a line that is said", process=7)
    said, again, study, trial = Screen(100).feed(stream.getvalue()).seen
    assert (said, again) == ("digits: reading images", "a line that is said")
    assert study.startswith("study", 2)
    # An epoch took a second, 38.5 are left, and a minute has passed.
    assert study.split("━")[-1].split() == ["61", "%", "38", "s", "left"]
    assert trial[2:].startswith(f"{TRIAL}  train 2/20  ━━")
    assert trial.split("━")[-1].split() == [
        "300/600",
        "18",
        "s",
        "left",
        "loss",
        "4.512",
        "35",
        "images/s",
    ]
    assert study.index("━") == trial.index("━")
    progress.say(f"{TRIAL}  accuracy 0.5000")
    *_, last, study = Screen(100).feed(stream.getvalue()).seen
    assert (last, study[2:7]) == (f"{TRIAL}  accuracy 0.5000", "study")


@pytest.mark.parametrize("columns", [132, 100, 80, 60, 40, 30, 20, 10, 3])
def test_rows_lose_columns_and_never_wrap(columns, terminal, clock):
    stream, progress = terminal(columns)
    progress.expect([expected(), expected("[4/30]", 40)])
    clock[0] = 60
    progress.epoch(TRIAL, replace(ended(1, 0.25), seconds=60.0), of=20)
    progress.step(TRIAL, STEP)
    progress.step("[4/30] block1 stn seed 0", Step("testing"), process=1)
    progress.say("ok", process=2)
    seen = Screen(columns).feed(stream.getvalue()).seen
    # A row that wrapped would stand on two lines, and a part of it would stay.
    assert len(seen) == 1 + 3
    assert seen[0] == "ok"
    study, trial, other = seen[1:]
    if columns >= 20:
        assert study[2:].startswith("study")
        assert trial[2:].startswith("[3/30]")
        assert "120/600" in trial
        assert other[2:].startswith("[4/30]")
    assert ("left" in study) == (columns > 20)
    assert ("━" in trial) == (columns >= 80)
    assert ("35 images/s" in trial) == (columns > 100)
    # Who presses Ctrl-C has ^C written behind the last row.
    screen, drawn = Screen(columns).feed(stream.getvalue()), stream.tell()
    progress.__exit__(None, None, None)
    screen.feed("^C" + stream.getvalue()[drawn:])
    assert columns < 5 or "".join(screen.seen).strip() == "ok"


def test_a_terminal_without_letters_beyond_ascii(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    stream.isatty = lambda: True
    with Progress(stream) as progress:
        progress.expect([expected()])
        progress.step(TRIAL, STEP)
        progress.say("said \u2501", process=1)
        seen = Screen(100).feed(written.getvalue().decode("ascii")).seen
    assert seen[0] == "said \\u2501"
    assert "120/600" in seen[2]
    assert "\\u" not in "".join(seen[1:])


@pytest.mark.parametrize("term", ["dumb", "unknown", ""])
def test_a_terminal_that_can_not_move_its_cursor_gets_lines(term, terminal, clock):
    stream, progress = terminal(80, term)
    progress.expect([expected(TRIAL, 4)])
    progress.step(TRIAL, STEP)
    progress.epoch(TRIAL, ended(1), of=4)
    assert stream.getvalue() == f"{TRIAL}  train 1/4  accuracy 0.5000  3 s left\n"


def test_a_process_that_has_ended_has_no_row(terminal):
    stream, progress = terminal(80)
    for process, name in enumerate(("one", "other")):
        progress.step(name, STEP, process)
    progress.idle(0)
    progress.say("said", process=2)
    seen = Screen(80).feed(stream.getvalue()).seen
    assert [line[2:7] for line in seen[1:]] == ["study", "other"]


# What a study does, without what takes time.
SCRIPT = """
import sys, time
from deep_net_triage.progress import Progress
from deep_net_triage.steps import Step
with Progress() as progress:
    for number in range(4):
        progress.say(f"line {number}")
        progress.step("parent", Step("train 1/2", number, 4))
        time.sleep(0.3)
        print("a warning", file=sys.stderr)
    progress.say("the last")
print("ended", file=sys.stderr)
"""


@pytest.mark.parametrize("columns", [80, 40, 20])
@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_real_terminal_holds_no_debris(columns, environment):
    written, code = in_terminal(["-c", SCRIPT], columns, **environment)
    seen = Screen(columns).feed(written).seen
    said = [f"line {number}" for number in range(4)]
    warned = [line for pair in zip(said, ["a warning"] * 4, strict=True) for line in pair]
    assert [line for line in seen if line] == [*warned, "the last", "ended"]
    assert code == 0
    # It moved meanwhile, by itself, where it could.
    assert (written.count("parent") > 4) == (environment != {"TERM": "dumb"})
    if "NO_COLOR" in environment:
        assert "\x1b[36m" not in written
    # A process that is killed could not show a cursor again.
    assert "\x1b[?25l" not in written


def test_a_study_outlives_its_reader():
    writer = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout.readline() == "line 0\n"
    writer.stdout.close()
    assert writer.stderr.read() == "a warning\n" * 4 + "ended\n"
    assert writer.wait() == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (720, "12 min"),
        (3600, "60 min"),
        (9000, "2.5 h"),
        (4e5, "5 days"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
