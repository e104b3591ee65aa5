"""Importing a user's file: what it may import, and that nothing is left behind."""

from __future__ import annotations

import sys

import pytest

from dlworkflow.errors import CodeError, ConfigError
from dlworkflow.registry import Registry
from dlworkflow.registry.user_code import take_recorded, use_code
from dlworkflow.registry.user_files import digest_of, import_file

TOYS: Registry = Registry("toy of a file", {}, group="toys")


@pytest.fixture
def write(tmp_path, forget):
    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_modules_beside_a_file_can_be_imported_and_the_path_stays_as_it_was(write):
    write("parts_of_toys.py", "SIZE = 3\n")
    before = list(sys.path)

    file = import_file(write("toys.py", "from parts_of_toys import SIZE\n"))

    assert (file.module.SIZE, sys.path) == (3, before)


def test_files_of_one_name_in_two_folders_have_neighbours_of_their_own(write):
    for folder in ("a", "b"):
        write(f"{folder}/parts_of_toys.py", f"PLACE = {folder!r}\n")
        write(f"{folder}/toys.py", "from parts_of_toys import PLACE\n")

    places = [
        import_file(write(f"{folder}/toys.py", "from parts_of_toys import PLACE\n")) for folder in ("a", "b", "a")
    ]

    assert [file.module.PLACE for file in places] == ["a", "b", "a"]


def test_a_file_may_have_the_name_of_a_module_of_python(write):
    import json

    import_file(write("json.py", "x = 1\n"))

    assert sys.modules["json"] is json


def test_nothing_is_written_beside_a_file(write, tmp_path):
    write("parts_of_toys.py", "SIZE = 3\n")
    import_file(write("toys.py", "import parts_of_toys\n"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts_of_toys.py", "toys.py"]


def test_what_a_file_prints_goes_to_stderr(write, capsys):
    import_file(write("toys.py", "print('here')\n"))

    assert capsys.readouterr() == ("", "here\n")


def test_a_file_that_fails_leaves_no_module_and_registers_nothing(write):
    modules = set(sys.modules)
    text = f"from {__name__} import TOYS\nTOYS.register('half', int)\n1 / 0\n"

    with pytest.raises(ConfigError, match=r"toys\.py:3: 1 / 0: ZeroDivisionError"):
        import_file(write("toys.py", text))

    assert ("half" in TOYS, set(sys.modules) - modules) == (False, set())


def test_a_changed_file_is_imported_anew(write):
    first = import_file(write("toys.py", "x = 1\n")).module
    second = import_file(write("toys.py", "x = 2\n")).module

    assert (first.x, second.x) == (1, 2)


def test_two_named_files_of_one_name_are_told_apart_or_refused(write):
    paths = [write(f"{folder}/toys.py", "def toy():\n    return 1\n") for folder in ("a", "b")]
    use_code(*paths)
    TOYS.resolved(f"{paths[0]}:toy")

    with pytest.raises(ConfigError, match=r"a/toys\.py' and .*b/toys\.py' have the same name; rename one"):
        TOYS.resolved(f"{paths[1]}:toy")


def test_a_run_gets_no_private_function(write):
    path = write("toys.py", "def _hidden():\n    return 1\n")
    use_code(path)
    record = {"kind": TOYS.kind, "name": "toys.py:_hidden", "path": str(path), "attribute": "_hidden"}

    with pytest.raises(
        CodeError, match=r"run-001 needs the code of toy of a file 'toys\.py:_hidden' \('?toys\.py'? has none of it"
    ):
        take_recorded([record | {"sha256": digest_of(path)}], {}, [TOYS.kind], run="run-001")
