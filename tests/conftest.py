"""What tests share: a folder of their own to work in, small pictures, and data where the machine has it."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import re
import shutil
import socket
import sys
import tarfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect garbage among what tests make alone: modules and thousands of collected tests live to the end.

    To walk over these again and again takes time and finds nothing.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish():
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Remember nothing where users do: in a cache folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("DLW_CACHE_DIR", str(folder))
        patch.delenv("DLW_MAX_PIXELS", raising=False)
        yield folder


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """Work in an empty folder, with no DLW_ setting but the data folder."""
    for name in ("DLW_RUNS_DIR", "DLW_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Print as into a pipe, however wide and coloured the terminal is in which the tests run."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def on_cpu(monkeypatch):
    """Let the device `auto` be the CPU, here and in processes that are started: for tests of its very numbers."""
    monkeypatch.setattr("dlworkflow.engine.device.available_devices", lambda: ["cpu"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def photos():
    """The real 300 photos: DLW_DATA_DIR says where they are."""
    folder = Path(os.environ.get("DLW_DATA_DIR", "data"), "pizza_steak_sushi")
    if not folder.is_dir():
        pytest.skip("no photos: set DLW_DATA_DIR to the folder that holds pizza_steak_sushi")
    return folder.resolve()


@pytest.fixture(scope="session")
def chinese_font():
    """A font with Chinese characters: of Debian's package fonts-wqy-microhei, say."""
    from matplotlib.font_manager import findSystemFonts, get_font

    if not any(get_font(file).get_char_index(ord("比")) for file in findSystemFonts()):
        pytest.skip("no font with Chinese characters: install one, as Debian's fonts-wqy-microhei")


@pytest.fixture
def paint():
    """Write an image of noise, the same for the same seed; its format follows from the name."""

    def write(path, seed=0, size=(9, 7), mode="RGB"):
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = len(Image.new(mode, (1, 1)).getbands())
        noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
        Image.fromarray(noise.squeeze(2) if channels == 1 else noise).save(path)
        return path

    return write


@pytest.fixture
def pets(tmp_path, paint):
    """Five cats and four dogs to train on, two of each to test on, of several sizes."""
    root = tmp_path / "pets"
    for seed, (split, name, number) in enumerate(
        (split, name, number)
        for split, name, count in (("train", "cat", 5), ("train", "dog", 4), ("test", "cat", 2), ("test", "dog", 2))
        for number in range(count)
    ):
        paint(root / split / name / f"{number}.png", seed, size=(20 + 3 * number, 17))
    return root


@pytest.fixture
def pet_shards(pets, tmp_path):
    """Four training shards of two or three pictures, two test shards of two, with their index."""
    pytest.importorskip("webdataset")
    from dlworkflow.data.datasets.image_folder import load_image_folder
    from dlworkflow.data.shards.writing import write_shards

    write_shards(load_image_folder(path=str(pets)), tmp_path / "shards", shards=4)
    return tmp_path / "shards"


@pytest.fixture
def write_tar(tmp_path):
    """Write a tar file of {member: bytes} as another tool would, without an index."""

    def write(name, members):
        path = tmp_path / "foreign" / name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    return write


@pytest.fixture
def state_of():
    """Return what a user would notice of a folder: names, bytes, times of change."""

    def look(folder):
        return {
            path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None)
            for path in sorted(folder.rglob("*"))
        }

    return look


FOREIGN = (  # what a user may keep anywhere, some of it named almost as files of ours
    *("labels.csv", "photo.jpg", "x.npy", ".hidden", ".new-backup", ".pictures-x", "summary.json.bak"),
    *(".best.pth-original", ".summary.json-20240101", ".evaluation.json-old", ".lock.bak", "history.csv~"),
    *(".new.0123456789abcdef.tmp", ".new.0123.dlw-tmp", "new.0123456789abcdef.dlw-tmp", "0123456789abcdef.npy"),
    *(".new-x/summary.json", ".shards-old/train-00.tar", ".new.0123456789abcdef.dlw-tmp.old/config.yaml"),
)
AGES = (0, 2, 40, 400)  # days


@pytest.fixture
def foreign():
    """Fill folders with a user's files of every age; return a function that tells their bytes as they are now."""

    def fill(*folders):
        files = []
        for folder in folders:
            for age in AGES:
                for name in FOREIGN:
                    path = folder / name
                    path = path.with_name(f"{path.stem}-{age}{path.suffix}") if age else path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(f"{path} of {age} days".encode())
                    files.append((path, time.time() - age * 24 * 60 * 60))
        for path, then in files:
            os.utime(path, (then, then))
            os.utime(path.parent, (then, then))
        return lambda: {path: path.read_bytes() if path.is_file() else None for path, _ in files}

    return fill


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a module with its entry points, {group: {name: attribute}}, for this process and those that it starts."""
    from dlworkflow.registry import plugins

    def write(code, **groups):
        info = tmp_path / "site" / "dlw_toys-1.dist-info"
        info.mkdir(parents=True)
        (info.parent / "dlw_toys.py").write_text(code, encoding="utf-8")
        (info / "METADATA").write_text("Name: dlw-toys\nVersion: 1\n", encoding="utf-8")
        lines = [
            line
            for group, names in groups.items()
            for line in (f"[dlworkflow.{group}]", *(f"{name} = dlw_toys:{what}" for name, what in names.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(info.parent), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.syspath_prepend(info.parent)
        plugins._entry_points.cache_clear()

    yield write
    sys.modules.pop("dlw_toys", None)
    plugins._entry_points.cache_clear()


@pytest.fixture(scope="session")
def run_notebook(tmp_path_factory):
    """Run cells of code in a fresh Jupyter kernel with its default matplotlib backend; return what each gave.

    That is `text` (printed, the value of the last line, an error), `stderr` without progress bars, and how many
    `figures` and HTML `tables` it shows. The notebook works in a folder of its own, where `files` {name: path} are.
    """
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")

    def run(cells, files=None):
        folder = tmp_path_factory.mktemp("notebook")
        for name, path in (files or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(path)
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
        own = {name: str(folder / ".jupyter") for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")}
        left_out = ("MPLBACKEND", "DLW_DATA_DIR", "DLW_RUNS_DIR", "DLW_OFFLINE")
        environment = {name: value for name, value in os.environ.items() if name not in left_out} | own
        place = {"metadata": {"path": str(folder)}}
        nbclient.NotebookClient(book, timeout=600, allow_errors=True, resources=place).execute(env=environment)
        return [_given(cell.outputs) for cell in book.cells]

    return run


def _given(outputs):
    text = stderr = ""
    data = [output.get("data", {}) for output in outputs]
    for output, kinds in zip(outputs, data, strict=True):
        if output.get("name") == "stderr":
            stderr += "".join(
                line for line in re.split(r"(?<=[\r\n])", output["text"]) if not re.search(r"\d%\||^\s*$", line)
            )
        elif output["output_type"] == "error":
            text += f"{output['ename']}: {output['evalue']}\n"
        elif "image/png" not in kinds:
            text += output.get("text") or kinds.get("text/plain", "") + "\n"
    count = {kind: sum(kind in kinds for kinds in data) for kind in ("image/png", "text/html")}
    return SimpleNamespace(text=text, stderr=stderr, figures=count["image/png"], tables=count["text/html"])


@pytest.fixture(scope="module")
def serve():
    """Serve a predictor from a thread, with limits where they are not the usual; return its `address` and `stop`."""
    uvicorn = pytest.importorskip("uvicorn")
    from dlworkflow.inference.server import Limits, make_app

    started = []

    def start(predictor, **limits):
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(make_app(predictor, Limits(**limits)), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()

        def stop():
            server.should_exit = True
            thread.join()
            listening.close()

        started.append(stop)
        return SimpleNamespace(address=f"http://127.0.0.1:{listening.getsockname()[1]}/", stop=stop)

    yield start
    for stop in started:
        stop()


@pytest.fixture(scope="session")
def chromium():
    """Debian's Chromium without a window, with a camera of its own; nothing is downloaded. Tests use `browser`."""
    webdriver = pytest.importorskip("selenium.webdriver")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium: install Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    for flag in ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture
def browser(chromium):
    """A browser that shows nothing yet, light and 1000 pixels wide; `browser.look(width=, dark=)` changes that.

    `browser.faint_texts()` are the texts with a contrast below 4.5, `browser.nameless()` the roles of the controls and
    images that have no name for a screen reader.
    """

    def look(*, width=1000, dark=False):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def faint_texts():
        found = chromium.execute_script(_CONTRASTS)
        assert len(found) > 10, "the page shows too little to look at"
        return [text for contrast, text in found if contrast < 4.5]

    def nameless():
        nodes = chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        named = [node for node in nodes if not node["ignored"] and node["role"]["value"] in _NAMED_ROLES]
        assert named, "the page has nothing to name"
        return [node["role"]["value"] for node in named if not node["name"]["value"]]

    chromium.get("about:blank")
    chromium.get_log("browser")  # that of the test before
    chromium.look, chromium.faint_texts, chromium.nameless = look, faint_texts, nameless
    look()
    return chromium


_NAMED_ROLES = {"button", "textbox", "spinbutton", "combobox", "image", "region", "form", "link"}
_CONTRASTS = """
    const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const light = (color) => {
        const [r, g, b] = numbers(color).map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const background = (e) => {
        const color = getComputedStyle(e).backgroundColor;
        return numbers(color)[3] === 0 ? background(e.parentElement) : color;
    };
    const texts = [...document.querySelectorAll("body *")].filter(
        (e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()));
    return texts.map((e) => {
        const both = [light(getComputedStyle(e).color), light(background(e))].sort((a, b) => a - b);
        return [(both[1] + 0.05) / (both[0] + 0.05), e.textContent];
    });
"""


@pytest.fixture
def forget():
    """Return a function that makes this process know no code of a user's any more, as a new one; so it ends, too."""
    from dlworkflow.registry.user_code import forget_code
    from dlworkflow.registry.user_files import KINDS

    before = {kind: dict(things.registered) for kind, things in KINDS.items()}
    forget_code()
    yield forget_code
    forget_code()
    for kind, registered in before.items():
        KINDS[kind].registered.update(registered)


@pytest.fixture
def write_onnx():
    """Write a linear model as `dlw export` does, without torch's exporter, which takes seconds.

    `slopes` (outputs, width) and `task` are the network; `weights` is the file that it is of, and `about` what else its
    description holds.
    """
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    from dlworkflow.inference.export.description import METADATA_KEY, Description
    from dlworkflow.registry.user_files import digest_of

    activations = {"multiclass": "Softmax", "multilabel": "Sigmoid", "regression": "Identity"}
    types = {"images": TensorProto.UINT8, "rows": TensorProto.FLOAT, "numbers": TensorProto.DOUBLE}

    def write(path, slopes, *, task="multiclass", classes=(), in_shape, weights=None, **about):
        of = {"digest": digest_of(weights), "weights_size": weights.stat().st_size} if weights else {}
        facts = {"digest": "0" * 64, "weights_size": 0, "weights_mtime_ns": 0, "run": "r", "model": "m"} | of | about
        found = Description(task=task, classes=[*classes], in_shape=[*in_shape], weights="best", **facts)
        [given], slopes = found.inputs, np.asarray(slopes, np.float32)
        if given == "images":
            slopes = slopes / np.float32(255)
        nodes = [
            helper.make_node("Cast", [given], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["floats"], ["flat"]),
            helper.make_node("Gemm", ["flat", "slopes"], ["scores"], transB=1),
            helper.make_node(activations[task], ["scores"], [found.output]),
        ]
        graph = helper.make_graph(
            nodes,
            "linear",
            [helper.make_tensor_value_info(given, types[given], ["n", *in_shape])],
            [helper.make_tensor_value_info(found.output, TensorProto.FLOAT, ["n", len(slopes)])],
            [numpy_helper.from_array(slopes, "slopes")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        helper.set_model_props(model, {METADATA_KEY: found.to_text()})
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def answered(tmp_path):
    """Make a finished run with stored answers to samples of three classes, right where `right` is true."""
    from dlworkflow.runs import EvaluationSummary, Run

    def make(right=(), *, name="m", seed=1, data="d", files=None, fingerprint=None, classes="abc", **changes):
        truth = changes.pop("truth", [index % len(classes) for index in range(len(right))])
        losses = [0.25 if hit else 2.0 for hit in right]
        rows = [
            {
                "index": index,
                **({"file": files[index]} if files else {}),
                "truth": classes[label],
                "prediction": classes[label if hit else (label + 1) % len(classes)],
                "loss": loss,
            }
            for index, (label, hit, loss) in enumerate(zip(truth, right, losses, strict=True))
        ]
        return make_of("multiclass", [*classes], rows, name, seed, data, fingerprint, **changes)

    def make_of(task, classes, rows, name="m", seed=1, data="d", fingerprint=None, **changes):
        settings = {"name": data, "batch_size": 32, "data_dir": None}
        config = {"model": {"name": name}, "data": settings, "optimizer": {"name": "sgd"}, "loss": "l", "epochs": 1}
        known = {"config": config | {"seed": seed}, "data": data, "task": task, "classes": classes, "kind": "tabular"}
        known |= {"n_outputs": len(classes) or 1, "baseline": None, "in_shape": [2], "transform": None}
        known |= {
            "samples": {"train": 8, "test": len(rows) or 9},
            "source": "nowhere",
            "parameters": 3,
            "device": "cpu",
        }
        best = {"epoch": 1, "train_loss": 1.0, "train_acc": 0.5, "test_loss": 1.0, "test_acc": changes.pop("acc", 0.5)}
        known |= {"threads": 1, "chosen_on": "test", "best": best, "last": best} | changes
        run = Run.create(tmp_path / "runs", f"{name}-{data}", summary=known, config="", environment={})
        run.log_epochs([{"epoch": 1, "lr": 0.1, "seconds": 0.1, **best}])
        run.update_summary(status="finished", seconds=0.1)
        about = {"weights": "best", "epoch": 1, "split": "test", "data_changed": False, "skipped": 0, "warnings": []}
        about |= {"task": task, "samples": len(rows), "metrics": {}, "confused_pairs": []}
        losses = [row["loss"] for row in rows]
        report = EvaluationSummary(
            **{"run": run.name, **about, "loss": sum(losses) / len(losses) if losses else None},
            classes=[{"label": label} for label in classes],
            samples_fingerprint=fingerprint,
        )
        if rows:
            run.write_found(report, {"predictions": rows})
        return run

    make.of = make_of
    return make


@dataclass(frozen=True)
class Mislabelled:
    """Photos of two classes in `folder / "photos"`, some with wrong labels, and what was found about these."""

    folder: Path
    found: Any
    dark: str = "披萨"
    bright: str = "牛排"
    wrong: tuple[str, str] = ("dark-03.png", "bright-05.png")
    """Files in the folder of the other class; the first is in its own folder, too, under the name `again`."""
    again: str = "dark-again.png"
    settings: ClassVar[dict[str, Any]] = {
        "model": "fashion_mnist_v0",
        "image_size": 8,
        "epochs": 30,
        "lr": 0.1,
        "threads": 1,
    }

    def write(self) -> None:
        """Write 15 dark and 15 bright images of 40x40 pixels, 12 of each for training."""
        draws = np.random.default_rng(0)
        for split, n in (("train", 12), ("test", 3)):
            for kind, level, label, other in (
                ("dark", 60, self.dark, self.bright),
                ("bright", 190, self.bright, self.dark),
            ):
                for number in range(n):
                    file = f"{kind}-{number:02d}.png"
                    place = self.folder / "photos" / split
                    place /= other if split == "train" and file in self.wrong else label
                    place.mkdir(parents=True, exist_ok=True)
                    pixels = draws.integers(level - 40, level + 40, (40, 40, 3), np.uint8)
                    Image.fromarray(pixels).save(place / file)
        train = self.folder / "photos" / "train"
        shutil.copy(train / self.bright / self.wrong[0], train / self.dark / self.again)


@pytest.fixture(scope="session")
def mislabelled(tmp_path_factory):
    """Photos with wrong labels and the cross-validation that found them, in `runs` beside them; change nothing."""
    import torch

    import dlworkflow as dlw

    made = Mislabelled(tmp_path_factory.mktemp("mislabelled"), None)
    made.write()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    found = dlw.find_label_errors(made.folder / "photos", folds=3, runs_dir=made.folder / "runs", **made.settings)
    torch.set_num_threads(before)
    return replace(made, found=found)
