"""The page of the server in a real browser: what is given, what is shown, for whom, and what it leaves alone."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from dlworkflow.data.columns import Column, Columns
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.engine.tasks import get_task
from dlworkflow.inference.predictor import Predictor

pytestmark = pytest.mark.slow

SCRIPT = "<script>alert(1)</script>"
LONG = "a class with a name that is far too long for one line of a telephone_and_without_any_break_at_all_in_it"
MANY = (SCRIPT, "中文名字", LONG, *(f"class {number}" for number in range(98)))


class Fixed(nn.Module):
    """Answers the same for every input."""

    def __init__(self, *scores):
        super().__init__()
        self.register_buffer("scores", torch.tensor([scores]))

    def forward(self, x):
        return self.scores.expand(len(x), -1)


def predictor(task, *scores, classes=(), columns=None, width=None, **more):
    """Return one whose model answers these scores for an image, or for `width` numbers."""
    return Predictor(
        model=Fixed(*scores).eval(),
        task=get_task(task),
        classes=tuple(classes),
        in_shape=(3, 8, 8) if width is None else (width,),
        transform=Pipeline((8, 8)) if width is None else None,
        device=torch.device("cpu"),
        model_name="fixed",
        columns=columns,
        **more,
    )


PEOPLE = Columns(
    (Column("age", mean=40.0, scale=10.0), Column("sex", categories=("female", "male"))), target="survived"
)
PREDICTORS = {
    "pets": lambda: predictor("multiclass", 2.0, 1.0, 0.0, classes=("cat", "dog", "rat")),
    "unsure": lambda: predictor("multiclass", 2.0, 1.0, 0.0, classes=("cat", "dog", "rat")).cautious(
        min_confidence=0.8
    ),
    "many": lambda: predictor("multiclass", *(torch.arange(101, 0, -1) / 10).tolist(), classes=MANY),
    "labels": lambda: predictor(
        "multilabel", 3.0, 0.1, -3.0, classes=("cat", "dog", "rat"), thresholds=(0.5, 0.6, 0.01)
    ),
    "value": lambda: predictor("regression", 1.5),
    "points": lambda: predictor("binary", 2.0, classes=("inner", "outer"), width=2),
    "table": lambda: predictor("binary", -2.0, classes=("no", "yes"), width=3, columns=PEOPLE),
}


@pytest.fixture(scope="module")
def served(serve):
    """Return the address at which one of PREDICTORS is served."""
    servers = {}

    def address(name):
        if name not in servers:
            servers[name] = serve(PREDICTORS[name](), bytes=200_000)
        return servers[name].address

    return address


@pytest.fixture
def page(browser, served):
    """Open the page of one of PREDICTORS; return a hand that uses it."""

    def show(name="pets", **look):
        browser.look(**look)
        browser.get(served(name))
        hand = Hand(browser)
        hand.wait("return document.getElementById('about').textContent")
        return hand

    return show


class Hand:
    """What a person does with the page and sees of it."""

    def __init__(self, browser):
        self.browser = browser

    def js(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def wait(self, script):
        """Return the value of a script as soon as it has one."""
        end = time.monotonic() + 20
        while not (value := self.js(script)):
            assert time.monotonic() < end, f"{script}: never; the page reads {self.text('body')!r}"
            time.sleep(0.02)
        return value

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def text(self, selector):
        return self.all(selector)[0].text

    def give(self, *files):
        """Choose files and wait for the last answer."""
        self.all("#files")[0].send_keys("\n".join(map(str, files)))
        return self.answered()

    def answered(self):
        self.wait("const s = document.getElementById('status').textContent; return s && !s.startsWith('Predicting')")
        return self

    def click(self, selector):
        self.all(selector)[0].click()
        return self

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()
        return self

    def focused(self):
        return self.js("return document.activeElement.id || document.activeElement.textContent")

    def bars(self):
        return [line.text.split("\n") for line in self.all("#bars li")]


@pytest.fixture
def image(paint, tmp_path):
    return paint(tmp_path / "photo.png", size=(40, 30))


def test_an_image_in_gives_a_label_out(page, image):
    assert page().give(image).text("#answer") == "cat, 66.5 %"


def test_an_unsure_answer_is_called_so_with_the_likeliest_class(page, image):
    hand = page("unsure").give(image)

    assert hand.text("#answer") == "Unsure; likeliest cat, 66.5 %"
    assert len(hand.bars()) == 3


def test_the_probability_of_each_class_is_written_beside_its_bar(page, image):
    assert page().give(image).bars() == [["cat", "66.5 %"], ["dog", "24.5 %"], ["rat", "9.0 %"]]


def test_screen_readers_hear_the_answer(page, image):
    hand = page().give(image)

    assert hand.js("return document.querySelector('[role=status]').textContent") == "photo.png: cat, 66.5 %"


def test_several_images_are_listed_with_their_answers(page, paint, tmp_path):
    files = [paint(tmp_path / f"{number}.png", number) for number in range(7)]

    hand = page().give(*files)

    assert [button.text.split("\n")[-1] for button in hand.all("#history button")] == [file.name for file in files]


def test_one_preview_at_a_time_is_made(page, paint, tmp_path):
    hand = page()
    hand.js("""
        window.most = 0;
        let now = 0;
        const decode = window.createImageBitmap.bind(window);
        window.createImageBitmap = async (file) => {
            window.most = Math.max(window.most, ++now);
            return decode(file).finally(() => (now -= 1));
        };
    """)
    hand.give(*(paint(tmp_path / f"{number}.png", number) for number in range(7)))
    hand.wait("return document.querySelectorAll('#history img').length === 7")

    assert hand.js("return window.most") == 1


def test_an_image_of_this_visit_can_be_shown_again(page, paint, tmp_path):
    hand = page().give(paint(tmp_path / "a.png")).give(paint(tmp_path / "b.png", 1))

    assert hand.click("#history li:last-child button").text("#source") == "a.png"


def test_a_cleared_list_is_gone(page, image):
    assert page().give(image).click("#forget").all("#history li") == []


def test_a_pasted_image_is_predicted(page):
    hand = page()
    hand.js(DRAWN + "document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));")

    assert hand.answered().text("#source") == "drawn.bmp"


def test_a_dropped_image_is_predicted(page):
    hand = page()
    hand.js(DRAWN + "document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true }));")

    assert hand.answered().text("#answer") == "cat, 66.5 %"


DRAWN = """
    const bytes = new Uint8Array(58); // a BMP of one pixel
    new DataView(bytes.buffer).setUint16(0, 0x424d);
    [[2, 58], [10, 54], [14, 40], [18, 1], [22, 1], [26, 1 | 24 << 16], [34, 4]].forEach(
        ([place, value]) => new DataView(bytes.buffer).setUint32(place, value, true));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "drawn.bmp", { type: "image/bmp" }));
"""


def test_dropped_text_is_an_error_in_words(page):
    hand = page()
    hand.js("document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer(), bubbles: true }));")

    assert hand.text("#status") == "That is no file: drop or paste images."


def test_the_camera_takes_a_photo(page):
    hand = page().click("#open-camera")
    hand.wait("return document.getElementById('video').videoWidth")

    assert hand.click("#take-photo").answered().text("#source") == "photo 1.jpg"


CAMERAS = """
    window.given = [];
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        window.given.push(stream);
        return stream;
    };
"""
ARE_OFF = (
    "return given.length && given.every((each) => each.getTracks().every((track) => track.readyState === 'ended'))"
)


def test_a_camera_that_was_asked_for_twice_is_off_when_it_is_closed(page):
    hand = page()
    hand.js(CAMERAS + "const open = document.getElementById('open-camera'); open.click(); open.click();")
    hand.wait("return !document.getElementById('camera').hidden")

    assert hand.click("#close-camera").js(ARE_OFF)


def test_a_camera_that_cannot_be_shown_is_off(page):
    hand = page()
    hand.js(CAMERAS + "HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException('', 'AbortError'));")
    hand.click("#open-camera").answered()

    assert (hand.text("#status"), hand.js(ARE_OFF)) == ("The camera cannot be used.", True)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("mediaDevices", "This browser has no camera."),
        (
            "mediaDevices isSecureContext",
            "The camera needs a secure address: open this page through localhost or https.",
        ),
    ],
)
def test_a_page_without_a_camera_says_why(page, browser, missing, reason):
    hidden = "Object.defineProperty(navigator, 'mediaDevices', { value: undefined });"
    if "isSecureContext" in missing:
        hidden += "Object.defineProperty(window, 'isSecureContext', { value: false });"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hidden})
    try:
        assert page().text("#camera-note") == reason
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_what_is_no_image_is_an_error_in_words(page, tmp_path):
    (tmp_path / "notes.jpg").write_text("hello")

    assert page().give(tmp_path / "notes.jpg").text("#answer").startswith("is no image")


def test_a_file_that_is_too_large_is_not_sent(page, tmp_path):
    (tmp_path / "large.jpg").write_bytes(bytes(300_000))

    reason = page().give(tmp_path / "large.jpg").text("#answer")

    assert reason == "The file has 300 kB; the server takes at most 200 kB."


BUSY = """
    const real = window.fetch;
    let left = arguments[0];
    const busy = { status: 429, headers: { "Retry-After": "0" } };
    const refused = () => Promise.resolve(new Response(JSON.stringify({ error: "the server is busy" }), busy));
    window.fetch = (...asked) => (left-- > 0 ? refused() : real(...asked));
"""


def test_a_busy_server_is_asked_again(page, image):
    hand = page()
    hand.js(BUSY, 4)

    assert hand.give(image).text("#answer") == "cat, 66.5 %"


def test_a_server_that_stays_busy_can_be_tried_again(page, image):
    hand = page()
    hand.js(BUSY, 5)
    refused = hand.give(image).text("#answer")
    hand.click("#again")
    hand.wait("return document.getElementById('again').hidden")

    assert (refused, hand.answered().text("#answer")) == ("the server is busy", "cat, 66.5 %")


def test_a_second_trial_is_asked_for_once_and_keeps_the_focus(page, image):
    hand = page()
    hand.js(BUSY, 5)
    hand.give(image).click("#again")

    assert hand.js(
        "return document.getElementById('again').hidden && document.activeElement.closest('#history') !== null"
    )


def test_a_server_that_is_gone_is_an_error_in_words(browser, serve, image):
    server = serve(PREDICTORS["pets"]())
    browser.get(server.address)
    hand = Hand(browser)
    hand.wait("return document.getElementById('about').textContent")
    server.stop()

    assert hand.give(image).text("#answer") == "The server does not answer. Is it still running?"


def test_a_name_cannot_be_markup_nor_turn_the_text_around(page, paint, tmp_path):
    hand = page("many").give(paint(tmp_path / '<b>"a"\t\u202egpj.png'))

    assert (hand.text("#answer"), hand.text("#source")) == (f"{SCRIPT}, 9.5 %", '<b>"a"\\u0009\\u202egpj.png')


def test_of_many_classes_the_first_are_shown(page, image):
    assert len(page("many").give(image).bars()) == 5


def test_all_of_many_classes_can_be_shown(page, image):
    assert len(page("many").give(image).click("#more").bars()) == 101


def test_chinese_names_are_shown(page, image):
    assert page("many").give(image).bars()[1][0] == "中文名字"


def test_labels_that_are_predicted_have_a_check_mark(page, image):
    hand = page("labels").give(image)

    assert (hand.text("#answer"), [name for name, _ in hand.bars()]) == ("cat, rat", ["✓ cat", "dog", "✓ rat"])


def test_a_regression_shows_its_value(page, image):
    assert page("value").give(image).text("#answer") == "1.5"


def test_a_model_of_numbers_has_a_field_for_each(page):
    assert [label.text for label in page("points").all("#fields label")] == ["number 1", "number 2"]


def test_a_table_has_a_field_for_each_column_and_a_choice_of_categories(page):
    fields = page("table").all("#fields label > :last-child")

    assert [(field.accessible_name, field.tag_name) for field in fields] == [("age", "input"), ("sex", "select")]


def test_a_row_is_predicted_with_the_keyboard_alone(page):
    from selenium.webdriver.common.keys import Keys

    hand = page("table").press(Keys.TAB, "38", Keys.TAB, "m", Keys.TAB, Keys.ENTER).answered()

    assert (hand.text("#answer"), hand.text("#source")) == ("no, 88.1 %", "age 38, sex male")


def test_a_missing_value_is_an_error_in_words(page):
    assert "age" in page("table").click("#row button").answered().text("#answer")


def test_the_keyboard_reaches_everything_in_order(page, image):
    from selenium.webdriver.common.keys import Keys

    hand = page("many").give(image)
    hand.js("document.activeElement.blur()")

    assert [hand.press(Keys.TAB).focused() for _ in range(5)] == [
        *("files", "open-camera", "more"),
        hand.js("return document.querySelector('#history button').textContent"),
        "forget",
    ]


def test_the_focus_is_visible(page):
    from selenium.webdriver.common.keys import Keys

    hand = page().press(Keys.TAB)

    assert hand.js("return getComputedStyle(document.querySelector('#files + label')).outlineStyle") == "solid"


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_telephone_scrolls_down_only(page, image, name):
    hand = page(name, width=360)
    if name not in ("points", "table"):
        hand.give(image)

    assert hand.js("return document.documentElement.scrollWidth") == 360


def test_the_page_is_dark_where_the_system_is(page):
    assert page(dark=True).js("return getComputedStyle(document.body).backgroundColor") == "rgb(19, 20, 24)"


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_has_enough_contrast(page, browser, image, tmp_path, dark):
    (tmp_path / "notes.jpg").write_text("hello")
    page("many", dark=dark).give(tmp_path / "notes.jpg", image)

    assert browser.faint_texts() == []


@pytest.mark.parametrize("name", PREDICTORS)
def test_every_control_and_image_has_a_name(page, browser, image, name):
    hand = page(name)
    if name not in ("points", "table"):
        hand.give(image)

    assert browser.nameless() == []


def test_nothing_is_asked_of_another_server(page, served, image):
    asked = page().give(image).js("return performance.getEntriesByType('resource').map((each) => each.name)")

    assert len(asked) >= 5
    assert [address for address in asked if not address.startswith((served("pets"), "blob:" + served("pets")))] == []


def test_the_console_has_no_error(page, browser, image):
    page("many").give(image).click("#more").click("#forget")

    assert browser.get_log("browser") == []


def test_nothing_is_kept_in_the_browser(page, image):
    hand = page().give(image)

    assert hand.js("return [localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
