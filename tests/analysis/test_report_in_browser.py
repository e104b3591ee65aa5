"""A report in a real browser: on a desk, on a telephone, in the dark, for a screen reader and on paper."""

from __future__ import annotations

import pytest

import dlworkflow as dlw

pytestmark = pytest.mark.slow

LONG = "a class with a name that is far too long for one line of a telephone_and_without_any_break_at_all_in_it"
PAPER = {"width": 718, "height": 1047}  # A4 without its margins, in pixels of CSS


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a report of two runs: images of classes with hostile names, and points."""
    from PIL import Image

    place = tmp_path_factory.mktemp("browser")
    for split in ("train", "test"):
        for label, name in enumerate(("<script>alert(1)", LONG, "中文名字")):
            for number in range(3):
                path = place / "food" / split / name / f'<b>"{number}".png'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (90, 70), (80 * label, 60 * number, 90)).save(path)
    images = {"model": "tinyvgg", "recipe": "notes", "data": str(place / "food"), "epochs": 2, "data.image_size": 32}
    runs = [dlw.run_training(each, runs_dir=place / "runs") for each in (images, {"model": "circles_v2", "epochs": 3})]
    return dlw.write_report(runs, place / "report.html").as_uri()


@pytest.fixture
def opened(browser, address):
    """Open the report as on a screen of this width; return the browser."""

    def show(**look):
        browser.look(**look)
        browser.get(address)
        return browser

    return show


def test_a_report_asks_for_nothing_and_has_no_error(opened):
    browser = opened()

    assert browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)") == []
    assert browser.get_log("browser") == []


def test_a_report_scrolls_down_only_on_a_telephone(opened):
    assert opened(width=360).execute_script("return document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_of_a_report_has_enough_contrast(opened, dark):
    assert opened(dark=dark).faint_texts() == []


def test_every_image_of_a_report_has_a_name(opened):
    assert opened().nameless() == []


def test_all_settings_are_on_paper(opened):
    browser = opened()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = "return [...document.querySelectorAll('details td')].filter((e) => !e.checkVisibility()).length"

    assert browser.execute_script(hidden) == 0


def test_a_figure_is_no_larger_than_a_page_of_paper(opened):
    browser = opened(width=PAPER["width"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    tallest = "return Math.max(...[...document.images].map((each) => each.getBoundingClientRect().height))"

    assert 0 < browser.execute_script(tallest) < PAPER["height"]
