"""What README and the guide print is true: their scripts run, their commands and settings are accepted."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from PIL import Image

import dlworkflow
from dlworkflow import guide
from dlworkflow.cli.app import COMMANDS, _command_tree, main
from dlworkflow.data.datasets import fashion_mnist

pytestmark = pytest.mark.usefixtures("forget")  # pages name files of code
ROOT = Path(__file__).parent.parent
GUIDE = Path(guide.__file__).parent
FILES = [ROOT / "README.md", *sorted(GUIDE.rglob("*.md"))]
TEXT = {path.relative_to(path.parents[1] if path.name == "README.md" else GUIDE).as_posix(): path for path in FILES}
LONGEST = {"README.md": 150}
PLAIN = ("sh", "console", "python", "yaml", "toml", "text", "")  # an unnamed block is the output of the script above it


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path) -> list[tuple[str, str]]:
    """Return (language, content) of every code block of a page."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", read(path), re.DOTALL | re.MULTILINE)


def commands(path: Path) -> list[str]:
    """Return every command line that a page shows in a block."""
    shell = [content for language, content in blocks(path) if language == "sh"]
    typed = [
        line.removeprefix("$ ")
        for language, content in blocks(path)
        if language == "console"
        for line in content.splitlines()
        if line.startswith("$ ")
    ]
    return [line for line in "\n".join([*shell, *typed]).replace("\\\n", " ").splitlines() if line.strip()]


def arguments(line: str) -> list[str] | None:
    """Return what a command line gives to dlw, or None where it starts something else."""
    words = shlex.split(line, comments=True)
    if "dlworkflow" in words and "-m" in words:
        words = ["dlw", *words[words.index("dlworkflow") + 1 :]]
    return words[1:] if words[:1] == ["dlw"] else None


def packaged(language: str) -> str:
    """Return the blocks of a language of which the page on extending makes a package, and what it types with it."""
    marked = rf"<!-- test: package -->\n```{language}\n(.*?)```"
    return "\n\n".join(re.findall(marked, guide.page("extending"), re.DOTALL))


EVERY = [pytest.param(path, id=name) for name, path in TEXT.items()]
INLINE = sorted(
    {
        tuple(shlex.split(span)[1:])
        for path in FILES
        for span in re.findall(r"`(dlw [^`\n]* --[^`\n]*)`", read(path))
        if "..." not in span and "[" not in span and not re.search(r"--(?:data|config)$", span)
    }
)
GIVEN = sorted({tuple(arguments(line) or ()) for path in FILES for line in commands(path)} - {()})
SHOWN_TO_FAIL = ("train", "line", "--epochs", "ten", "--batch-size", "abc", "--lr", "x")
PACKAGED = {tuple(arguments(line) or ()) for line in packaged("sh").splitlines()}
DLW = [
    pytest.param(given, id=" ".join(given))
    for given in GIVEN
    if given[-1] != "..." and given not in {SHOWN_TO_FAIL, *PACKAGED}
]


def scripts(path: Path) -> list[tuple[str, str]]:
    """Return the scripts of a page, each with the output below it ("" for none), in their order."""
    marked = r"<!-- test: run -->\n```python\n(.*?)```\n(?:\n```\n(.*?)```)?"
    return re.findall(marked, read(path), re.DOTALL)


def write_files(folder):
    """Write the files of code that the guide shows, `<!-- test: file NAME -->`, as its reader would."""
    for path in FILES:
        for name, content in re.findall(r"<!-- test: file (\S+) -->\n```python\n(.*?)```", read(path), re.DOTALL):
            (folder / name).write_text(content, encoding="utf-8")


RUN_IN_ORDER = """
import contextlib, io, json, sys
names, printed = {}, []
for script in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(script, names)
    printed.append(output.getvalue())
print(json.dumps(printed))
"""
SLOW = (
    *("1-2.md", "1-3.md", "1-4.md", "1-5.md", "1-6.md", "export.md", "own-code.md", "prediction.md", "report.md"),
    *("start.md", "tables.md", "tasks.md"),
)
"""Pages whose scripts train, convert or draw much."""
NEEDS = {"1-5.md": "fashion_mnist", "1-6.md": "photos", "mistakes.md": "photos"}


def write_tables(folder):
    """Write the CSV files of the page on tables."""
    written = runpy.run_path(str(ROOT / "tests" / "bench" / "tables.py"))
    for name in written["TABLES"]:
        written["write_table"](name, folder)


@pytest.fixture
def in_chapter(in_tmp, request):
    """Return a function that gives a page's reader the data of its chapter and the notes' configs."""

    def give(page):
        (in_tmp / "configs").symlink_to(ROOT / "configs")
        write_files(in_tmp)
        if page == "tables.md":
            write_tables(in_tmp)
        if NEEDS.get(page) == "fashion_mnist" and fashion_mnist.find() is None:
            pytest.skip("no FashionMNIST files")
        if NEEDS.get(page) == "photos":
            (in_tmp / "data").mkdir()
            (in_tmp / "data" / "pizza_steak_sushi").symlink_to(request.getfixturevalue("photos"))
        return in_tmp

    return give


def of_pages(names):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [], id=name) for name in names]


@pytest.mark.parametrize("page", of_pages(name for name, path in TEXT.items() if scripts(path)))
def test_the_scripts_of_a_page_in_their_order_print_what_it_shows(page, in_chapter):
    given, shown = zip(*scripts(TEXT[page]), strict=True)
    command = [sys.executable, "-c", RUN_IN_ORDER, json.dumps(given)]
    environment = os.environ | {"MPLBACKEND": "agg"}

    ran = subprocess.run(command, cwd=in_chapter(page), env=environment, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    for script, printed, output in zip(given, json.loads(ran.stdout), shown, strict=True):
        lines = [[line for line in text.splitlines() if line.strip()] for text in (printed, output)]
        assert is_output(*lines), f"{script}\n{printed}"


FOLLOWED = {
    name: "".join(re.findall(r"<!-- test: follow -->\n```console\n(.*?)```", read(path), re.DOTALL))
    for name, path in TEXT.items()
}


def is_line(printed: str, shown: str) -> bool:
    """Tell whether two lines have the same words: decimals may differ by 2 %, seconds by any factor."""
    words, wanted = (re.sub("---+", "---", line).split() for line in (printed, shown))
    return len(words) == len(wanted) and all(
        word == other or after in ("s", "s;") or is_close(word, other)
        for word, other, after in zip(words, wanted, [*wanted[1:], ""], strict=True)
    )


def is_close(printed: str, shown: str) -> bool:
    first, second = (word.strip("(),;:") for word in (printed, shown))
    decimal = r"-?\d+\.\d+"
    close = re.fullmatch(decimal, first) and re.fullmatch(decimal, second)
    return bool(close) and float(first) == pytest.approx(float(second), rel=0.02, abs=0.002)


def is_output(printed: list[str], shown: list[str]) -> bool:
    """Tell whether the lines shown are those printed; a line `...` stands for any number of lines."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(is_output(printed[start:], shown[1:]) for start in range(len(printed) + 1))
    return bool(printed) and is_line(printed[0], shown[0]) and is_output(printed[1:], shown[1:])


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize("page", of_pages(name for name, steps in FOLLOWED.items() if steps and name != "zh/start.md"))
def test_the_commands_of_a_page_in_their_order_print_what_it_shows(page, in_chapter):
    in_tmp = in_chapter(page)
    runpy.run_path(str(ROOT / "tests" / "write_digits.py"))["write_digits"](in_tmp / "images")
    for step in re.split(r"^\$ ", FOLLOWED[page], flags=re.MULTILINE)[1:]:
        command, *shown = filter(None, step.replace("\\\n", "").splitlines())
        answer = io.StringIO()
        with redirect_stdout(answer), redirect_stderr(answer):
            call_in(in_tmp, arguments(command))
        printed = [line for line in answer.getvalue().splitlines() if line.strip()]

        assert is_output(printed, shown), f"{command}\n{answer.getvalue()}"


def test_the_chinese_start_page_has_the_commands_and_output_of_the_english_one():
    english, chinese = TEXT["start.md"], TEXT["zh/start.md"]

    assert FOLLOWED["zh/start.md"] == FOLLOWED["start.md"]
    assert [arguments(line) for line in commands(chinese)] == [arguments(line) for line in commands(english)]
    assert len(read(chinese).split("## ")) == len(read(english).split("## "))


def test_the_package_that_extending_builds_adds_one_thing_of_each_kind_to_dlw(install, in_tmp, capsys):
    groups = {
        group.removeprefix("dlworkflow."): {name: place.removeprefix("mypackage:") for name, place in points.items()}
        for group, points in tomllib.loads(packaged("toml"))["project"]["entry-points"].items()
    }
    install(packaged("python"), **groups)

    for line in packaged("sh").splitlines():
        with pytest.raises(SystemExit) as ended:
            main(arguments(line))
        assert not ended.value.code, line

    out = capsys.readouterr().out
    assert all(word in out for word in ("sign_sgd", "worst recall", "confidence.png", "ACCURACY", "hello world"))
    assert "every held-out sample" in out


def test_readme_shows_a_script_of_few_lines():
    script = re.search(r"<!-- test: run -->\n```python\n(.*?)```", read(ROOT / "README.md"), re.DOTALL)[1]

    assert len([line for line in script.splitlines() if line.strip()]) <= 12


@pytest.mark.parametrize("path", EVERY)
def test_every_block_is_of_a_kind_that_is_checked(path):
    kinds = [language for language, _ in blocks(path)]

    assert set(kinds) <= set(PLAIN)
    assert kinds.count("") == sum(bool(output) for _, output in scripts(path))
    assert len(kinds) * 2 == len(re.findall(r"^```", read(path), re.MULTILINE))


@pytest.mark.parametrize("path", EVERY)
def test_every_name_of_the_library_in_python_exists(path):
    for language, content in blocks(path):
        for node in ast.walk(ast.parse(content)) if language == "python" else ():
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dlw":
                assert hasattr(dlworkflow, node.attr), node.attr
            if isinstance(node, ast.ImportFrom) and node.module == "dlworkflow":
                assert [alias.name for alias in node.names if not (GUIDE.parent / alias.name).exists()] == []
    for name in re.findall(r"`dlw\.(\w+)", read(path)):
        assert hasattr(dlworkflow, name), name


def test_the_page_on_the_notes_lists_every_helper_of_the_course():
    rows = re.findall(r"^\| (`.*?`)(?: \(.*?\))? \|", guide.page("notes"), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    helpers = {name for home, names in dlworkflow._HOMES.items() if home.startswith("course") for name in names}
    assert listed <= set(dlworkflow.__all__)
    assert helpers <= listed


@pytest.mark.parametrize("path", EVERY)
def test_every_command_exists(path):
    known = {*COMMANDS}
    named = set(re.findall(r"(?:^|[`$ ])dlw ([a-z][a-z-]*)\b", read(path), re.MULTILINE))

    assert named - known <= {words[0] for words in PACKAGED} & {"hello"}


@pytest.mark.parametrize("given", [*DLW, *(pytest.param(given, id=" ".join(given)) for given in INLINE)])
def test_every_command_line_is_accepted(given):
    command, names = _command_tree(), list(given)
    path = ["dlw"]
    while names and names[0] in getattr(command, "commands", {}):
        path.append(names.pop(0))
        command = command.commands[path[-1]]

    parent = typer.Context(command, info_name=" ".join(path[:-1]))
    with suppress(typer.Exit):  # --help ends the program
        command.make_context(path[-1], names, parent=parent)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """The folder of someone who reads the guide: the files that its commands name, a run, a script's weights."""
    import torch

    from dlworkflow.models import build

    root = tmp_path_factory.mktemp("reader")
    noise = np.random.default_rng(0)
    labels = ["path,label,split"]
    for split, number in (("train", 12), ("test", 2)):
        for name in ("pizza", "steak", "sushi"):
            (root / "food" / split / name).mkdir(parents=True)
            for index in range(number):
                path = root / "food" / split / name / f"{index}.jpg"
                Image.fromarray(noise.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
                labels.append(f"food/{split}/{name}/{index}.jpg,{name},{split}")
    for name in ("labels.csv", "corrected.csv"):
        (root / name).write_text("\n".join(labels))
    images = [line.split(",")[0] for line in labels[1:]]
    tags = [f"{image},{'pizza' if number % 2 else 'pizza|steak'}" for number, image in enumerate(images)]
    (root / "tags.csv").write_text("\n".join(["path,labels", *tags]))
    (root / "table.csv").write_text("\n".join(["photo,tags", *tags]))
    (root / "values.csv").write_text("\n".join(["path,value", *(f"{image},{len(image)}.5" for image in images)]))
    for place in ("photo.jpg", "more-photos/1.jpg", "scans/1.png", "photos/1.jpg"):
        (root / place).parent.mkdir(exist_ok=True)
        Image.open(path).save(root / place)
    torch.save(build("tinyvgg", (3, 64, 64), 3).state_dict(), root / "script.pth")
    for published in ("resnet18.pth", "model.safetensors"):
        (root / published).touch()
    write_tables(root)
    (root / "path" / "to").mkdir(parents=True)
    (root / "path" / "to" / "folder").symlink_to(root / "food")
    (root / "configs").symlink_to(ROOT / "configs")
    write_files(root)
    call_in(root, ["train", "tinyvgg", "--data", "food", "--epochs", "1", "--val-fraction", "0.6"])
    call_in(root, ["calibrate", "tinyvgg"])
    call_in(root, SHARDING)
    (root / "theirs").mkdir()
    for shard in (root / "food-shards").glob("*.tar"):
        shutil.copy(shard, root / "theirs" / shard.name.removeprefix("train-"))
    shutil.rmtree(root / "food-shards")
    return root


SHARDING = ("data", "shard", "food", "--out", "food-shards", "--shards", "32")


def call_in(folder, given):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main(list(given))
    return ended.value.code


TRAINED = [given for given in DLW if given.values[0][0] == "train" and not {"--resume", "last"} & set(given.values[0])]
FILED = [
    pytest.param(*given.values, marks=[pytest.mark.slow] if "--folds" in given.values[0] else [], id=given.id)
    for given in DLW
    if given.values[0][0] in ("train", "predict", "summary", "data")
    and re.search(r"food|(labels|tags|values|table)\.csv|photo|\.tar", given.id)
    and not re.search(r"resnet18|timm/|--run lite", given.id)  # published weights, and the run of such
    and "--resume" not in given.values[0]
]


@pytest.mark.parametrize("given", TRAINED)
def test_the_settings_of_every_training_are_accepted(given, reader, capsys):
    if "food-shards" in " ".join(given) and not (reader / "food-shards").exists():
        call_in(reader, SHARDING)
        capsys.readouterr()

    code = call_in(reader, [*given, "--print-config"])

    answer = capsys.readouterr()
    assert code == 0, answer.err
    assert yaml.safe_load(answer.out)["epochs"] >= 0


def options_of_other_tools():
    """Return what the page on other tools gives as options of `dlw train`, one cell a test."""
    cells = re.findall(r"\| `(--[^`]*)`[^|`]*\|$", guide.page("comparison"), re.MULTILINE)
    return [pytest.param(shlex.split(cell.partition(";")[0]), id=cell) for cell in cells]


@pytest.mark.parametrize("given", options_of_other_tools())
def test_the_options_that_stand_for_those_of_other_tools_are_accepted(given, reader, capsys):
    model = "resnet18" if any("freeze" in word or "precision" in word for word in given) else "tinyvgg"
    more = ["--weights", "default"] if any("freeze" in word for word in given) else []
    more += ["--freeze", "backbone"] if "--freeze-epochs" in given else []
    more += [] if "--data" in given else ["--data", "food"]
    more += [] if "--epochs" in given else ["--epochs", "10"]

    code = call_in(reader, ["train", model, *more, *given, "--print-config"])

    assert code == 0, capsys.readouterr().err


@pytest.mark.parametrize("given", FILED)
def test_a_command_takes_the_files_that_it_names(given, reader, capsys):
    if given == SHARDING:
        shutil.rmtree(reader / "food-shards", ignore_errors=True)
    elif "food-shards" in " ".join(given) and not (reader / "food-shards").exists():
        call_in(reader, SHARDING)
    for labels in (reader / "runs").glob("*-labels-*"):  # the runs of a command before, which fit `--run tinyvgg` too
        shutil.rmtree(labels)
    if given[0] == "train":
        given = [*shlex.split(shlex.join(given).replace("--processes 2", "")), "--dry-run"]

    assert call_in(reader, given) == 0, capsys.readouterr().err


def test_the_commands_that_take_files_are_found():
    assert {given.values[0][0] for given in FILED} >= {"train", "predict", "data", "summary"}
    assert any("theirs" in given.id for given in FILED)


@pytest.mark.parametrize("path", EVERY)
def test_every_settings_file_is_one(path, tmp_path, capsys):
    for language, content in blocks(path):
        if language != "yaml":
            continue
        file = tmp_path / "settings.yaml"
        file.write_text(content, encoding="utf-8")
        kind = "sweep" if "sweep:" in content else "train"
        with pytest.raises(SystemExit) as ended:
            main([kind, str(file), "--dry-run"] if kind == "sweep" else [kind, "--config", str(file), "--print-config"])

        assert ended.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("path", EVERY)
def test_every_link_resolves(path):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", read(path))

    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", EVERY)
def test_every_file_of_the_tests_or_configs_that_is_named_exists(path):
    named = re.findall(r"\b((?:configs|tests)/[\w/]+\.(?:yaml|py|png))\b", read(path))

    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", EVERY)
def test_no_page_is_too_long(path):
    assert len(read(path).splitlines()) <= LONGEST.get(path.name, 200)


@pytest.mark.parametrize("path", EVERY)
def test_every_page_starts_with_its_title(path):
    assert re.match(r"# \S", read(path))


def test_readme_links_to_every_page_of_the_guide():
    linked = set(re.findall(r"\(src/dlworkflow/guide/([\w/-]+)\.md\)", read(ROOT / "README.md")))

    assert linked == {path.relative_to(GUIDE).with_suffix("").as_posix() for path in GUIDE.rglob("*.md")}


def test_the_pages_are_part_of_the_installed_package():
    package = files("dlworkflow.guide")

    assert {entry.name for entry in package.iterdir() if entry.name.endswith(".md")} == {
        f"{x}.md" for x in guide.pages()
    }
    assert (package / "zh" / "start.md").is_file()


def test_the_error_that_settings_shows_is_the_one_that_is_printed(capsys):
    command, shown = re.search(r"\$ dlw (train line --epochs ten .*)\n(dlw: .*)\n", guide.page("settings")).groups()

    with pytest.raises(SystemExit):
        main(command.split())

    assert capsys.readouterr().err.strip() == shown


def test_every_promise_names_a_test_that_exists():
    promises = [line for line in guide.page("promises").splitlines() if line.startswith("| ")][1:]

    for promise in promises:
        file, name = re.search(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", promise).groups()
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), promise
    assert len(promises) >= 10
