import dataclasses
import io

import pytest

from deep_net_triage.findings import presentation, smaller_text, tables, verdict
from deep_net_triage.network import blocks
from deep_net_triage.progress import Progress
from deep_net_triage.records import files, provenance, results
from tests.compressions import rival, smaller
from tests.test_report import make_study, read
from tests.toys import toy_parent


def present(study, smaller=None):
    printed, parent = io.StringIO(), toy_parent()
    reached = presentation.present(
        study, parent, blocks.find_blocks(parent), 0.03, Progress(printed), smaller
    )
    return reached, printed.getvalue()


def test_a_study_that_was_read_is_not_read_again(tmp_path, monkeypatch):
    def read_again(*_):
        raise AssertionError("a file of the study is read again")

    for module, name in (
        (files, "read_json"),
        (provenance, "read"),
        (results, "read_trial"),
        (results, "read_table"),
        (results, "read_epochs"),
    ):
        monkeypatch.setattr(module, name, read_again)
    present(make_study(tmp_path))
    assert (tmp_path / "report.html").is_file()


def test_a_figure_of_an_earlier_command_goes_if_there_is_none_now(tmp_path):
    study = make_study(tmp_path)
    present(study, smaller(rival("pruned", 0.1, -0.5, 0.7)))
    figures = tmp_path / "figures"
    assert len(list(figures.glob("compression.*"))) == 3
    present(study)
    assert not list(figures.glob("compression.*"))
    assert len(list(figures.glob("accuracy.*"))) == 3


@pytest.mark.parametrize("trials", [4, 0])
def test_figures_page_table_and_verdict(tmp_path, trials):
    study = make_study(tmp_path, trials=trials)
    reached, printed = present(study)
    drawn = {file.stem for file in (tmp_path / "figures").glob("*.png")}
    pictures = read(tmp_path / "report.html").iter("figure")
    shown = [figure.find(".//title").text for figure in pictures]
    of_trials = {"accuracy", "savings", "convergence"}
    assert drawn == {"structure"} | (of_trials if trials else set())
    assert len(shown) == (6 if trials else 1)
    assert reached == verdict.reach(study, 0.03)
    assert tables.table(study) in printed
    assert verdict.describe(reached) in printed
    assert str(tmp_path / "report.html") in printed
    assert ("claims" in sections(tmp_path)) == bool(trials)


def test_figures_are_numbered_as_in_the_paper_and_written_in_three_formats(tmp_path):
    study = make_study(tmp_path)
    present(study)
    captions = [
        "".join(c.itertext()) for c in read(tmp_path / "report.html").iter("figcaption")
    ]
    begin = [" ".join(caption.split()[:4]) for caption in captions[1:]]  # after the block map
    assert begin == [
        "Figure 1. A block",
        "Figure 2. Test accuracy",
        "Figure 3. Epochs to",
        "Figure 4. What each",
        "Figure 5. Learning curves.",
    ]
    written = {file.name: file.read_bytes() for file in (tmp_path / "figures").iterdir()}
    names = {"structure", "accuracy", "convergence", "savings"}
    assert set(written) == {f"{n}.{suffix}" for n in names for suffix in ("png", "pdf", "svg")}
    assert written["accuracy.pdf"].startswith(b"%PDF")
    assert b"<svg" in written["accuracy.svg"]
    present(study)
    assert written == {f.name: f.read_bytes() for f in (tmp_path / "figures").iterdir()}


def sections(folder):
    """The names of the page's sections."""
    return [section.get("id") for section in read(folder / "report.html").iter("section")]


def test_the_papers_claims_are_not_judged_by_a_given_parent(tmp_path):
    study = make_study(tmp_path)
    given = {**study.settings, "parent": "my_model.keras"}
    present(dataclasses.replace(study, settings=given))
    assert "claims" not in sections(tmp_path)


def test_a_compression_is_drawn_said_and_shown(tmp_path):
    found = smaller(rival("pruned", 1.2, 0.3, 2.1))
    _, printed = present(make_study(tmp_path), found)
    assert (tmp_path / "figures" / "compression.png").stat().st_size > 10_000
    assert smaller_text.describe(found) in printed
    assert "compression" in sections(tmp_path)


def test_no_network_is_to_be_taken_where_drops_from_the_parent_mean_nothing(tmp_path):
    found = smaller(rival("pruned", -0.2, -0.8, 0.4))
    _, printed = present(make_study(tmp_path), found)
    assert "The network to take is" in printed
    study = dataclasses.replace(make_study(tmp_path), baseline_accuracy=0.1, classes=10)
    _, printed = present(study, found)
    assert "The parent has not learned" in printed
    assert "The network to take is" not in printed
    page = (tmp_path / "report.html").read_text()
    assert "The network to take is" not in page
