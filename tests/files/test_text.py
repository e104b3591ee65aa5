"""Text that is safe to show: of a path, others learn its last name alone."""

from __future__ import annotations

import pytest

from dlworkflow.files.text import without_places


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read /home/jane/food/1.jpg: broken", "cannot read 1.jpg: broken"),
        ("left out: '/home/jane doe/my food/1.jpg'", "left out: '1.jpg'"),
        ("dlw train m --data ~/food --data-dir '/mnt/a b/'", "dlw train m --data food --data-dir 'a b'"),
        (r"C:\Users\jane\1.jpg and 'C:\Users\jane doe\2.jpg'", "1.jpg and '2.jpg'"),
        ("../../jane/food/", "food"),
        ("config:/home/jane/a.yaml, path=/home/jane/b", "config:a.yaml, path=b"),
        ("`dlw report /home/jane/runs/r-001`", "`dlw report r-001`"),
    ],
)
def test_of_a_place_on_a_machine_the_last_name_is_left(text, shown):
    assert without_places(text) == shown


@pytest.mark.parametrize(
    "text", ["T-shirt/top", "w/o and/or 1/2 /x", "https://jfly.uni-koeln.de/color/a", "</b>", "'/'"]
)
def test_what_is_no_place_stays(text):
    assert without_places(text) == text
