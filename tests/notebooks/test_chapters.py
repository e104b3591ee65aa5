"""A reader's notebook for each chapter of the notes: every cell prints what it promises and shows each figure once.

A file `chapter_*.py` has a cell below each heading `# %% title [2 figures]` or `# %% title [1 table]`. Its lines behind
`#> ` are what the cell prints, with its last value or its error; `...` stands for the rest of a line, and as a line of
its own for any number of lines.
"""

from __future__ import annotations

import gzip
import re
from itertools import pairwise
from pathlib import Path

import pytest
from wcwidth import wcwidth

from dlworkflow.data.datasets import fashion_mnist

pytestmark = pytest.mark.slow  # a kernel for each chapter, and the notes' trainings in it


def cells_of(path):
    """Return [(title, code, what it gives)] of the cells in a file: figures, tables and lines that are printed."""
    cells = []
    for part in re.split(r"^# %% ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, *lines = part.rstrip().splitlines()
        title, number, kind = re.fullmatch(r"(.*?)(?: \[(\d+) (figure|table)s?\])?", heading).groups()
        code = "\n".join(line for line in lines if not line.startswith("#>"))
        shown = [line[3:] for line in lines if line.startswith("#>")]
        counts = {"figure": 0, "table": 0} | ({kind: int(number)} if kind else {})
        cells.append((title, code, {**counts, "shown": shown}))
    return cells


CHAPTERS = {
    path.stem.removeprefix("chapter_"): cells_of(path) for path in sorted(Path(__file__).parent.glob("chapter_*.py"))
}


def files_of(chapter, request):
    """Return {name: path} of the data that a chapter finds in its folder, where the notes have it."""
    if chapter == "1_5":
        packed = fashion_mnist.find() or pytest.skip("no FashionMNIST files")
        raw = request.getfixturevalue("tmp_path_factory").mktemp("fashion_mnist")
        for path in packed.glob("*.gz"):  # unpacked, as torchvision leaves them: what is there is not fetched again
            (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        return {"data/FashionMNIST/raw": raw}
    return {"data/pizza_steak_sushi": request.getfixturevalue("photos")} if chapter == "1_6" else {}


@pytest.fixture(scope="module")
def outputs_of(run_notebook, request):
    """Return what the cells of a chapter give; a chapter runs once."""
    known = {}

    def run(chapter):
        if chapter not in known:
            code = [code for _, code, _ in CHAPTERS[chapter]]
            known[chapter] = run_notebook(code, files_of(chapter, request))
        return known[chapter]

    return run


def filled(shown, printed):
    """Return the lines shown, with those printed in the place of `...` where they fit."""
    dots = re.escape("...")
    pattern = "".join(r"(?:.*\n)*" if line == "..." else re.escape(line).replace(dots, ".*") + "\n" for line in shown)
    return printed if re.fullmatch(pattern, "".join(line + "\n" for line in printed)) else shown


EVERY = [
    pytest.param(chapter, number, id=f"{chapter}-{cell[0]}")
    for chapter, cells in CHAPTERS.items()
    for number, cell in enumerate(cells)
]


@pytest.mark.parametrize(("chapter", "number"), EVERY)
def test_a_cell_prints_what_it_promises_and_shows_each_figure_once(chapter, number, outputs_of):
    promised = CHAPTERS[chapter][number][2]

    given = outputs_of(chapter)[number]

    printed = [line.rstrip() for line in given.text.splitlines() if line.strip()]
    counts = {"figure": given.figures, "table": given.tables}
    assert ("", promised | {"shown": filled(promised["shown"], printed)}) == (given.stderr, counts | {"shown": printed})


def misaligned(text):
    """Return the rows of the tables in a text in which something stands between two columns."""
    rows, gaps = [], []
    for above, line in pairwise(["", *text.splitlines(), ""]):
        if re.fullmatch(r"-+( +-+)+", line.strip()):
            gaps = [gap for run in re.finditer(r" +", line) for gap in range(*run.span())]
            rows += [above] if blocked(above, gaps) else []
        elif not line.strip():
            gaps = []
        else:
            rows += [line] if blocked(line, gaps) else []
    return rows


def blocked(line, gaps):
    """Return whether a row has anything but spaces in the gaps between columns, counted as a terminal does."""
    cells = "".join(letter + "x" * (wcwidth(letter) - 1) for letter in line)
    return any(cells[gap : gap + 1].strip() for gap in gaps)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_table_of_a_chapter_is_aligned(chapter, outputs_of):
    assert [row for given in outputs_of(chapter) for row in misaligned(given.text)] == []
