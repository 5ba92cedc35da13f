import dataclasses
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import numpy as np
import pytest

from deep_net_triage.findings import page as pages
from deep_net_triage.findings import plots, report, trial_table, verdict
from deep_net_triage.findings.drawings import Picture
from deep_net_triage.findings.judgements import Judgement
from deep_net_triage.findings.page import GAP
from deep_net_triage.network.descriptions import BlockDescription, Refused
from deep_net_triage.records import results
from deep_net_triage.records.provenance import Command
from deep_net_triage.records.results import Epoch, Row
from deep_net_triage.records.study_results import StudyResults

HOSTILE = (
    "x\"'><script>alert(1)</script>\n<img src=//evil.example onerror=alert(2)>&amp;$\\frac{"
)
MINUS = "\u2212"


JUDGEMENTS = (
    Judgement(
        1, "Models win.", "the best", "not supported", ["b1: -1.0 points"], "STN is best."
    ),
    Judgement(
        4, "Blocks are equal.", "spread", "supported", ["spread 0.1 points"], "It is noise."
    ),
    Judgement(7, "Hard sets are slow.", "epochs", "undecided", [], "There is one data set."),
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


def row(method, block, accuracy, seed=0):
    """A trial that costs a quarter of the parent's multiply-accumulates."""
    distilled = method.startswith("stn")
    return Row(
        dataset="toy",
        method=method,
        block=block,
        seed=seed,
        baseline_accuracy=0.9,
        initial_accuracy=0.1,
        distilled_accuracy=0.25 if distilled else None,
        max_accuracy=accuracy,
        max_epoch=2,
        epochs_to_99=2,
        distill_epochs=4 if distilled else 0,
        final_accuracy=accuracy,
        accuracy_drop=0.9 - accuracy,
        final_drop=0.9 - accuracy,
        parent_parameters=1_234_567,
        parameters=1_200_000,
        parent_macs=20_000_000,
        macs=15_000_000,
        seconds=61.5,
        chosen_epoch=2,
        chosen_accuracy=accuracy,
        parent_bytes=5_000_000,
        bytes=4_800_000,
    )


def curve(accuracy):
    return tuple(
        Epoch(
            phase="train", epoch=n, loss=1.0, val_accuracy=accuracy - 0.1 + 0.05 * n, seconds=1
        )
        for n in (1, 2)
    )


def described(name):
    return BlockDescription(name, "a", "b", None, 2, 2, (8, 8, 3), (8, 8, 4), 9, 9, 3, 3)


def make_study(
    folder, block="block1", reason="loss is no longer finite", command="-x", trials=4
):
    """A study of four trials that finished, or fewer, and one that failed.

    Args:
        block: the name of one block, and whatever else a network's author names.
        reason: why a trial failed.
        command: what was typed after the script's name.
    """
    rows = (
        row("cm_rw", block, 0.92),
        row("stn", "block2", 0.95),
        row("stn", "block2", 0.85, seed=1),
        row("cl_rw", "block10", 0.7),
    )[:trials]
    run = Command(
        command=f"run_triage.py {command}",
        started=1_700_000_000.5,
        seconds=300.0,
        versions={"keras": "3.15.1"},
        hardware={"cpus": 2, "gpus": []},
    )
    library = dataclasses.replace(run, seconds=None, command="deep_net_triage.triage(model)")
    return StudyResults(
        dataset="toy",
        baseline_accuracy=0.9,
        rows=rows,
        epochs={each.trial: curve(each.max_accuracy) for each in rows},
        failures={"cm_mw-block3-seed0": reason},
        blocks=tuple(map(described, (block, "block2", "block4", "block10"))),
        refused=(Refused("a", "b", block),),
        settings={
            "dataset": "toy",
            "test_images": 100,
            "augment": None,
            "deterministic": False,
        },
        classes=10,
        commands=(run, library),
        folder=folder,
    )


def hostile_study(folder):
    """A study in which everything that somebody else names is hostile."""
    study = make_study(folder, HOSTILE, HOSTILE, HOSTILE)
    return dataclasses.replace(
        study,
        dataset=HOSTILE,
        failures={HOSTILE: HOSTILE},
        uncounted=(HOSTILE,),
        settings={**study.settings, "image_dir": HOSTILE, "class_names": [HOSTILE], HOSTILE: 1},
    )


def write_report(study, judgements=JUDGEMENTS, title="Accuracy"):
    picture = plots.accuracy([dataclasses.replace(study, rows=study.rows[:2])])
    figures = [Picture(2, title, picture, title)]
    return report.write(study, judgements, verdict.reach(study, 0.03), figures)


def read(file):
    return Tree(file.read_text(encoding="utf-8")).root


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def page(study):
    return read(write_report(study))


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
    # 4,800,000 and 5,000,000 bytes of weights.
    assert (seen[0]["parameters"], seen[0]["MACs, M"], seen[0]["MiB"]) == (
        "1,200,000",
        "15.0",
        "4.58",
    )
    above = dict(zip(header, parent, strict=True))
    assert (above["block"], above["best"]) == ("parent", "90.0")
    assert (above["parameters"], above["MiB"]) == ("1,234,567", "4.77")


def with_a_control(study, **fields):
    """The study of `make_study` with the images of 100, and a control of both seeds.

    Students at block2 reach 95 and 85 %, controls 91 %; last epochs have 93, 83 and 92 %.
    """
    controls = tuple(
        dataclasses.replace(row("control", "no-block", 0.91, seed), final_accuracy=0.92)
        for seed in (0, 1)
    )
    rows = tuple(
        dataclasses.replace(one, final_accuracy=one.max_accuracy - 0.02) for one in study.rows
    )
    images, every = np.arange(100), (*rows, *controls)
    return dataclasses.replace(
        study,
        rows=rows,
        controls=controls,
        correct={one.trial: images < round(100 * one.chosen_accuracy) for one in every},
        final_correct={one.trial: images < round(100 * one.final_accuracy) for one in every},
        parent_correct=images < 90,
        **fields,
    )


def costs(study):
    """The cells of the page's table of differences, by block and method; without intervals."""
    (table,) = section(read(write_report(study)), "costs").iter("table")
    groups, header, *lines = rows(table)
    lines = [
        [re.sub(r" \[.*\]", "", cell).replace(MINUS, "-") for cell in line] for line in lines
    ]
    return groups, header, {(line[0], line[1]): line[2:] for line in lines}


def test_each_block_and_method_is_compared_with_parent_and_control(study, tmp_path):
    groups, header, shown = costs(with_a_control(study, folder=tmp_path))
    assert groups[1:] == [
        "test accuracy, %",
        "maximum: difference, points",
        "last epoch: difference, points",
    ]
    assert header[2:5] == ["seeds", "maximum", "last epoch"]
    assert header[5:] == ["from the parent", "from the control"] * 2
    assert shown["block2", "STN"] == ["2", "90.0", "88.0", "+0.0", "-1.0", "-2.0", "-4.0"]
    assert shown["block1", "CM-RW"] == ["1", "92.0", "90.0", "+2.0", "+1.0", "+0.0", "-2.0"]
    assert shown["no-block", "control"] == ["2", "91.0", "92.0", "+1.0", "", "+2.0", ""]
    page = read(tmp_path / "report.html")
    ranking = rows(next(section(page, "verdict").iter("table")))
    assert ranking[1][3:5] == ["from the parent", "from the control"]
    assert ranking[2][4].startswith("+1.0 [")
    assert "The control is the parent" in text(section(page, "costs"))


def test_without_a_control_or_the_images_of_the_last_epoch_they_are_left_out(study, page):
    (table,) = section(page, "costs").iter("table")
    assert "from the control" not in rows(table)[1]
    assert "from the control" not in text(section(page, "verdict"))
    assert "control" not in text(section(page, "costs"))
    assert costs(study)[2]["block2", "STN"] == ["2", "90.0", "90.0", "+0.0", "+0.0"]


def test_where_the_schedule_settles_the_last_epoch_stands_beside_the_maximum(study, tmp_path):
    settled = with_a_control(study, folder=tmp_path)
    ended = [dataclasses.replace(one, max_accuracy=0.97) for one in settled.rows]
    settings = {**study.settings, "schedule": "cosine"}
    groups, header, shown = costs(
        dataclasses.replace(settled, rows=tuple(ended), settings=settings)
    )
    assert groups[1:] == ["test accuracy, %", "last epoch: difference, points"]
    assert header[3:5] == ["last epoch", "maximum"]
    assert shown["block2", "STN"] == ["2", "90.0", "97.0", "+0.0", "-1.0"]
    said = (
        "Accuracies are those of the last epoch, at which the learning rate has fallen to zero."
    )
    page = read(tmp_path / "report.html")
    for name in ("verdict", "costs", "claims"):
        assert said in text(section(page, name)), name
    (table,) = section(page, "trials").iter("table")
    _, header, parent, *_ = rows(table)
    shown = dict(zip(header, parent, strict=True))
    assert (shown["best"], shown["chosen"], shown["last"]) == ("", "90.0", "90.0")


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
    assert "Not measured in any trial: reset, %; bypassed, %;" in text(section(page, "trials"))


def test_failed_trials_stand_beside_the_table_with_their_reason(page):
    failed = section(page, "trials")
    assert "cm_mw-block3-seed0: loss is no longer finite" in text(failed)
    assert "block3" not in "".join(text(table) for table in failed.iter("table"))


def test_verdict_is_sentences_a_ranking_and_two_lists(page, study):
    shown = section(page, "verdict")
    sentences = [text(p) for p in shown.iter("p")]
    expected = verdict.sentences(verdict.reach(study, 0.03))
    assert len(expected) >= 2
    assert [s.replace(MINUS, "-") for s in sentences[: len(expected)]] == expected
    assert shown.find("p").get("class") == "first-sentence"
    assert "block1 loses least, but" not in text(shown)  # no interval says so
    ranking = rows(next(shown.iter("table")))
    assert [row[:4] for row in ranking[2:]] == [
        ["1", "block1", "CM-RW", "+2.0"],
        ["2", "block2", "STN", "+0.0"],
        ["3", "block10", "CL-RW", f"{MINUS}20.0"],
    ]
    headings = [text(h) for h in shown.iter("h3")]
    assert headings == ["Not compressible", "Without a finished trial"]
    assert [text(item) for item in shown.iter("li")] == ["a to b: block1", "block4"]


def test_the_verdict_says_why_nothing_is_recommended(study, tmp_path):
    reached = verdict.reach(study, 0.03)
    why = "The parent has not learned: it is at -1 < 2."
    reached = dataclasses.replace(reached, recommendation=None, no_recommendation=why)
    file = report.write(dataclasses.replace(study, folder=tmp_path), (), reached)
    assert why.replace("-1", f"{MINUS}1") in text(section(read(file), "verdict"))


def test_uncounted_layers_are_named_beside_the_numbers_they_are_missing_in(tmp_path):
    study = dataclasses.replace(make_study(tmp_path), uncounted=("Attention", "conv3d"))
    page = read(write_report(study))
    (under,) = (p for p in section(page, "verdict").iter("p") if "MACs saved are" in text(p))
    shown = list(section(page, "verdict").iter())
    assert shown.index(under) > shown.index(section(page, "verdict").find(".//table"))
    (macs,) = (
        div
        for div in section(page, "columns").iter("div")
        if text(div.find(".//code")) == "macs"
    )
    for place in (under, macs):
        assert "layer Attention, layer conv3d" in text(place)
    complete = read(write_report(make_study(tmp_path)))
    assert "not counted" not in text(complete)


def test_the_parent_stands_beside_the_accuracy_that_was_chosen_like_its_own(study, tmp_path):
    """With validation images the parent's accuracy is not the best on the test images."""
    held_out = dataclasses.replace(
        study, settings={**study.settings, "validation_fraction": 0.1}, folder=tmp_path
    )
    for each, best in ((study, "90.0"), (held_out, "")):
        (table,) = section(read(write_report(each)), "trials").iter("table")
        _, header, parent, *_ = rows(table)
        shown = dict(zip(header, parent, strict=True))
        assert (shown["best"], shown["chosen"]) == (best, "90.0")


def test_claims_show_verdict_numbers_and_why(page):
    items = [item for item in section(page, "claims").iter("li") if item.get("class")]
    assert [item.get("class") for item in items] == ["fails", "holds", "unsure"]
    for item, judgement in zip(items, JUDGEMENTS, strict=True):
        named = judgement.sentence, judgement.judged, judgement.verdict, judgement.why
        for part in (*named, *judgement.numbers):
            assert part.replace("-1.0", f"{MINUS}1.0") in text(item)


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
    shown = set(trial_table.MEASURES)
    shown |= {trial_table.parent_measure(name, StudyResults("toy", 0.9)) for name in shown}
    assert shown - {None} == set(results.COLUMNS) - {"dataset"}


def test_page_loads_nothing_and_refers_only_to_itself(study, page):
    source = (study.folder / "report.html").read_text(encoding="utf-8")
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
    pictures = [svg for svg in page.iter("svg") if svg.get("aria-hidden") != "true"]
    blocks, *figures = pictures
    assert [text(picture[0]) for picture in figures] == ["Accuracy", "Learning curves"]
    assert text(blocks[0]).startswith("The network from input to output.")
    for picture in pictures:
        assert picture.get("role") == "img"
        assert picture[0].tag == "title"
        assert picture.get("aria-labelledby") == picture[0].get("id")
    for picture in figures:
        drawn = " ".join(value for part in picture.iter() for value in part.attrib.values())
        assert "var(--ink)" in drawn
        assert not re.search(r"#000000|#333333|#ffffff|#e5e5e5", drawn)


def hostile_page(folder):
    judgement = Judgement(1, HOSTILE, HOSTILE, HOSTILE, [HOSTILE], HOSTILE)
    return write_report(hostile_study(folder), [judgement], HOSTILE)


def test_what_comes_from_data_is_text(tmp_path):
    page = read(hostile_page(tmp_path))
    assert len(list(page.iter("script"))) == len(list(page.iter("style"))) == 1
    assert list(page.iter("img")) == []
    assert not any(key.startswith("on") for e in page.iter() for key in e.attrib)
    for name in ("verdict", "trials", "columns", "figures", "claims", "settings", "origin"):
        assert HOSTILE in text(section(page, name)), name
    for place in (page.find(".//title"), page.find(".//h1"), page.find(".//pre")):
        assert HOSTILE in text(place)


def test_bytes_that_are_no_text_are_shown_by_their_number(tmp_path):
    page = read(write_report(make_study(tmp_path, command="--image_dir=\udcff")))
    assert "--image_dir=\\udcff" in text(section(page, "origin"))


def test_numbers_get_minus_signs_and_stay_on_one_line_and_names_stay_as_they_are():
    said = "conv-1 by STN-CM: -0.3 points [-0.9, +1.5], 5 % of res-2 - add"
    shown = pages.typeset(said)
    assert shown.replace("\u00a0", "~") == (
        f"conv-1 by STN-CM: {MINUS}0.3~points~[{MINUS}0.9,~+1.5], 5~% of res-2 - add"
    )


def test_a_value_that_python_forgets_is_an_error_not_a_blank():
    with pytest.raises(jinja2.UndefinedError):
        pages.render(reloads=False, dataset="toy")


def test_it_is_the_same_bytes_when_made_again(study, page):
    first = (study.folder / "report.html").read_bytes()
    (study.folder / "report.html").unlink()
    code = "import pathlib, sys; from tests import test_report as t"
    code += "; t.write_report(t.make_study(pathlib.Path(sys.argv[1])))"
    again = [sys.executable, "-c", code, str(study.folder)]  # sets have another order there
    subprocess.run(again, check=True, cwd=Path(__file__).parent.parent)
    assert (study.folder / "report.html").read_bytes() == first


def test_a_study_without_trials_has_a_page(tmp_path):
    study = StudyResults("toy", 0.9, folder=tmp_path)
    page = read(report.write(study, (), verdict.reach(study, 0.03)))
    assert "Nothing is recommended." in text(section(page, "verdict"))
    assert [s.get("id") for s in page.iter("section")] == ["verdict", "columns", "settings"]
    links = [a.get("href") for a in page.find(".//nav").iter("a")]
    assert links == ["#verdict", "#columns", "#settings"]
