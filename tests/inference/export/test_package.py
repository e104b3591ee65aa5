"""The folder to send: what is in it, and that its script reads files as the run does."""

import json
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

import dlworkflow as dlw
from dlworkflow.data.columns import Column, Columns
from dlworkflow.data.images.formats import FORMATS
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_bytes
from dlworkflow.errors import ConfigError, RunError
from dlworkflow.inference.export.description import METADATA_KEY, Description
from dlworkflow.inference.export.package import write_package

COLUMNS = Columns((Column("age", 40, 10, fill=38.0), Column("city", fill="Rome", categories=("Rome", "上海"))), "buys")
STRETCHED = Pipeline((6, 5))
CROPPED = Pipeline((6, 5), shorter=8, interpolation="bicubic")


def about(**others):
    facts = {"run": "pets-001", "model": "tinyvgg", "weights": "best", "digest": "0" * 64, "task": "multiclass"}
    facts |= {"weights_size": 1, "weights_mtime_ns": 1, "classes": ["cat", "<script>"], "in_shape": [3, 6, 5]}
    return Description(**(facts | {"transform": STRETCHED.to_spec()} | others))


def about_table(**others):
    return about(transform=None, in_shape=[3], columns=COLUMNS.to_data(), **others)


def model_of(description):
    """Return a file with this description that takes the right inputs and answers [0.25, 0.75] for each sample."""
    shapes = {"images": (TensorProto.UINT8, 4), "rows": (TensorProto.FLOAT, 2)}
    shapes |= {"numbers": (TensorProto.DOUBLE, 2), "categories": (TensorProto.STRING, 2)}
    given = [helper.make_tensor_value_info(n, shapes[n][0], [None] * shapes[n][1]) for n in description.inputs]
    answer = helper.make_node(
        "Constant", [], ["out"], value=helper.make_tensor("", TensorProto.FLOAT, [1, 2], [0.25, 0.75])
    )
    graph = helper.make_graph([answer], "g", given, [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: description.to_text()})
    return model.SerializeToString()


def package(folder, description):
    return write_package(folder, model_of(description), description)


def run(folder, monkeypatch, *arguments):
    """Run the folder's predict.py; return it as a module. What it does about a closed pipe ends with it."""
    before = {number: signal.getsignal(number) for number in (getattr(signal, "SIGPIPE", signal.SIGTERM),)}
    spec = spec_from_file_location("predict", folder / "predict.py")
    module = module_from_spec(spec)
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    try:
        with pytest.raises(SystemExit) as end:
            spec.loader.exec_module(module)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    module.exit_code = end.value.code
    return module


def command_of(folder, place):
    """Install a package as its Dockerfile does, by Docker where it runs; return the command that predicts."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True).returncode == 0:
        built = subprocess.run(["docker", "build", "-q", folder], capture_output=True, text=True, check=True)
        return ["docker", "run", "--rm", "--network", "none", "-v", f"{place}:{place}:ro", built.stdout.strip()]
    venv.create(place / "env", with_pip=True)
    model = place / "model"
    model.mkdir()
    python = str(place / "env" / "bin" / "python")
    for line in (folder / "Dockerfile").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "COPY":
            for name in rest.split()[:-1]:
                shutil.copy(folder / name, model)
        elif word == "RUN":
            subprocess.run([python, *rest.removeprefix("python ").split()], cwd=model, check=True, env={})
        elif word == "ENTRYPOINT":
            return [part.replace("/model", str(model)).replace("python", python, 1) for part in json.loads(rest)]
    raise AssertionError("no ENTRYPOINT")


@pytest.mark.slow
def test_a_package_predicts_without_torch_and_dlworkflow_what_its_run_predicts(photos, in_tmp):
    run = dlw.run_training(model="tinyvgg", data=str(photos), epochs=1)
    given = sorted(photos.rglob("*.jpg"))
    command = command_of(dlw.export_run(run, package="for-you").path, in_tmp)

    done = subprocess.run([*command, *given], capture_output=True, text=True, check=True, env={})

    found, expected = (
        [json.loads(line) for line in done.stdout.splitlines()],
        dlw.Predictor.from_run(run).predict(given),
    )
    assert [each["label"] for each in found] == [each.label for each in expected]
    assert [each["probability"] for each in found] == pytest.approx([each.probability for each in expected], abs=1e-5)


def test_a_package_is_five_files(tmp_path):
    folder = package(tmp_path / "new" / "package", about())

    assert sorted(path.name for path in folder.iterdir()) == [
        *("Dockerfile", "README.md", "model.onnx", "predict.py", "requirements.txt")
    ]


@pytest.mark.parametrize("description", [about(), about_table()], ids=["images", "table"])
def test_the_script_has_under_80_lines(description, tmp_path):
    assert len((package(tmp_path / "p", description) / "predict.py").read_text().splitlines()) < 80


def test_the_requirements_are_the_librarys_own_bounds(tmp_path):
    project = tomllib.loads(Path(__file__).parents[3].joinpath("pyproject.toml").read_text())["project"]
    known = {*project["dependencies"], *project["optional-dependencies"]["export"]}

    assert {*(package(tmp_path / "p", about()) / "requirements.txt").read_text().split()} <= known


def test_names_of_classes_are_code_in_the_readme(tmp_path):
    assert '\n    "<script>"\n' in (package(tmp_path / "p", about()) / "README.md").read_text()


def test_a_folder_with_something_in_it_is_kept(tmp_path):
    (tmp_path / "mine.txt").touch()

    with pytest.raises(ConfigError, match=r"package: .* exists already; name another folder, or remove it first"):
        package(tmp_path, about())


def test_a_package_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match=r"cannot write .*: No space left on device"):
        package(tmp_path / "p", about())

    assert not [*tmp_path.iterdir()]


def test_a_run_that_scales_each_image_by_itself_has_no_package(tmp_path):
    with pytest.raises(ConfigError, match=r"predict\.py does not"):
        package(tmp_path / "p", about(transform=Pipeline((6, 5), value_range="each").to_spec()))


def test_an_image_is_answered_as_by_dlw_predict(tmp_path, monkeypatch, capsys):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    run(package(tmp_path / "p", about()), monkeypatch, tmp_path / "a.png", "--top-k", "2")

    best, other = {"label": "<script>", "probability": 0.75}, {"label": "cat", "probability": 0.25}
    assert json.loads(capsys.readouterr().out) == {"input": str(tmp_path / "a.png"), **best, "top": [best, other]}


def test_an_image_that_would_take_all_memory_is_an_error_of_its_line(tmp_path, monkeypatch, capsys):
    Image.new("1", (1, 60_000)).save(tmp_path / "line.png")
    description = about(transform=Pipeline((6, 5), shorter=256).to_spec())
    run(package(tmp_path / "p", description), monkeypatch, tmp_path / "line.png")

    assert "it is too long and narrow" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize("name", ["a\u202egnp.exe\x1b[2J.png", "\udcff.png", "上海.png"])
def test_no_name_of_a_file_controls_the_terminal(name, tmp_path, monkeypatch, capsys):
    run(package(tmp_path / "p", about()), monkeypatch, name)

    line = capsys.readouterr().out.removesuffix("\n")
    assert (line.isprintable(), json.loads(line)["input"], "上海" in line) == (True, name, "上海" in name)


@pytest.mark.parametrize(
    ("description", "given"), [(about(), "x.png"), (about_table(), "x.csv")], ids=["images", "table"]
)
def test_a_reader_that_has_enough_ends_it_without_a_word(description, given, tmp_path):
    (tmp_path / "x.csv").write_text("age,city\n" + "1,Rome\n" * 5000)
    folder = package(tmp_path / "p", description)
    command = [sys.executable, folder / "predict.py", *([given] if given == "x.csv" else 5000 * [given])]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_it_reads_the_formats_that_the_library_reads(tmp_path, monkeypatch):
    assert {*run(package(tmp_path / "p", about()), monkeypatch, "x.png").FORMATS} == {*FORMATS}


def test_several_labels_are_those_above_their_thresholds(tmp_path, monkeypatch, capsys):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    run(package(tmp_path / "p", about(task="multilabel", thresholds=[0.2, 0.8])), monkeypatch, tmp_path / "a.png")

    assert json.loads(capsys.readouterr().out)["labels"] == [{"label": "cat", "probability": 0.25}]


def test_what_is_no_image_is_an_error_of_its_line_and_the_others_are_predicted(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.jpg").write_text("text")
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    script = run(package(tmp_path / "p", about()), monkeypatch, tmp_path / "a.jpg", tmp_path / "b.png")

    broken, fine = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("cannot identify" in broken["error"], fine["label"], script.exit_code) == (True, "<script>", 1)


def noise(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (23, 31, 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 250)
    if mode == "F":
        return Image.fromarray(pixels[..., 0].astype(np.float32) / 255)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pipeline", [STRETCHED, CROPPED], ids=["stretched", "cropped"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F"])
def test_an_image_of_any_mode_has_the_pixels_that_the_run_reads(mode, pipeline, channels, tmp_path, monkeypatch):
    path = tmp_path / f"a.{'tiff' if mode == 'F' else 'png'}"
    noise(mode).save(path)
    description = about(transform=pipeline.to_spec(), in_shape=[channels, *pipeline.size])
    script = run(package(tmp_path / "p", description), monkeypatch, path)

    assert np.array_equal(script.read_image(str(path)), to_bytes(pipeline.read(path, channels)))


@pytest.mark.parametrize(
    "pipeline",
    [Pipeline((6, 5), fast_decode=True), Pipeline((6, 5), shorter=7, fast_decode=True), STRETCHED],
    ids=["fast", "fast and cropped", "stretched"],
)
def test_a_turned_jpeg_has_the_pixels_that_the_run_reads(pipeline, tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    noise("RGB").resize((310, 230)).save(tmp_path / "a.jpg", exif=exif)
    script = run(package(tmp_path / "p", about(transform=pipeline.to_spec())), monkeypatch, tmp_path / "a.jpg")

    assert np.array_equal(script.read_image(str(tmp_path / "a.jpg")), to_bytes(pipeline.read(tmp_path / "a.jpg", 3)))


def test_a_range_of_the_run_is_that_of_the_script(tmp_path, monkeypatch):
    pipeline = Pipeline((6, 5), value_range=(100.0, 20_000.0))
    noise("I;16").save(tmp_path / "a.png")
    script = run(package(tmp_path / "p", about(transform=pipeline.to_spec())), monkeypatch, tmp_path / "a.png")

    assert np.array_equal(script.read_image(str(tmp_path / "a.png")), to_bytes(pipeline.read(tmp_path / "a.png", 3)))


def test_what_is_no_finite_number_is_black_as_in_the_run(tmp_path, monkeypatch):
    values = np.array([[-np.inf, np.inf, np.nan], [0.5, 0.25, 1]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    script = run(package(tmp_path / "p", about(transform=STRETCHED.to_spec())), monkeypatch, tmp_path / "a.tiff")

    assert np.array_equal(script.read_image(str(tmp_path / "a.tiff")), to_bytes(STRETCHED.read(tmp_path / "a.tiff", 3)))


def test_lines_without_a_value_are_no_rows_and_space_around_names_is_none_of_them(tmp_path, monkeypatch):
    (tmp_path / "new.csv").write_text("age , city,,\n3 ,Rome,,\n,,,\n , ,,\n", encoding="utf-8")
    script = run(package(tmp_path / "p", about_table()), monkeypatch, tmp_path / "new.csv")

    rows = script.read_rows(str(tmp_path / "new.csv"))
    assert [{name: row[name] for name in ("age", "city")} for _, row in rows] == [{"age": "3", "city": "Rome"}]


def test_a_row_of_a_table_becomes_what_the_run_makes_of_it(tmp_path, monkeypatch):
    (tmp_path / "new.csv").write_text("city,other,age\n上海,x,41.5\n", encoding="utf-8")
    script = run(package(tmp_path / "p", about_table()), monkeypatch, tmp_path / "new.csv")

    [(_, row)] = script.read_rows(str(tmp_path / "new.csv"))
    numbers, texts, _ = COLUMNS.raw([row])
    assert {name: values.tolist() for name, values in script.inputs_of(row).items()} == {
        "numbers": numbers.tolist(),
        "categories": texts.tolist(),
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("old,Rome", "column 'age': 'old' is no finite number"),
        ("-inf,Rome", "column 'age': '-inf' is no finite number"),
        ("1_000,Rome", "column 'age': '1_000' is no finite number"),
        ("3,Oslo", "column 'city': 'Oslo' is none of Rome, 上海"),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error_of_its_line(line, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "new.csv").write_text(f"age,city\n{line}\n?,\n", encoding="utf-8")
    run(package(tmp_path / "p", about_table()), monkeypatch, tmp_path / "new.csv")

    wrong, filled = map(json.loads, capsys.readouterr().out.splitlines())
    assert (wrong["error"], filled["label"]) == (said, "<script>")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age\n3\n", "lacks the columns city"),
        ("age,city\n1,5,Rome\n", "a line has more cells than the first line"),
        ("age,city,age\n1,Rome,2\n", "two columns have one name"),
        ("", "lacks the columns age, city"),
    ],
)
def test_a_table_that_cannot_be_read_is_one_line(text, said, tmp_path, monkeypatch):
    (tmp_path / "new.csv").write_text(text)
    script = run(package(tmp_path / "p", about_table()), monkeypatch, tmp_path / "new.csv")

    assert said in script.exit_code


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "x\n1\n"], ids=["no names", "too few"])
def test_rows_of_plain_numbers_need_a_line_of_names(text, tmp_path, monkeypatch):
    (tmp_path / "new.csv").write_text(text)
    script = run(package(tmp_path / "p", about(transform=None, in_shape=[2])), monkeypatch, tmp_path / "new.csv")

    assert "its first line must name the 2 column(s)" in script.exit_code
