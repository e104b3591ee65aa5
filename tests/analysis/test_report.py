"""A report of runs: complete, one file, safe to send, and honest about what is missing."""

from __future__ import annotations

import base64
import io
import re
import shutil
import sys
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure
from PIL import Image

import dlworkflow as dlw
from dlworkflow.analysis.evaluation import evaluate_part, report_part, write_evaluation
from dlworkflow.analysis.figures import Material
from dlworkflow.analysis.report import of_runs
from dlworkflow.analysis.report.document import Command, Document, Section, Table, Text
from dlworkflow.analysis.report.of_settings import repeat_section
from dlworkflow.analysis.report.pictures import of_image
from dlworkflow.analysis.report.rendering import as_html, as_markdown
from dlworkflow.analysis.scored_data import load_part
from dlworkflow.errors import DlwError, RunError
from dlworkflow.runs import Run

HOSTILE = "<script>alert(1)"
GPS, ARTIST = 0x8825, 0x013B


class Page(HTMLParser):
    """What a browser reads in a page: its elements, its images, its texts by the heading above them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.headings, self.text, self.tags = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag in self.tags:
            while self.tags.pop() != tag:
                pass

    def handle_data(self, data):
        if self.tags and re.fullmatch(r"h\d", self.tags[-1]) and data.strip():
            self.headings.append(data.strip())
        if "style" not in self.tags:
            self.text += data

    def images(self):
        return [
            Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition("base64,")[2])))
            for tag, attributes in self.elements
            if tag == "img"
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of two classes, one with a name that is markup, by Jane at a place on earth."""
    root = tmp_path_factory.mktemp("jane") / "food"
    for split, count in (("train", 4), ("test", 3)):
        for label, name in enumerate((HOSTILE, "so|up_s")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                exif = Image.Exif()
                exif[ARTIST] = "Jane"
                exif.get_ifd(GPS)[1] = "N"
                image = Image.new("RGB", (90, 70 + number), (80 * label, 30 * number, 90))
                image.save(root / split / name / f"<b>{number}.jpg", exif=exif)
    return root


@pytest.fixture(scope="module")
def runs(tmp_path_factory, folder):
    """A run of each kind, by a name of the test's own."""
    place = tmp_path_factory.mktemp("runs")
    table = place / "table.csv"
    rows = [f"{n},{'red' if n % 2 else 'blue'},{3 * n + n % 2}" for n in range(40)]
    table.write_text("\n".join(["width,colour,price", *rows]))
    wanted = {
        "images": {"model": "tinyvgg", "recipe": "notes", "data": str(folder), "epochs": 1, "data.image_size": 32},
        "points": {"model": "circles_v2", "epochs": 3},
        "line": {"model": "line", "epochs": 2},
        "table": {"model": "mlp", "data": str(table), "data.target": "price", "epochs": 2},
        "untrained": {"model": "blobs", "epochs": 0},
    }
    return {name: dlw.run_training(settings, runs_dir=place / name) for name, settings in wanted.items()}


@pytest.fixture(scope="module")
def every(runs, tmp_path_factory):
    """The page of all runs together, and its text as it is written but for the images."""
    path = dlw.write_report(list(runs.values()), tmp_path_factory.mktemp("report") / "report.html")
    text = path.read_text(encoding="utf-8")
    return Page(text), re.sub(r"base64,[\w+/=]+", "", text)


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Write the report of runs, its figures empty, and read it."""
    monkeypatch.setattr(Material, "draw", lambda self, kind: Figure((1, 1)))
    monkeypatch.setattr(of_runs, "draw_runs", lambda runs, kind: Figure((1, 1)))

    def write(*runs, **options):
        path = dlw.write_report(runs, tmp_path / "report.html", overwrite=True, **options)
        return Page(path.read_text(encoding="utf-8"))

    return write


@pytest.mark.slow  # its page has every figure of five runs
def test_a_report_begins_with_the_score_its_interval_and_the_baseline(every):
    assert re.search(
        r"circles_v2, trained on circles \(800 samples\), predicts the class of \d+\.\d\d % of 200 test samples "
        r"correctly \(95 % confidence interval \d+\.\d\d % to \d+\.\d\d %\)\.\s+"
        r"Always answering 'outer' scores 50\.00 %\.",
        every[0].text,
    )


@pytest.mark.slow  # its page has every figure of five runs
@pytest.mark.parametrize("name", ["images", "points", "line", "table", "untrained"])
def test_a_run_of_every_kind_has_a_report(name, runs, every):
    headings = every[0].headings
    start = headings.index(f"Run {runs[name].name}") + 1
    own = headings[start : next((n for n in range(start, len(headings)) if headings[n].startswith("Run ")), None)]

    usual = ["Data", "Training", "Scores", "Worst and best predictions", "Diagnosis", "Settings", "How to repeat it"]
    assert [title for title in own if title in usual] == [
        title for title in usual if name != "untrained" or title != "Training"
    ]


@pytest.mark.slow  # its page has every figure of five runs
def test_a_page_loads_nothing_and_runs_nothing(every):
    elements = every[0].elements

    assert {tag for tag, _ in elements} & {"script", "link", "iframe", "object", "embed", "form"} == set()
    assert [name for _, attributes in elements for name in attributes if name.startswith("on")] == []
    addresses = [attributes[key] for _, attributes in elements for key in ("src", "href") if key in attributes]
    assert [address for address in addresses if not address.startswith(("#", "data:image/"))] == []


@pytest.mark.slow  # its page has every figure of five runs
def test_names_are_text_and_never_markup(every):
    assert {tag for tag, _ in every[0].elements} & {"script", "b"} == set()
    assert HOSTILE in every[0].text
    assert "<b>0.jpg" in every[0].text


@pytest.mark.slow  # its page has every figure of five runs
def test_a_page_has_no_absolute_path(every, folder):
    found, written = every

    assert [place for place in (str(folder.parent), "jane") if place in written] == []
    assert re.findall(r"(?<![\w.<])/\w+/", found.text) == []


@pytest.mark.slow  # its page has every figure of five runs
def test_a_page_has_nothing_of_the_photographer(every):
    assert [image for image in every[0].images() if dict(image.getexif()) or "exif" in image.info] == []


@pytest.mark.slow  # its page has every figure of five runs
def test_every_image_says_what_it_shows(every):
    texts = [attributes["alt"] for tag, attributes in every[0].elements if tag == "img"]

    assert len(texts) > 20
    assert all(texts)


@pytest.mark.slow  # its page has every figure of five runs
def test_a_report_ends_with_the_command_that_repeats_the_run(every):
    assert "dlw train circles_v2 --data circles --epochs 3" in every[0].text
    assert "dlw train tinyvgg --data food --recipe notes" in every[0].text


@pytest.mark.slow  # its page has every figure of five runs
def test_images_are_shown_with_truth_and_prediction(every, runs):
    captions = re.findall(r"[✓✗] .*", every[0].text)

    assert len(captions) == len(load_part(runs["images"], "test").dataset)


@pytest.mark.slow  # its page has every figure of five runs
def test_the_largest_residuals_of_a_table_are_shown_with_their_inputs(every):
    assert re.search(r"furthest from the truth.*?width\s+colour\s.*?(red|blue)", every[0].text, re.DOTALL)


@pytest.mark.slow  # its page has every figure of five runs
def test_several_runs_are_compared_first(every, runs):
    found = every[0]

    assert found.headings[1:3] == ["Comparison", f"Run {runs['images'].name}"]
    assert re.search(r"95 % interval.*?\d % to \d", found.text[: found.text.index("Loss and accuracy of")], re.DOTALL)


def test_of_many_runs_the_best_have_sections(runs, page, monkeypatch):
    monkeypatch.setattr(of_runs, "MOST_RUNS", 1)

    both = (runs["points"], runs["images"])
    found, best = page(*both), min(both, key=lambda run: run.summary().best["test_loss"])

    assert [title for title in found.headings if title.startswith("Run ")] == [f"Run {best.name}"]
    assert "The 1 of the lowest test loss have sections of their own" in found.text


def test_the_best_of_several_runs_is_named_first(runs, page, tmp_path):
    other = Run(shutil.copytree(runs["points"].path, tmp_path / "other"))
    best = other.summary().best
    other.update_summary(best=best | {"test_loss": best["test_loss"] / 2})

    assert re.search(r"other has the lowest test loss, 0\.\d+ and a test accuracy of", page(runs["points"], other).text)
    assert "has the lowest" not in page(runs["points"], runs["line"]).text


def test_the_name_of_a_run_begins_a_sentence_as_it_is(answered, monkeypatch):
    monkeypatch.setattr(of_runs, "draw_runs", lambda runs, kind: Figure((1, 1)))
    lead = of_runs.document_of([answered([True] * 60, acc=1.0), answered([True] * 20 + [False] * 40)]).lead

    assert [line[:7] for line in lead[1:]] == ["Of 60 s", "m-d-001", "So the "]


def test_letters_of_runs_of_several_losses_are_explained(answered, monkeypatch):
    monkeypatch.setattr(of_runs, "draw_runs", lambda runs, kind: Figure((1, 1)))
    runs = [answered([True] * n + [False] * (60 - n)) for n in (60, 40, 20)]
    runs[1].update_summary(config=runs[1].summary().config | {"loss": "focal"})

    assert of_runs.document_of(runs).lead[0].startswith("Letters: rows that share one")


def test_of_the_folds_of_a_cross_validation_none_is_the_best(runs, page, tmp_path):
    folds = [Run(shutil.copytree(runs["points"].path, tmp_path / f"fold-{fold}")) for fold in (1, 2)]
    for fold, run in enumerate(folds, start=1):
        config = run.summary().config
        run.update_summary(config=config | {"data": config["data"] | {"folds": 2, "fold": fold}})

    text = page(*folds).text

    assert "has the lowest" not in text
    assert "Each fold is scored on samples of its own" in text


@pytest.mark.slow  # its page has every figure of five runs
def test_an_untrained_model_is_named_as_such(every):
    assert "blobs, not trained (0 epochs) on blobs (800 samples), predicts" in every[0].text


def test_a_damaged_run_among_others_is_named(runs, page, tmp_path):
    shutil.copytree(runs["line"].path, tmp_path / "damaged")
    (tmp_path / "damaged" / "summary.json").write_text("{")

    assert "It is left out" in page(runs["line"], Run(tmp_path / "damaged")).text
    with pytest.raises(RunError, match="damaged"):
        page(Run(tmp_path / "damaged"))


def test_without_its_data_a_run_is_reported_from_what_is_stored(runs, page, tmp_path):
    run = Run(shutil.copytree(runs["images"].path, tmp_path / "moved"))
    part = load_part(run, "test")
    write_evaluation(run, part, report_part(run, part, evaluate_part(run, part)))
    text = (run.path / "summary.json").read_text()
    (run.path / "summary.json").write_text(re.sub(r'"path": ".*?"', '"path": "/gone/food"', text))

    found = page(run).text

    assert "the scores are those that dlw evaluate stored" in found
    assert "Scores of each class" in found


def test_without_its_data_and_evaluation_a_run_shows_its_last_known_scores(runs, page, tmp_path):
    run = Run(shutil.copytree(runs["images"].path, tmp_path / "moved"))
    text = (run.path / "summary.json").read_text()
    (run.path / "summary.json").write_text(re.sub(r'"path": ".*?"', '"path": "/gone/food"', text))

    found = page(run)

    assert "had a test loss of" in found.text
    assert "cannot be scored here" in found.text
    assert "Scores" not in found.headings


def test_a_run_that_failed_before_its_first_epoch_says_why(runs, page, tmp_path):
    run = Run(shutil.copytree(runs["points"].path, tmp_path / "failed"))
    run.clear_epochs()
    run.update_summary(status="failed", reason="the loss became nan")

    found = page(run).text

    assert "has no score: it is failed, and no epoch has ended: the loss became nan" in found
    assert "The run is failed after 0 of 3 epochs" in found


def test_a_run_without_weights_shows_how_its_learning_rate_changed(runs, page, tmp_path):
    run = Run(shutil.copytree(runs["points"].path, tmp_path / "weightless"))
    run.weights_path("best").unlink()
    history = run.path / "history.csv"
    history.write_text(re.sub(r"^2,[^,]*", "2,0.01", history.read_text(), flags=re.MULTILINE))

    found = page(run)

    assert "The run has no weights" in found.text
    assert "The learning rate by epoch" in [attributes["alt"] for tag, attributes in found.elements if tag == "img"]


@pytest.mark.parametrize("there", [0, 1])
def test_epochs_that_the_history_lacks_are_a_warning(there, runs, page, tmp_path):
    run = Run(shutil.copytree(runs["points"].path, tmp_path / "torn"))
    history = run.path / "history.csv"
    history.write_text("\n".join(history.read_text().split("\n")[: there + 1]) + "\n")

    assert f"history.csv has {there} of 3 epochs" in page(run).text


def test_the_note_and_the_tags_of_a_run_are_at_the_top(runs, page, tmp_path):
    run = Run(shutil.copytree(runs["line"].path, tmp_path / "noted"))
    run.tag("good", "<i>")
    run.write_note("tried at night")

    assert re.search(r"Note: tried at night\s+Tags: good, <i>\.", page(run).text)


@pytest.mark.parametrize("file", ["costs", "labels-train", "slices", "robustness", "notes", "calibration-val"])
def test_a_damaged_file_that_a_run_may_lack_is_a_warning_beside_all_else(file, runs, page, tmp_path):
    run = Run(shutil.copytree(runs["points"].path, tmp_path / "damaged"))
    before = page(run)
    (run.path / f"{file}.json").write_text("{")
    after = page(run)

    assert f"{file}.json' is damaged" in after.text
    of_probabilities = {"Scores", "Worst and best predictions"} if file == "calibration-val" else set()
    assert set(before.headings) - set(after.headings) == of_probabilities


@pytest.mark.parametrize("content", ["[1]", '{"packages": 7, "machine": [], "data_fingerprint": "x"}', ""])
def test_versions_that_are_damaged_are_left_out(content, runs, tmp_path):
    run = Run(shutil.copytree(runs["line"].path, tmp_path / "damaged"))
    (run.path / "environment.json").write_text(content)

    versions = repeat_section(run).blocks[-1]

    assert [row["name"] for row in versions.rows] == ["device", "threads"]


def test_nothing_is_written_into_a_run(runs, page, state_of):
    before = state_of(runs["images"].path)

    page(runs["images"])

    assert state_of(runs["images"].path) == before


@pytest.mark.usefixtures("page")
def test_markdown_has_its_pictures_in_a_folder_beside_it(runs, tmp_path):
    path = dlw.write_report(runs["images"], tmp_path / "best.md")

    text = path.read_text(encoding="utf-8")
    named = re.findall(r"^!\[.*\]\(<(.*?)>\)$", text, re.MULTILINE)
    assert named
    assert {place for place in named if not (tmp_path / place).is_file()} == set()
    assert {file.name for file in (tmp_path / "best_files").iterdir()} == {place.rpartition("/")[2] for place in named}


def test_names_in_markdown_are_text():
    table = Table("classes", {"name": "class"}, [{"name": "a|b_c*<i>"}])
    found = as_markdown(Document("x", [], [Section("s", [table, Text("see `dlw show`"), Command("a ``` b")])]), {})

    assert r"| a\|b\_c\*&lt;i&gt; |" in found
    assert "see `dlw show`" in found
    assert "````sh\na ``` b\n````" in found


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("1. cat", r"1\. cat"),
        ("2) dog", r"2\) dog"),
        ("-", r"\-"),
        ("---", r"\---"),
        ("+ 1", r"\+ 1"),
        ("-0.5", "-0.5"),
    ],
)
def test_a_name_in_markdown_begins_no_list(name, written):
    assert f"\n{written}\n" in as_markdown(Document("x", [name], []), {})


def test_a_backquote_in_a_name_is_text():
    document = Document("x", ["see `dlw show`: a`b and c_d"], [])

    assert r"see `dlw show`: a\`b and c\_d" in as_markdown(document, {})
    assert "see <code>dlw show</code>: a`b and c_d" in as_html(document)


def test_a_name_cannot_end_the_code_that_it_is_in():
    found = as_markdown(Document("x", ["class a`\n\n<img src=x>\n\n`b"], []), {})

    assert "class a`  <img src=x>  `b\n" in found


def test_a_name_that_is_a_place_is_cut_to_its_end():
    page = as_html(Document("x", ["left out: '/home/jane doe/a b/1.jpg': no image"], []))

    assert "left out: &#x27;1.jpg&#x27;: no image" in page


def test_a_tiny_image_keeps_its_pixels():
    picture = of_image(Image.new("L", (8, 8), 7), "x", "eight")

    assert (picture.tiny, Image.open(io.BytesIO(picture.content)).size) == (True, (8, 8))


def test_without_jinja2_the_error_has_the_pip_line(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)

    with pytest.raises(DlwError, match=r"pip install 'dlworkflow\[report\]'"):
        dlw.write_report(runs["line"], tmp_path / "report.html")


@pytest.mark.slow
def test_the_report_of_the_photos_is_small(photos, tmp_path):
    settings = {"model": "tinyvgg", "recipe": "notes", "data": str(photos), "epochs": 1}

    path = dlw.write_report(dlw.run_training(settings, runs_dir=tmp_path), tmp_path / "report.html")

    assert path.stat().st_size < 3_000_000


@pytest.mark.slow
def test_the_report_of_a_hundred_classes_is_small(tmp_path, paint):
    for label in range(101):
        for split in ("train", "test"):
            paint(tmp_path / "many" / split / f"class {label}" / "1.png", label, size=(300, 200))
    settings = {"model": "tinyvgg", "recipe": "notes", "data": str(tmp_path / "many"), "epochs": 1}

    path = dlw.write_report(dlw.run_training(settings, runs_dir=tmp_path), tmp_path / "report.html")

    assert path.stat().st_size < 3_000_000
