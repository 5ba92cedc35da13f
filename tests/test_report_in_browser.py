"""What only a browser can tell of a study's page; needs playwright and a Chromium."""

import shutil

import pytest

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
