"""What is sent to others has nothing of the machine, its user or the place of a photo: every way out is searched."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dlworkflow
from dlworkflow.cli.app import main

pytestmark = pytest.mark.slow

PERSON = "anna-privat"
PLACE = "Geheimgasse 7"
SECRETS = {
    "the person's name": PERSON.encode(),
    "the place of a photo": PLACE.encode(),
    "EXIF data": b"Exif\x00\x00",
    "the path of the library": str(Path(dlworkflow.__file__).parent).encode(),
    "the path of torch": str(Path(torch.__file__).parent).encode(),
}


def photo(path, seed):
    """Write a JPEG that tells where it was taken, and by whom, in every way that a camera knows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = PLACE, PERSON  # description, artist
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0), 3: "E", 4: (16.0, 22.0, 0.0)})
    xmp = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{PLACE}</x:xmpmeta>".encode()
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, exif=exif, xmp=xmp, comment=PLACE.encode())
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A person's folder with photos, and in `runs` a run that was trained on them and evaluated."""
    home = tmp_path_factory.mktemp("home") / PERSON
    for seed, name in enumerate(12 * ("cat", "dog")):
        photo(home / "photos" / ("train" if seed < 16 else "test") / name / f"{seed}.jpg", seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name in ("LOGNAME", "USER", "USERNAME"):
            patch.setenv(name, PERSON)
        patch.setenv("HOME", str(home))
        called(
            "train", "tinyvgg", "--recipe", "notes", "--data", str(home / "photos"), "--epochs", "2", "--name", "pets"
        )
        yield home


def called(*arguments):
    """Run `dlw ARGUMENTS`, which ends well; return what it prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 0, err.getvalue()
    return out.getvalue()


def run_of(home):
    return str(next((home / "runs").iterdir()))


def exported(home, kind):
    called("export", run_of(home), "--format", kind)
    return {path.name: path.read_bytes() for path in Path(run_of(home)).rglob("*") if path.suffix == SUFFIXES[kind]}


SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors"}


def packaged(home):
    called("export", run_of(home), "--package", "package")
    return folder_of(home / "package")


def reported(home, kind):
    folder = home / f"report-{kind}"
    folder.mkdir()
    called("report", run_of(home), "--format", kind, "--out", str(folder / f"report.{kind}"))
    return folder_of(folder)


def folder_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WAYS_OUT = {
    "ONNX": lambda home: exported(home, "onnx"),
    "torch.export": lambda home: exported(home, "torch"),
    "safetensors": lambda home: exported(home, "safetensors"),
    "package": packaged,
    "HTML report": lambda home: reported(home, "html"),
    "Markdown report": lambda home: reported(home, "md"),
}


def parts(name, content):
    """Yield what a file holds, {place: bytes}: itself, the members of an archive, the images in a page."""
    yield name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield from parts(f"{name}/{member}", archive.read(member))
    for number, found in enumerate(re.findall(rb"data:[\w/+.-]+;base64,([\w+/=\s]+)", content)):
        yield f"{name} image {number}", base64.b64decode(found)


def found_in(files):
    """Return the secrets in files, {name: bytes}, as (secret, place)."""
    assert files
    every = [part for name, content in files.items() for part in parts(name, content)]
    return [(what, place) for what, secret in SECRETS.items() for place, content in every if secret in content]


def test_the_photos_have_these_secrets(home):
    found = {what for what, _ in found_in(folder_of(home / "photos"))}

    assert found == {"the person's name", "the place of a photo", "EXIF data"}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_what_is_sent_to_others_has_no_secret(home, way):
    assert found_in(WAYS_OUT[way](home)) == []


def test_the_answers_of_the_server_have_no_secret(home, serve):
    from dlworkflow.inference.predictor import Predictor

    address = serve(Predictor.from_run(run_of(home))).address
    image = next((home / "photos" / "test").rglob("*.jpg")).read_bytes()
    asked = ("", "page.js", "info", "health", "docs", "openapi.json", "../../etc/passwd", "no")
    posted = {"an image": body(image), "half an image": body(image[:2000]), "text": body(b"hello"), "nothing": b""}
    given = {name: request(address + "predict", content) for name, content in posted.items()}

    assert found_in(given | {name: request(address + name) for name in asked}) == []


def body(content):
    return b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + content + b"\r\n--x--\r\n"


def request(address, content=None):
    """Return an answer as bytes, its headers first, that of an error too."""
    asked = urllib.request.Request(address, content, {"Content-Type": "multipart/form-data; boundary=x"})
    try:
        with urllib.request.urlopen(asked) as answer:
            return bytes(answer.headers) + answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return bytes(error.headers) + error.read()
