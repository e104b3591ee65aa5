import ast
import os
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageOps

import dlworkflow
from dlworkflow.data.check.folder import check_folder
from dlworkflow.data.images.decoding import ImageError, is_upright, load_image
from dlworkflow.data.images.formats import FORMATS, IMAGE_EXTENSIONS, is_image

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
WRITTEN = ("jpg", "jpe", "jfif", "png", "apng", "bmp", "dib", "gif", "ppm", "pbm", "tif", "webp", "avif", "jp2")


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program `gs` first on the path that leaves a mark where it is started."""
    mark, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # Pillow looks once a process
    return mark


@pytest.mark.parametrize("name", ["x.jpg", "x.eps", "x.png"])
def test_postscript_starts_no_program(tmp_path, ghostscript, name):
    (tmp_path / name).write_bytes(POSTSCRIPT)

    with pytest.raises(ImageError, match="is PostScript, a program, which is not run; save it as PNG"):
        load_image(tmp_path / name)
    assert not ghostscript.exists()


def test_postscript_in_a_shard_starts_no_program(write_tar, ghostscript):
    pytest.importorskip("webdataset")
    from dlworkflow.data.shards.checking import check_shards

    members = {"0.jpg": POSTSCRIPT, "0.cls": b"0", "1.jpg": POSTSCRIPT, "1.cls": b"1"}
    for name in ("train.tar", "test.tar"):
        folder = write_tar(name, members).parent

    assert [fault.kind for fault in check_shards(str(folder)).faults] == ["unreadable"] * 4
    assert not ghostscript.exists()


def test_postscript_in_a_folder_starts_no_program(pets, ghostscript):
    (pets / "train" / "cat" / "x.jpg").write_bytes(POSTSCRIPT)

    assert [fault.paths for fault in check_folder(pets).faults] == [("train/cat/x.jpg",)]
    assert not ghostscript.exists()


def test_images_are_opened_in_one_place_with_their_formats_named():
    opened = [
        (path.name, ast.unparse(node))
        for path in Path(dlworkflow.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Image.open", "imread", "read_image"))
    ]

    assert opened
    assert all(file == "decoding.py" and call.endswith("formats=_FORMATS)") for file, call in opened)


def test_pillow_knows_every_format_and_extension():
    Image.init()

    assert FORMATS.keys() <= Image.OPEN.keys()
    assert all(Image.EXTENSION[ending] in ("MPO", *FORMATS) for ending in IMAGE_EXTENSIONS)


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_file_of_every_format_is_an_image_and_read(tmp_path, paint, kind):
    path = paint(tmp_path / f"x.{kind}", mode="L")

    assert is_image(path.name)
    assert load_image(path).size == (9, 7)


def test_a_heic_image_says_how_to_convert_it(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")

    with pytest.raises(ImageError, match=r"x\.jpg': is a HEIC image; HEIC is not read here: convert it to JPEG"):
        load_image(tmp_path / "x.jpg")


def turned(path, orientation, byteorder):
    """A JPEG whose EXIF data names an orientation, in one of the orders of bytes; what Pillow makes of it."""
    exif = Image.Exif()
    exif.endian = byteorder
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = orientation, "a camera"
    Image.effect_noise((9, 5), 90).save(path, exif=exif)
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_pillow_turns_it(tmp_path, orientation, byteorder):
    expected = turned(tmp_path / "a.jpg", orientation, byteorder)

    assert load_image(tmp_path / "a.jpg").tobytes() == expected.tobytes()


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_metadata_of_an_upright_photo_are_not_parsed(tmp_path, byteorder):
    turned(tmp_path / "a.jpg", 1, byteorder)

    with Image.open(tmp_path / "a.jpg") as image:
        assert is_upright(image)


def test_an_orientation_in_xmp_counts(tmp_path):
    Image.effect_noise((9, 5), 90).save(tmp_path / "a.jpg", xmp=b'<x tiff:Orientation="6"/>')

    assert load_image(tmp_path / "a.jpg").size == (5, 9)
