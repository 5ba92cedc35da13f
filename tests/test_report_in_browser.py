"""What only a browser can tell of a study's page; needs playwright and a Chromium."""

import shutil
import time

import pytest

from deep_net_triage.findings import presentation, report, unfinished, verdict
from deep_net_triage.findings.unfinished import Unfinished
from deep_net_triage.records.alternatives import KINDS
from deep_net_triage.records.study_results import StudyResults
from tests import handmade, test_block_map
from tests.compressions import rival, smaller
from tests.test_report import HOSTILE, hostile_page, make_study, write_report

pytestmark = pytest.mark.slow

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed"
    )
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    with playwright.sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=found)
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_report(make_study(tmp_path_factory.mktemp("toy"))).as_uri()


@pytest.fixture
def opened(browser, address):
    """Opens a page; at the end it must have loaded nothing else and complained of nothing."""
    contexts, complaints, requests, addresses = [], [], [], []

    def open_page(width=1280, height=800, url=address, **options):
        addresses.append(url)
        contexts.append(
            browser.new_context(viewport={"width": width, "height": height}, **options)
        )
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == addresses


def first_cells(page):
    return page.locator("#trials tbody:last-child tr > :first-child").all_inner_texts()


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_only_tables_scroll_sideways(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wider = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((e) => !e.closest(".scroll") && !e.closest("svg"))
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5)
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert wider == []
    if width <= 360:  # what this test would not see if the tables had shrunk to nothing
        box = page.locator("#trials .scroll")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")


@pytest.mark.parametrize("width", [320, 1280])
def test_of_a_compression_only_tables_scroll_sideways(opened, tmp_path, width):
    study = make_study(tmp_path)
    rivals = [rival(kind, -1.0, -2.0, 0.0) for kind in KINDS]
    found = smaller(*rivals, refused={"x" * 100: "y" * 300})
    file = report.write(study, (), verdict.reach(study, 0.03), smaller=found)
    page = opened(width, url=file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.locator("#compression figure svg").bounding_box()
    assert 250 < drawn["width"] <= width


def test_headers_sort_by_click_and_by_key(opened):
    page = opened()
    assert first_cells(page) == ["block1", "block2", "block2", "block10"]
    best = page.locator("#trials thead th", has_text="best").first
    best.get_by_role("button").click()
    assert best.get_attribute("aria-sort") == "ascending"
    assert first_cells(page) == ["block10", "block2", "block1", "block2"]
    page.keyboard.press("Enter")
    assert best.get_attribute("aria-sort") == "descending"
    assert first_cells(page) == ["block2", "block1", "block2", "block10"]
    # Gaps stay last both ways; numbers in names count.
    distilled = page.get_by_role("button", name="distilled")
    for _ in range(2):
        distilled.click()
        assert first_cells(page)[:2] == ["block2", "block2"]
    assert best.get_attribute("aria-sort") is None
    page.get_by_role("button", name="block").click()
    assert first_cells(page) == ["block1", "block2", "block2", "block10"]
    above = page.locator("#trials tbody").first.inner_text()
    assert above.startswith("parent")


def test_dark_and_print_have_their_colours(opened):
    background = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('svg text')).fill"
    page = opened(color_scheme="light")
    light = page.evaluate(background), page.evaluate(ink)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(background), page.evaluate(ink)
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    page.emulate_media(color_scheme="dark", media="print")
    assert (page.evaluate(background), page.evaluate(ink)) == light


def test_it_is_a_plain_table_without_scripts(opened):
    page = opened(java_script_enabled=False)
    assert first_cells(page) == ["block1", "block2", "block2", "block10"]
    assert page.locator("button").count() == 0


def test_names_from_a_study_are_shown_and_run_nothing(opened, tmp_path):
    page = opened(url=hostile_page(tmp_path).as_uri())
    for name in ("verdict", "trials", "columns", "figures", "claims", "settings", "origin"):
        assert HOSTILE in page.locator(f"#{name}").text_content(), name
    assert HOSTILE in page.title() or " ".join(HOSTILE.split()) in page.title()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


def running_page(folder, finished=3, written=None):
    """The page of a study that runs, and the study."""
    study = make_study(folder)
    written = time.time() if written is None else written
    left = tuple(f"block{n} a_method_of_a_long_name seed 0" for n in range(12))
    standing = Unfinished(finished, 1, ("block2 cm_rw seed 0",), left, written)
    presentation.present_unfinished(study, standing, 0.03)
    return study, (folder / "report.html").as_uri()


def test_a_page_reloads_itself_in_its_place_until_the_study_has_ended(browser, tmp_path):
    study, url = running_page(tmp_path)
    page = browser.new_page(viewport={"width": 1000, "height": 500})
    loads = []
    page.on("load", lambda _: loads.append(1))
    page.clock.install()
    page.goto(url)
    best = page.locator("#trials thead th", has_text="best").first.get_by_role("button")
    best.click()
    best.click()
    sorted_cells = first_cells(page)
    page.evaluate("scrollTo(0, 300)")
    running_page(tmp_path, finished=4)
    with page.expect_navigation():
        page.clock.fast_forward(11_000)
    page.get_by_text("4 of 18 trials are finished; 1 failed.").wait_for()
    page.wait_for_function("scrollY === 300")
    assert first_cells(page) == sorted_cells
    write_report(study)
    with page.expect_navigation():
        page.clock.fast_forward(11_000)
    page.get_by_text("4 trials finished, 1 failed.").wait_for()
    assert page.locator("#state").count() == 0
    count = len(loads)
    page.clock.fast_forward(120_000)
    page.wait_for_timeout(100)
    assert len(loads) == count == 3
    page.close()


def test_a_page_that_nobody_writes_any_more_stops_reloading_and_says_so(browser, tmp_path):
    study = make_study(tmp_path)
    _, url = running_page(tmp_path, written=time.time() - unfinished.patience(study, None) - 60)
    page = browser.new_page()
    loads = []
    page.on("load", lambda _: loads.append(1))
    page.clock.install()
    page.goto(url)
    notice = page.get_by_text("this one no longer reloads itself")
    assert not notice.is_visible()
    page.clock.fast_forward(11_000)
    notice.wait_for()
    page.clock.fast_forward(120_000)
    page.wait_for_timeout(100)
    assert loads == [1]
    page.close()


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A study of three blocks with 25, 1 and 50 % of the multiply-accumulates."""
    study = test_block_map.make_study(tmp_path_factory.mktemp("picture"))
    return report.write(study, (), verdict.reach(study, 0.02)).as_uri()


def edges(page, selector):
    """The left and right edges of each element, in percent of the picture's width."""
    return page.evaluate(
        """selector => {
            const whole = document.querySelector(".map ol").getBoundingClientRect();
            return [...document.querySelectorAll(selector)].map((one) => {
                const box = one.getBoundingClientRect();
                return [box.left, box.right].map((x) => 100 * (x - whole.left) / whole.width);
            });
        }""",
        selector,
    )


@pytest.mark.parametrize(("width", "selector"), [(1200, ".strip > rect"), (400, ".bar rect")])
def test_blocks_are_as_wide_as_their_shares_on_any_screen(opened, picture, width, selector):
    page = opened(width, url=picture)
    shown = edges(page, selector)
    for drawn, expected in zip(shown, ([0, 25], [25, 26], [26, 76]), strict=True):
        assert drawn == pytest.approx(expected, abs=0.5)
    for part in (".strip", ".funnels"):
        box = page.locator(part).bounding_box()
        assert (box is not None and box["height"] > 0) == (width == 1200)


@pytest.mark.parametrize("width", [320, 400, 800, 1200])
def test_words_of_the_picture_never_cover_each_other(opened, picture, width):
    page = opened(width, url=picture)
    covered = page.evaluate(
        """() => {
            const words = document.querySelectorAll(".blocks > li > b, .blocks > li > span");
            const boxes = [...words].map((one) => {
                const range = document.createRange();
                range.selectNodeContents(one);
                return range.getBoundingClientRect();
            });
            return boxes.flatMap((a, i) => boxes.slice(0, i).filter((b) =>
                Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
                Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1
            )).length;
        }"""
    )
    assert covered == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_the_verdict_is_cards_and_the_running_page_does_not_scroll(opened, tmp_path):
    _, url = running_page(tmp_path)
    page = opened(400, url=url)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    table = page.locator("#verdict table")
    cards = [card.bounding_box() for card in table.locator("tbody tr").all()]
    assert len(cards) == 3
    for above, below in zip(cards, cards[1:], strict=False):
        assert below["y"] >= above["y"] + above["height"] + 8
    scroll = page.locator("#verdict .scroll")
    assert scroll.evaluate("box => box.scrollWidth <= box.clientWidth")
    said = (
        "getComputedStyle(document.querySelector('#verdict tbody td:last-child'), '::before')"
    )
    assert page.evaluate(f"{said}.content") == '"not distinguishable from"'
    page.set_viewport_size({"width": 1200, "height": 800})
    assert table.locator("thead").is_visible()
    assert page.evaluate(f"{said}.content") == "none"


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """A study of nine blocks, more than stand abreast."""
    names = [f"block{number}" for number in range(1, 10)]
    rows = tuple(handmade.row("stn_cm", name, 0.85) for name in names)
    study = StudyResults(
        **{"dataset": "toy", "blocks": handmade.described(*names)},
        baseline_accuracy=0.9,
        rows=rows,
        folder=tmp_path_factory.mktemp("tall"),
    )
    return report.write(study, (), verdict.reach(study, 0.02)).as_uri()


@pytest.mark.parametrize("width", [320, 820, 900, 1280])
def test_many_blocks_stand_below_each_other_with_wide_bars(opened, tall, width):
    page = opened(width, url=tall)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for bar in page.locator(".bar").all():
        assert bar.bounding_box()["width"] > width / 5
