import dataclasses
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from deep_net_triage.findings import plots, report, trial_table, verdict
from deep_net_triage.findings.judgements import Judgement
from deep_net_triage.findings.page import GAP
from deep_net_triage.records import files, results

HOSTILE = "x\"'><script>alert(1)</script><img src=//evil.example onerror=alert(2)>&amp;$\\frac{"
MINUS = "\u2212"


JUDGEMENTS = (
    Judgement(
        1, "Models win.", "the best", "does not hold", ["b1: -1.0 points"], "STN is best."
    ),
    Judgement(4, "Blocks are equal.", "spread", "holds", ["spread 0.1 points"], "It is noise."),
    Judgement(
        7, "Hard sets are slow.", "epochs", "can't be told", [], "There is one data set."
    ),
)


class Tree(HTMLParser):
    """Reads a page as a browser would, and refuses elements that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.builder, self.open = ElementTree.TreeBuilder(), []
        self.feed(text)
        self.close()
        assert self.open == []
        self.root = self.builder.close()

    def handle_starttag(self, name, attributes):
        self.builder.start(name, {key: value or "" for key, value in attributes})
        if name in ("meta", "link"):
            self.builder.end(name)
        else:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.builder.start(name, {key: value or "" for key, value in attributes})
        self.builder.end(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name
        self.builder.end(name)

    def handle_data(self, data):
        if self.open:
            self.builder.data(data)


def text(element):
    return "".join(element.itertext()).replace("\u00a0", " ")


def write_trial(study, method, block, accuracy, seed=0, reason=None):
    folder = results.trial_folder(study, method, block.replace("/", "_"), seed)
    folder.mkdir(parents=True)
    records = [
        {"phase": "train", "epoch": n, "val_accuracy": accuracy - 0.1 + 0.05 * n}
        for n in (1, 2)
    ]
    (folder / "epochs.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    result = {
        "status": "failed" if reason else "finished",
        "reason": reason,
        "settings": {"method": method, "block": block, "seed": seed},
        "files": results.digests(folder),
    }
    if not reason:
        result["row"] = dict.fromkeys(results.COLUMNS) | {
            "dataset": "toy",
            "method": method,
            "block": block,
            "seed": seed,
            "baseline_accuracy": 0.9,
            "initial_accuracy": 0.1,
            "max_accuracy": accuracy,
            "max_epoch": 2,
            "epochs_to_99": 2,
            "distill_epochs": 4 if method.startswith("stn") else 0,
            "distilled_accuracy": 0.25 if method.startswith("stn") else None,
            "accuracy_drop": 0.9 - accuracy,
            "parent_parameters": 1_234_567,
            "parameters": 1_200_000,
            "parent_macs": 20_000_000,
            "macs": 15_000_000,
            "parent_bytes": 5_000_000,
            "bytes": 4_800_000,
            "seconds": 61.5,
        }
    files.write_json(folder / "result.json", result)


def write_study(
    folder, block="block1", reason="loss is no longer finite", command="run_triage.py -x"
):
    folder.mkdir(parents=True)
    settings = {"dataset": "toy", "test_images": 100, "augment": None, "deterministic": False}
    parent = {"status": "finished", "settings": settings, "baseline_accuracy": 0.9}
    (folder / "parent").mkdir()
    files.write_json(folder / "parent" / "result.json", parent)
    write_trial(folder, "stn", "block2", 0.95)
    write_trial(folder, "stn", "block2", 0.85, seed=1)
    write_trial(folder, "cl_rw", "block10", 0.7)
    write_trial(folder, "cm_rw", block, 0.92)
    write_trial(folder, "cm_mw", "block3", 0.5, reason=reason)
    results.write_table(folder)
    run = {
        "command": command,
        "started": 1_700_000_000.5,
        "seconds": 300.0,
        "versions": {"keras": "3.15.1"},
        "hardware": {"cpus": 2, "gpus": []},
    }
    unfinished = {**run, "seconds": None, "command": "deep_net_triage.triage(model)"}
    described = {"settings": settings, "classes": 10, "commands": [run, unfinished]}
    described["refused"] = [{"first": "a", "last": "b", "reason": block}]
    described["blocks"] = [{"name": name} for name in ("block1", "block2", "block4")]
    files.write_json(folder / "study.json", described)
    return folder


def write_report(folder, judgements=JUDGEMENTS, title="Accuracy"):
    study = results.read_study(folder)
    reached = verdict.reach(study, 0.03)
    picture = plots.accuracy([dataclasses.replace(study, rows=study.rows[:2])])
    return report.write(folder, judgements, reached, [(title, picture)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("runs") / "toy")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Tree((folder / "report.html").read_text(encoding="utf-8")).root


def section(page, name):
    (found,) = (s for s in page.iter("section") if s.get("id") == name)
    return found


def rows(table):
    return [[text(cell) for cell in row] for row in table.iter("tr")]


def test_every_finished_trial_has_its_row_below_the_parent(page):
    (table,) = section(page, "trials").iter("table")
    _, header, parent, *trials = rows(table)
    seen = [dict(zip(header, row, strict=True)) for row in trials]
    names = [(row["block"], row["method"], row["seed"]) for row in seen]
    assert names == [
        ("block1", "CM-RW", "0"),
        ("block2", "STN", "0"),
        ("block2", "STN", "1"),
        ("block10", "CL-RW", "0"),
    ]
    # 100 images: one decimal; a gain is a negative loss.
    assert [row["best"] for row in seen] == ["92.0", "95.0", "85.0", "70.0"]
    assert [row["lost"] for row in seen] == [f"{MINUS}2.0", f"{MINUS}5.0", "5.0", "20.0"]
    assert (seen[0]["parameters"], seen[0]["MACs, M"], seen[0]["MB"]) == (
        "1,200,000",
        "15.0",
        "4.80",
    )
    above = dict(zip(header, parent, strict=True))
    assert (above["block"], above["best"]) == ("parent", "90.0")
    assert (above["parameters"], above["MB"]) == ("1,234,567", "5.00")


def test_gaps_are_dashes_and_no_numbers(page):
    (table,) = section(page, "trials").iter("table")
    header = [text(cell) for cell in table[0][1]]
    body = table.findall("tbody")[-1]
    cells = [row[header.index("distilled")] for row in body]
    assert [text(cell) for cell in cells] == [GAP, "25.0", "25.0", GAP]
    assert [cell.get("data-value") for cell in cells] == [None, "25.0", "25.0", None]
    assert all("gap" in cells[n].get("class") for n in (0, 3))
    for cell in page.iter("td"):
        assert "nan" not in text(cell).lower()
        assert "None" not in text(cell)
    assert "similarity" not in header
    assert "Not measured in any trial: chosen; last;" in text(section(page, "trials"))


def test_failed_trials_stand_beside_the_table_with_their_reason(page):
    failed = section(page, "trials")
    assert "cm_mw-block3-seed0: loss is no longer finite" in text(failed)
    assert "block3" not in "".join(text(table) for table in failed.iter("table"))


def test_verdict_is_sentences_a_ranking_and_two_lists(page):
    found = section(page, "verdict")
    sentences = [text(p) for p in found.iter("p")]
    assert sentences[0].startswith("block2 can perhaps go: it saves 25.0 % of the multiply-acc")
    assert "accuracy changes by +5.0 points (no interval)." in sentences[0]
    assert sentences[1].startswith("Take the student of STN, seed 0,")
    ranking = rows(next(found.iter("table")))
    assert [row[:3] for row in ranking[1:]] == [
        ["1", "block1", "CM-RW"],
        ["2", "block2", "STN"],
        ["3", "block10", "CL-RW"],
    ]
    headings = [text(h) for h in found.iter("h3")]
    assert headings == ["Not compressible", "Not run"]
    assert [text(item) for item in found.iter("li")] == ["a to b: block1", "block4"]


@pytest.mark.parametrize(
    ("sure", "low", "says"),
    [
        (True, -0.01, "block2 can go: "),
        (False, -0.2, "its interval is not."),
    ],
)
def test_verdict_says_how_sure_it_is(folder, tmp_path, sure, low, says):
    estimate = verdict.Estimate(0.02, None, low, 0.05, 1, 99)
    advised = verdict.Recommendation("block2", "stn", 0, 0.02, estimate, 0.1, 0.2, sure)
    reached = verdict.Verdict("toy", 0.03, (), (), (), advised)
    shutil.copytree(folder, tmp_path / "toy")
    for given in (reached, dataclasses.replace(reached, recommendation=None)):
        file = report.write(tmp_path / "toy", (), given)
        said = text(section(Tree(file.read_text()).root, "verdict"))
        if given.recommendation:
            assert says in said
            assert f"+2.0 points [{MINUS}{-100 * low:.1f}, +5.0]" in said
        else:
            assert "No block can go: nothing that was run stays within 3.0 points" in said


def test_claims_show_verdict_numbers_and_why(page):
    items = [item for item in section(page, "claims").iter("li") if item.get("class")]
    assert [item.get("class") for item in items] == ["fails", "holds", "unsure"]
    for item, judgement in zip(items, JUDGEMENTS, strict=True):
        named = judgement.sentence, judgement.judged, judgement.verdict, judgement.why
        for part in (*named, *judgement.numbers):
            assert part in text(item)


def test_settings_versions_and_commands(page):
    settings = rows(next(section(page, "settings").iter("table")))
    assert settings[1:] == [
        ["dataset", "toy"],
        ["test_images", "100"],
        ["augment", "not set"],
        ["deterministic", "no"],
        ["classes", "10"],
    ]
    origin = section(page, "origin")
    (commands,) = origin.iter("pre")
    assert text(commands) == "python run_triage.py -x\ndeep_net_triage.triage(model)"
    runs = rows(next(origin.iter("table")))[1:]
    assert runs[0] == ["1", "2023-11-14 22:13", "5.0 min", "cpus 2, gpus none", "keras 3.15.1"]
    assert runs[1][2] == GAP


def test_every_column_is_explained():
    shown = set(trial_table.COLUMNS) | {c.parent for c in trial_table.COLUMNS.values()}
    assert shown - {""} == set(results.COLUMNS) - {"dataset"}


def test_page_loads_nothing_and_refers_only_to_itself(folder, page):
    source = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|@import|//[a-z]+\.|url\((?!#)", source)
    names = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(names) == len(set(names))
    assert not any(element.get("src") for element in page.iter())
    for element in page.iter():
        if element.get("href"):
            href = element.get("href")
            assert href == "data:," or href.removeprefix("#") in names
        for name in element.get("aria-labelledby", "").split():
            assert name in names
        for name in re.findall(r"url\(#(.*?)\)", " ".join(element.attrib.values())):
            assert name in names


def test_it_can_be_read_by_ear_and_in_the_dark(page):
    assert page.get("lang") == "en"
    levels = [int(e.tag[1]) for e in page.iter() if re.fullmatch(r"h\d", e.tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(header.get("scope") for header in page.iter("th"))
    pictures = list(page.iter("svg"))
    assert [text(picture[0]) for picture in pictures] == ["Accuracy", "Learning curves"]
    for picture in pictures:
        assert picture[0].tag == "title"
        assert picture.get("aria-labelledby") == picture[0].get("id")
        drawn = " ".join(value for part in picture.iter() for value in part.attrib.values())
        assert "var(--ink)" in drawn
        assert not re.search(r"#000000|#333333|#ffffff|#e5e5e5", drawn)


def test_what_comes_from_data_is_text(tmp_path):
    folder = write_study(tmp_path / "toy", HOSTILE, HOSTILE, HOSTILE)
    judgement = Judgement(1, HOSTILE, HOSTILE, HOSTILE, [HOSTILE], HOSTILE)
    page = Tree(write_report(folder, [judgement], HOSTILE).read_text(encoding="utf-8")).root
    assert len(list(page.iter("script"))) == len(list(page.iter("style"))) == 1
    assert list(page.iter("img")) == []
    assert not any(key.startswith("on") for e in page.iter() for key in e.attrib)
    for name in ("verdict", "trials", "figures", "claims", "origin"):
        assert HOSTILE in text(section(page, name)), name


def test_it_is_the_same_bytes_when_made_again(folder):
    first = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    code = "import pathlib, sys; from tests import test_report"
    code += "; test_report.write_report(pathlib.Path(sys.argv[1]))"
    again = [sys.executable, "-c", code, str(folder)]  # in which sets have another order
    subprocess.run(again, check=True, cwd=Path(__file__).parent.parent)
    assert (folder / "report.html").read_bytes() == first


def test_a_study_of_which_little_is_left_has_a_page(tmp_path):
    folder = write_study(tmp_path / "toy")
    shutil.rmtree(folder / "trials")
    (folder / "study.json").unlink()
    results.write_table(folder)
    reached = verdict.reach(results.read_study(folder), 0.03)
    page = Tree(report.write(folder, (), reached).read_text()).root
    assert "No block can go" in text(section(page, "verdict"))
    assert [s.get("id") for s in page.iter("section")] == ["verdict", "columns", "settings"]
