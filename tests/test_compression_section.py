"""The page's section on the compression of several blocks."""

import dataclasses
import re

from deep_net_triage.findings import report, smaller_text, verdict
from deep_net_triage.findings.rivals import Smaller
from deep_net_triage.network.latencies import Latency
from deep_net_triage.records.compressions import Considered, Step
from tests.compressions import compression, rival, smaller, undone
from tests.test_report import HOSTILE, MINUS, make_study, read, rows, section, text

LATENCIES = (
    Latency("parent", "keras", 64, 1, 0.5, 0.01),
    Latency("smaller", "keras", 64, 1, 0.4, 0.02),
)


def written(folder, found, study=None):
    study = study or make_study(folder)
    return read(report.write(study, (), verdict.reach(study, 0.03), smaller=found))


def tables(shown):
    """The tables by the names of their captions."""
    named = {}
    for table in shown.iter("table"):
        named[table.get("aria-labelledby").removesuffix("-caption")] = rows(table)
    return named


def figures(page):
    """Number and first word of each figure's caption."""
    captions = [text(caption) for caption in page.iter("figcaption")]
    found = [re.match(r"Figure (\d+)\. (\w+)", caption) for caption in captions]
    return [match.groups() for match in found if match]


def test_it_follows_the_verdict_with_sentences_a_figure_and_tables(tmp_path):
    found = smaller(
        rival("scratch", -3.0, -4.0, -2.0),
        refused={"blocks left out": "block2 changes the shape"},
        failed={"narrow-seed0": "loss is no longer finite"},
        latencies=LATENCIES,
    )
    page = written(tmp_path, found)
    sections = [each.get("id") for each in page.iter("section")]
    assert sections.index("compression") == sections.index("verdict") + 1
    shown = section(page, "compression")
    verdict_says = [text(p).replace(MINUS, "-") for p in section(page, "verdict").iter("p")]
    assert verdict_says[0] == smaller_text.recommendation(found, 0.03)
    assert "#compression" in [a.get("href") for a in page.find(".//nav").iter("a")]
    paragraphs = [text(p).replace(MINUS, "-") for p in shown.iter("p")]
    first, *others = smaller_text.of_network(found)
    assert paragraphs[:3] == [
        first,
        " ".join(others),
        " ".join(smaller_text.of_alternatives(found)),
    ]
    assert {name: len(content) for name, content in tables(shown).items()} == {
        "steps": 7,  # groups, header, parent, three steps, final retraining
        "alternatives": 4,
        "latencies": 3,
        "candidates": 7,
    }
    listed = [text(item) for item in shown.iter("li")]
    assert listed == [
        "blocks left out: block2 changes the shape",
        "narrow-seed0: loss is no longer finite",
    ]
    (caption,) = [each for each in shown.iter() if each.get("id") == "candidates-caption"]
    assert "What each loses alone is measured on validation images;" in text(caption)
    assert "{{" not in text(page)
    assert figures(page) == [("6", "Accuracy"), ("5", "Learning")]
    names = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(names) == len(set(names))


def test_without_a_compression_it_is_absent(tmp_path):
    page = written(tmp_path, None)
    assert "compression" not in [each.get("id") for each in page.iter("section")]
    assert figures(page) == [("5", "Learning")]


def test_where_nothing_was_compressed_it_says_why(tmp_path):
    shown = section(written(tmp_path, Smaller(undone())), "compression")
    assert text(shown.find("p")).startswith("Nothing was compressed: 3 steps tried")
    assert list(tables(shown)) == ["steps", "candidates"]
    none = dataclasses.replace(undone(), steps=(), candidates=())
    shown = section(written(tmp_path, Smaller(none)), "compression")
    assert tables(shown) == {}
    assert list(shown.iter("figure")) == []


def test_names_and_reasons_are_text(tmp_path):
    record = compression(
        steps=(
            Step(HOSTILE, "stn", True, 0.9, 0.9, 360, 800),
            Step("block3", "stn", True, 0.895, 0.884, 300, 600),
        ),
        candidates=(Considered(HOSTILE, "stn", 0.0, 0.1, -0.01, 0.01),),
    )
    found = smaller(of=record, refused={HOSTILE: HOSTILE}, failed={HOSTILE: HOSTILE})
    page = written(tmp_path, found)
    assert list(page.iter("img")) == []
    assert len(list(page.iter("script"))) == 1
    shown = section(page, "compression")
    assert HOSTILE in text(shown.find("p"))
    assert text(shown.find(".//figure")).count("alert(1)") == 1
    for table in shown.iter("table"):
        assert HOSTILE in text(table)
    for item in shown.iter("li"):
        assert text(item) == f"{HOSTILE}: {HOSTILE}"


def test_uncounted_layers_are_named(tmp_path):
    study = dataclasses.replace(make_study(tmp_path), uncounted=("norm",))
    shown = section(written(tmp_path, smaller(), study), "compression")
    assert "not counted: layer norm" in text(shown)
