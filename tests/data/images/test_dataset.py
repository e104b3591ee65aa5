import os
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torchvision import transforms

from dlworkflow.data.images import dataset as images
from dlworkflow.data.images import decoded_cache as remembered
from dlworkflow.data.images import decoding
from dlworkflow.data.images.dataset import ImageData, load_image, resize_all
from dlworkflow.data.images.decoded_cache import ImageFiles
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_pil, to_uint8
from dlworkflow.data.images.transforms import parse
from dlworkflow.errors import ConfigError, DataError

RED, WHITE, CLEAR = (255, 0, 0), (255, 255, 255), 0


def array(value, dtype):
    return Image.fromarray(np.full((2, 2), value, dtype=dtype))


def palette(colour, **info):
    picture = Image.new("P", (2, 2), 0)
    picture.putpalette(colour)
    picture.info.update(info)
    return picture


def clear_over(mode, colour):
    """A picture whose one colour is marked as transparent, as PNG does without an alpha channel."""
    picture = Image.new(mode, (2, 2), colour)
    picture.info["transparency"] = colour
    return picture


PICTURES = {  # what a file holds -> (picture, kind of file, what it shows as RGB)
    "1": (Image.new("1", (2, 2), 1), "png", WHITE),
    "L": (Image.new("L", (2, 2), 100), "png", (100, 100, 100)),
    "LA": (Image.new("LA", (2, 2), (100, 255)), "png", (100, 100, 100)),
    "LA clear": (Image.new("LA", (2, 2), (100, CLEAR)), "png", WHITE),
    "LA half clear": (Image.new("LA", (2, 2), (0, 51)), "png", (204, 204, 204)),
    "L with a clear grey": (clear_over("L", 100), "png", WHITE),
    "P": (palette(RED), "png", RED),
    "P with transparency": (palette(RED, transparency=0), "png", WHITE),
    "P with a clear colour beside it": (palette((*RED, 0, 0, 255), transparency=1), "png", RED),
    "P in a GIF": (palette(RED), "gif", RED),
    "RGB": (Image.new("RGB", (2, 2), (10, 20, 30)), "png", (10, 20, 30)),
    "RGB with a clear colour": (clear_over("RGB", (10, 20, 30)), "png", WHITE),
    "RGBA": (Image.new("RGBA", (2, 2), (10, 20, 30, 255)), "png", (10, 20, 30)),
    "RGBA clear": (Image.new("RGBA", (2, 2), (10, 20, 30, CLEAR)), "png", WHITE),
    "RGBA half clear": (Image.new("RGBA", (2, 2), (255, 0, 0, 51)), "png", (255, 204, 204)),
    "CMYK": (Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "tif", RED),
    "I;16 white": (array(65535, np.uint16), "png", WHITE),
    "I;16 middle": (array(257 * 100, np.uint16), "png", (100, 100, 100)),
    "I;16 dark": (array(200, np.uint16), "png", (1, 1, 1)),
    "I;16B white": (array(65535, ">u2"), "tif", WHITE),
    "I white": (array(65535, np.int32), "tif", WHITE),
    "I middle": (array(257 * 100, np.int32), "tif", (100, 100, 100)),
    "F white": (array(1.0, np.float32), "tif", WHITE),
    "F middle": (array(100 / 255, np.float32), "tif", (100, 100, 100)),
}
COLOURLESS = {name: shown[0] for name, (_, _, shown) in PICTURES.items() if len({*shown}) == 1}
TURNS = {  # the EXIF orientation -> how an upright picture was laid down in the file
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.fixture
def saved(tmp_path):
    """Write one of PICTURES as its kind of file."""

    def save(name):
        picture, kind, _ = PICTURES[name]
        picture.save(tmp_path / f"x.{kind}")
        return tmp_path / f"x.{kind}"

    return save


@pytest.fixture
def two_files(tmp_path, paint):
    """Two images of different size as the data of two classes."""
    return [paint(tmp_path / "a.png", 0, (20, 13)), paint(tmp_path / "b.png", 1, (9, 31))]


def as_data(paths, pipeline, channels=3):
    return ImageData(ImageFiles(paths, pipeline, channels), torch.arange(len(paths)), pipeline, paths=paths)


@pytest.mark.parametrize("name", PICTURES)
def test_every_mode_shows_its_colour_with_three_channels(name, saved):
    assert load_image(saved(name), channels=3).getcolors() == [(4, PICTURES[name][2])]


@pytest.mark.parametrize("name", COLOURLESS)
def test_every_mode_shows_its_grey_with_one_channel(name, saved):
    assert load_image(saved(name), channels=1).getcolors() == [(4, COLOURLESS[name])]


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_the_channels_of_the_model(name, channels, saved):
    assert to_uint8(load_image(saved(name), channels)).shape == (channels, 2, 2)


def test_a_deep_picture_keeps_its_greys_apart(tmp_path):
    ramp = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(ramp).save(tmp_path / "x.png")

    assert to_uint8(load_image(tmp_path / "x.png", 1)).flatten().tolist() == list(range(256))


def test_a_float_picture_with_holes_is_read(tmp_path):
    Image.fromarray(np.array([[np.nan, 1.0]], dtype=np.float32)).save(tmp_path / "x.tif")

    assert load_image(tmp_path / "x.tif", 1).getpixel((1, 0)) == 255


@pytest.mark.parametrize("value", [np.float32(1.5), np.float32(-1), np.int32(65536), np.int32(-1)])
def test_values_that_nobody_gave_a_range_for_are_refused(tmp_path, value):
    Image.fromarray(np.array([[0, value]], dtype=value.dtype)).save(tmp_path / "x.tif")

    with pytest.raises(
        images.ImageError, match=r"x\.tif'.*its values go from .* is not known: train with data\.range="
    ):
        load_image(tmp_path / "x.tif")


@pytest.mark.parametrize(
    ("low", "high", "value", "grey"),
    [(200, 300, 200, 0), (200, 300, 300, 255), (0, 1.5, 1.0, 170), (-1000, 3000, -1000, 0), (0, 4095, 4095, 255)],
)
def test_one_range_scales_every_picture_alike(tmp_path, low, high, value, grey):
    Image.fromarray(np.full((2, 2), value, dtype=np.float32)).save(tmp_path / "x.tif")

    assert load_image(tmp_path / "x.tif", 1, value_range=(low, high)).getcolors() == [(4, grey)]


def test_values_beyond_the_range_are_clipped(tmp_path):
    Image.fromarray(np.array([[-5, 5, 15, np.inf, np.nan]], dtype=np.float32)).save(tmp_path / "x.tif")

    assert list(load_image(tmp_path / "x.tif", 1, value_range=(0, 10)).tobytes()) == [0, 128, 255, 0, 0]


@pytest.mark.parametrize(
    ("values", "greys"),
    [([0, 200], [0, 200]), ([0, 300], [0, 1]), ([0, 1.0], [0, 255]), ([0, 1.5], [0, 2])],
    ids=["8 bits", "16 bits", "to 1", "to 255"],
)
def test_runs_of_version_0_1_find_their_pictures_scaled_one_by_one(tmp_path, values, greys):
    dtype = np.int32 if isinstance(values[1], int) else np.float32
    Image.fromarray(np.array([values], dtype=dtype)).save(tmp_path / "x.tif")

    assert list(load_image(tmp_path / "x.tif", 1, value_range="each").tobytes()) == greys


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "LA", "RGBA", "P"])
@pytest.mark.parametrize("shape", [(40, 30), (1, 1200)])
def test_a_large_picture_is_converted_part_by_part_to_the_same_pixels(monkeypatch, mode, shape):
    noise = np.random.default_rng(0)
    if mode in ("I;16", "I", "F"):
        dtype = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        picture = Image.fromarray(noise.integers(0, 1000, shape).astype(dtype))
    else:
        rgba = Image.fromarray(noise.integers(0, 256, (*shape, 4), dtype=np.uint8))
        picture = rgba.quantize(16) if mode == "P" else rgba.convert(mode)
    whole = decoding.to_mode(picture, 3, (0, 1000))
    monkeypatch.setattr("dlworkflow.data.images.modes._TILE", 64)

    assert decoding.to_mode(picture, 3, (0, 1000)).tobytes() == whole.tobytes()


def test_threads_decode_no_more_at_once_than_there_is_room_for(tmp_path, paint, monkeypatch):
    paths = [paint(tmp_path / f"{number}.png", size=(100, 100)) for number in range(8)]
    monkeypatch.setattr(decoding, "BYTES_AT_ONCE", 3 * 8 * 101 * 100)
    most = []

    def look(path):
        with decoding.opened(path):
            most.append(decoding._in_use)
            time.sleep(0.01)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, paths))

    assert (max(most) <= 3 * 8 * 101 * 100, decoding._in_use) == (True, 0)


def test_a_picture_larger_than_the_room_is_decoded_alone(tmp_path, paint, monkeypatch):
    monkeypatch.setattr(decoding, "BYTES_AT_ONCE", 1)

    assert load_image(paint(tmp_path / "x.png")).size == (9, 7)


def test_a_picture_that_takes_too_much_memory_while_it_is_resized_is_named(two_files, monkeypatch):
    monkeypatch.setattr(Image.Image, "resize", lambda *_: (_ for _ in ()).throw(MemoryError()))

    with pytest.raises(images.ImageError, match=r"a\.png': needs more memory than there is"):
        Pipeline((8, 8)).read(two_files[0], 3)


def test_a_picture_is_shrunk_to_the_longest_side_asked_for(tmp_path, paint):
    assert load_image(paint(tmp_path / "x.jpg", size=(90, 60)), longest=30).size == (30, 20)


def test_two_channels_are_refused():
    with pytest.raises(DataError, match=r"images have 1 channel \(grey\) or 3 \(RGB\), not 2"):
        decoding.to_mode(Image.new("L", (1, 1)), 2)


@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_is_turned_the_way_up_that_its_exif_says(orientation, tmp_path, paint):
    upright = Image.open(paint(tmp_path / "upright.png"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.transpose(TURNS[orientation]).save(tmp_path / "laid.png", exif=exif)

    assert torch.equal(to_uint8(load_image(tmp_path / "laid.png")), to_uint8(upright))


def test_a_turned_photo_has_its_sides_exchanged(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "x.jpg", exif=exif)

    assert load_image(tmp_path / "x.jpg").size == (4, 8)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(images.ImageError, match=r"none\.png': no such file"):
        load_image(tmp_path / "none.png")


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "x.png").touch()

    with pytest.raises(images.ImageError, match=r"x\.png': is empty \(0 bytes\)"):
        load_image(tmp_path / "x.png")


def test_a_folder_is_named(tmp_path):
    (tmp_path / "x.png").mkdir()

    with pytest.raises(images.ImageError, match=r"x\.png': is a folder"):
        load_image(tmp_path / "x.png")


def test_a_text_is_named(tmp_path):
    (tmp_path / "x.png").write_text("no image")

    with pytest.raises(images.ImageError, match=r"x\.png': is no image in a format that is known here"):
        load_image(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif", "webp", "ppm"])
def test_a_picture_cut_short_is_named(kind, tmp_path, paint):
    whole = paint(tmp_path / f"x.{kind}", size=(30, 30)).read_bytes()
    (tmp_path / f"x.{kind}").write_bytes(whole[: len(whole) * 2 // 3])

    with pytest.raises(images.ImageError, match=rf"x\.{kind}': "):
        load_image(tmp_path / f"x.{kind}")


def test_a_pipe_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.png")

    with pytest.raises(images.ImageError, match=r"x\.png': is a pipe or a device, not a file"):
        load_image(tmp_path / "x.png")


def test_any_error_of_a_decoder_is_an_unreadable_picture(tmp_path, monkeypatch, paint):
    paint(tmp_path / "x.ppm")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: struct.unpack(">H", b""))

    with pytest.raises(images.ImageError, match=r"x\.ppm': cannot be decoded \(unpack requires"):
        load_image(tmp_path / "x.ppm")


TOO_LARGE = r"x\.png': has 63 pixels, above the limit of {}; set DLW_MAX_PIXELS=63 if you trust it$"


@pytest.mark.parametrize("limit", [62, 32, 31, 1], ids=["just above", "less than twice", "twice", "far above"])
def test_a_picture_above_the_limit_is_refused_with_size_limit_and_way_out(limit, tmp_path, paint):
    with pytest.raises(images.ImageError, match=TOO_LARGE.format(limit)):
        load_image(paint(tmp_path / "x.png"), max_pixels=limit)


def test_a_picture_at_the_limit_is_read(tmp_path, paint):
    assert load_image(paint(tmp_path / "x.png"), max_pixels=63).size == (9, 7)


def test_the_limit_is_set_by_the_environment(tmp_path, paint, monkeypatch):
    monkeypatch.setenv("DLW_MAX_PIXELS", "62")

    with pytest.raises(images.ImageError, match=TOO_LARGE.format(62)):
        load_image(paint(tmp_path / "x.png"))


def test_the_limit_may_be_above_pillows_own(tmp_path, paint, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    assert load_image(paint(tmp_path / "x.png")).size == (9, 7)


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "1e9"])
def test_a_limit_that_is_no_number_of_pixels_is_refused(text, tmp_path, paint, monkeypatch):
    monkeypatch.setenv("DLW_MAX_PIXELS", text)

    with pytest.raises(
        ConfigError, match=f"DLW_MAX_PIXELS: must be a whole number of pixels, at least 1, not '{text}'"
    ):
        load_image(paint(tmp_path / "x.png"))


def test_the_limit_of_other_code_is_left_as_it_was(tmp_path, paint, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1234)
    load_image(paint(tmp_path / "x.png"))
    with pytest.raises(images.ImageError):
        load_image(tmp_path / "x.png", max_pixels=1)

    assert Image.MAX_IMAGE_PIXELS == 1234


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    data = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + data)

    with pytest.raises(
        images.ImageError, match="has 3,600,000,000 pixels, above the limit of 89,478,485; set DLW_MAX_"
    ):
        load_image(tmp_path / "x.png")


def test_an_unreadable_picture_says_path_and_reason(tmp_path):
    with pytest.raises(images.ImageError) as caught:
        load_image(tmp_path / "none.png")

    assert (caught.value.path, caught.value.reason) == (tmp_path / "none.png", "no such file")


def test_reading_a_picture_changes_nothing(tmp_path, paint, state_of):
    paint(tmp_path / "x.jpg")
    before = state_of(tmp_path)
    load_image(tmp_path / "x.jpg")

    assert state_of(tmp_path) == before


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_come_back_from_a_picture(channels):
    pixels = torch.arange(channels * 6, dtype=torch.uint8).view(channels, 2, 3)

    assert torch.equal(to_uint8(to_pil(pixels)), pixels)


def test_samples_and_batches_are_the_same(two_files):
    data = as_data(two_files, Pipeline((8, 8)))

    assert torch.equal(torch.stack([data[0][0], data[1][0]]), data.batch([0, 1])[0])


def test_a_sample_is_floats_and_a_plain_label(two_files):
    X, y = as_data(two_files, Pipeline((8, 6)))[1]

    assert (X.shape, X.dtype, y, type(y)) == ((3, 8, 6), torch.float32, 1, int)


def test_a_batch_keeps_the_order_asked_for(two_files):
    assert as_data(two_files, Pipeline((8, 8))).batch([1, 0, 1])[1].tolist() == [1, 0, 1]


def test_a_sample_is_what_torchvision_makes_of_the_file(two_files):
    way = transforms.Compose([transforms.Resize((8, 6)), transforms.ToTensor()])

    assert torch.equal(as_data(two_files, Pipeline((8, 6)))[1][0], way(Image.open(two_files[1])))


def test_samples_can_be_counted_from_the_end(two_files):
    assert as_data(two_files, Pipeline((8, 8)))[-1][1] == 1


def test_iterating_over_samples_ends(two_files):
    assert [y for _, y in islice(as_data(two_files, Pipeline((8, 8))), 5)] == [0, 1]


def test_remembered_pictures_need_no_file(two_files):
    data = as_data(two_files, Pipeline((8, 8)))
    data.remember()
    for path in two_files:
        path.unlink()

    assert len(data.batch([0, 1])[0]) == 2


def test_pictures_over_the_memory_budget_are_the_same(two_files, monkeypatch):
    kept, read = (as_data(two_files, Pipeline((8, 8))) for _ in range(2))
    kept.remember()
    monkeypatch.setenv("DLW_CACHE", "0")
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 8 * 8 * 3 * 2 - 1)
    read.remember()

    assert torch.equal(read.batch([1, 0])[0], kept.batch([1, 0])[0])


def test_pictures_over_the_memory_budget_are_not_kept(two_files, monkeypatch):
    monkeypatch.setattr(remembered, "DECODED_MEMORY_BUDGET", 8 * 8 * 3 * 2 - 1)
    monkeypatch.setenv("DLW_CACHE", "0")
    data = as_data(two_files, Pipeline((8, 8)))
    data.remember()
    two_files[0].unlink()

    with pytest.raises(DataError, match=r"a\.png': no such file"):
        data.batch([0])


def test_remembering_names_the_images_that_cannot_be_read(two_files):
    two_files[1].write_text("no image")

    with pytest.raises(DataError, match=r"1 of 2 images cannot be read: '.*b\.png': is no image"):
        as_data(two_files, Pipeline((8, 8))).remember()


def test_many_unreadable_pictures_are_counted_and_ten_named():
    data = as_data([Path(f"none{number}.png") for number in range(12)], Pipeline((8, 8)))

    with pytest.raises(DataError, match=r"12 of 12 images cannot be read: 'none0\.png'.*'none9\.png'.*; and 2 more$"):
        data.remember()


def test_without_augmentation_leaves_the_random_part_out(two_files):
    plain = as_data(two_files, parse("trivial_augment", image_size=8)).without_augmentation()
    before = torch.random.get_rng_state()
    plain.batch([0, 1])

    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_fingerprint_changes_with_one_pixel():
    pictures = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    before = ImageData(pictures, torch.zeros(2), Pipeline((2, 2))).fingerprint()
    pictures[1, 0, 1, 1] = 1

    assert ImageData(pictures, torch.zeros(2), Pipeline((2, 2))).fingerprint() != before


def test_a_fingerprint_of_files_changes_when_one_is_written_anew(two_files, paint):
    before = as_data(two_files, Pipeline((8, 8))).fingerprint()
    paint(two_files[1], seed=2, size=(9, 30))

    assert as_data(two_files, Pipeline((8, 8))).fingerprint() != before


def test_a_fingerprint_of_files_changes_with_one_bit_of_one(two_files):
    before = as_data(two_files, Pipeline((8, 8))).fingerprint()
    content = bytearray(two_files[1].read_bytes())
    content[-1] ^= 1
    two_files[1].write_bytes(content)

    assert as_data(two_files, Pipeline((8, 8))).fingerprint() != before


def test_a_fingerprint_of_files_changes_when_two_change_places(two_files):
    before = as_data(two_files, Pipeline((8, 8))).fingerprint()
    contents = [path.read_bytes() for path in two_files]
    for path, content in zip(two_files, reversed(contents), strict=True):
        path.write_bytes(content)

    assert as_data(two_files, Pipeline((8, 8))).fingerprint() != before


def test_a_fingerprint_is_the_same_decoded_remembered_and_read_for_it(two_files, monkeypatch, tmp_path):
    monkeypatch.setenv("DLW_CACHE_DIR", str(tmp_path / "cache"))
    decoded, again, asked, read = (as_data(two_files, Pipeline((8, 8))) for _ in range(4))
    decoded.remember()
    again.remember()
    asked.batch([1, 0])

    assert (decoded.fingerprint_known, again.fingerprint_known, asked.fingerprint_known) == (True, True, True)
    assert not read.fingerprint_known
    assert len({data.fingerprint() for data in (decoded, again, asked, read)}) == 1


def test_a_fingerprint_does_not_depend_on_the_size_that_pictures_are_brought_to(two_files):
    small, large = as_data(two_files, Pipeline((4, 4))), as_data(two_files, Pipeline((8, 8)))
    small.remember()
    large.remember()

    assert small.fingerprint() == large.fingerprint()


def test_a_fingerprint_of_files_does_not_depend_on_where_they_lie(tmp_path, paint):
    first, second = ([paint(tmp_path / place / "cat" / "a.png")] for place in ("here", "there"))

    assert as_data(first, Pipeline((8, 8))).fingerprint() == as_data(second, Pipeline((8, 8))).fingerprint()


def test_pictures_in_memory_of_the_right_size_are_left_as_they_are():
    pictures = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)

    assert resize_all(pictures, Pipeline((4, 4))) is pictures


@pytest.mark.parametrize("p", [0.5, 0.9, 0.0, 1.0])
def test_a_batch_is_flipped_as_torchvision_flips_one_picture_after_the_other(p):
    pictures = torch.randint(0, 256, (50, 3, 5, 4), dtype=torch.uint8)
    data = ImageData(pictures, torch.zeros(50, dtype=torch.int64), parse([{"flip": {"p": p}}], image_size=[5, 4]))
    flip = transforms.RandomHorizontalFlip(p)

    torch.manual_seed(3)
    X, _ = data.batch(range(50))
    after = torch.rand(1)

    torch.manual_seed(3)
    assert torch.equal(X, torch.stack([flip(picture) for picture in pictures]) / 255)
    assert torch.equal(after, torch.rand(1))
