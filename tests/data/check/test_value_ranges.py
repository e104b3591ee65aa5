import json

import numpy as np
import pytest
import torch
from PIL import Image

from dlworkflow.data.check.folder import check_folder
from dlworkflow.data.datasets.image_csv import load_image_csv
from dlworkflow.data.datasets.image_folder import load_image_folder
from dlworkflow.data.datasets.labelled import load_labelled
from dlworkflow.data.loaders import create_dataloaders
from dlworkflow.errors import ConfigError, DataError


@pytest.fixture
def deep(tmp_path):
    """Write a folder of two classes, `dark` and `bright`, of images of one value each; {class: values} a split."""

    def write(splits, dtype, kind="tif"):
        for split, classes in splits.items():
            for name, values in classes.items():
                folder = tmp_path / "deep" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                for number, value in enumerate(values):
                    Image.fromarray(np.full((8, 8), value, dtype=dtype)).save(folder / f"{number}.{kind}")
        return tmp_path / "deep"

    return write


def greys(part):
    """Return the value of each image of one value, as bytes."""
    return [int(part.images[torch.tensor([index])].float().mean()) for index in range(len(part))]


@pytest.mark.parametrize(
    ("dark", "bright", "dtype", "kind"),
    [
        (200, 300, np.int32, "tif"),
        (1.0, 1.5, np.float32, "tif"),
        (-1000, 3000, np.int32, "tif"),
        (0, 4095, np.uint16, "tif"),
        (0, 4095, np.uint16, "png"),
        (200, 300, np.uint16, "png"),
    ],
)
def test_images_that_differ_in_brightness_alone_stay_apart(deep, dark, bright, dtype, kind):
    classes = {"dark": [dark] * 2, "bright": [bright] * 2}

    splits = load_image_folder(
        path=str(deep({"train": classes, "test": classes}, dtype, kind)), image_size=4, channels=1
    )

    assert splits.transform.value_range == (dark, bright)
    assert [greys(part) for part in (splits.train, splits.test)] == [[255, 255, 0, 0]] * 2


def test_12_bits_in_16_keep_their_levels(deep):
    values = list(range(0, 4096, 16))
    root = deep({"train": {"dark": [*values, 4095], "bright": values}, "test": {"dark": [0], "bright": [9]}}, np.uint16)

    assert len(set(greys(load_image_folder(path=str(root), image_size=4, channels=1).train))) == 256


def test_the_range_is_that_of_the_training_images_and_others_are_clipped_and_counted(deep):
    train = {"dark": [100, 110], "bright": [190, 200]}
    root = deep({"train": train, "test": {"dark": [50, 100], "bright": [900, 200]}}, np.uint16)

    splits = load_image_folder(path=str(root), image_size=4, channels=1)

    assert greys(splits.test) == [255, 255, 0, 0]
    assert splits.notes == (
        "8 image(s) hold more than 8 bits: values from 100 to 200 become 0 to 255",
        "2 test image(s) hold values from 50 to 900; what is outside 100 to 200 is clipped (data.range sets another "
        "range)",
    )


def test_levels_that_are_lost_are_told(deep):
    classes = {"dark": [0, 1], "bright": [65535, 9]}

    notes = load_image_folder(path=str(deep({"train": classes, "test": classes}, np.uint16)), image_size=4).notes

    assert notes == (
        "8 image(s) hold more than 8 bits: values from 0 to 65535 become 0 to 255, about 257 values to a level",
    )


def test_a_range_that_is_given_is_taken(deep):
    classes = {"dark": [0, 1], "bright": [4, 9]}
    root = deep({"train": classes, "test": classes}, np.uint16)

    splits = load_image_folder(path=str(root), image_size=4, channels=1, range=[1, 6])

    assert (splits.transform.value_range, greys(splits.train)) == ((1, 6), [153, 255, 0, 0])
    assert splits.notes[1].startswith("2 train image(s) hold values from 0 to 9; what is outside 1 to 6 is clipped")


def test_images_of_8_bits_have_no_range_and_none_is_read_for_it(pets, monkeypatch):
    monkeypatch.setattr("dlworkflow.data.check.value_ranges.examine", None)

    splits = load_image_folder(path=str(pets))

    assert (splits.transform.value_range, splits.notes) == (None, ())


def test_images_of_8_bits_among_deep_ones_stay_as_they_are(deep, paint):
    classes = {"dark": [100, 110], "bright": [190, 200]}
    root = deep({"train": classes, "test": classes}, np.uint16)
    Image.new("L", (8, 8), 77).save(root / "train" / "dark" / "9.png")

    assert greys(load_image_folder(path=str(root), image_size=4, channels=1).train)[-1] == 77


def test_a_csv_of_deep_images_has_a_range_too(deep, tmp_path):
    classes = {"dark": [10, 20], "bright": [30, 40]}
    root = deep({"train": classes, "test": classes}, np.uint16)
    rows = [f"{path.relative_to(root)},{path.parent.name},{path.parts[-3]}" for path in root.rglob("*.tif")]
    (root / "all.csv").write_text("\n".join(["path,label,split", *rows]))

    assert load_image_csv(path=str(root / "all.csv"), image_size=4).transform.value_range == (10, 40)


def test_images_are_scored_by_the_range_of_the_run(deep):
    train = {"dark": [0, 0], "bright": [100, 100]}
    root = deep({"train": train, "test": {"dark": [40], "bright": [100]}}, np.uint16)
    pipeline = load_image_folder(path=str(root), image_size=4, channels=1).transform

    assert greys(load_labelled(str(root), ["bright", "dark"], pipeline, 1).images) == [255, 102]


def test_shards_carry_the_range_of_the_images_they_were_written_from(deep, tmp_path):
    pytest.importorskip("webdataset")
    from dlworkflow.data.shards.index import INDEX_NAME
    from dlworkflow.data.shards.loading import load_shards
    from dlworkflow.data.shards.writing import write_shards

    classes = {"dark": [10, 20], "bright": [30, 40]}
    write_shards(load_image_folder(path=str(deep({"train": classes, "test": classes}, np.uint16))), tmp_path / "shards")

    assert load_shards(path=str(tmp_path / "shards")).transform.value_range == (10, 40)

    index = json.loads((tmp_path / "shards" / INDEX_NAME).read_text())
    del index["range"]
    (tmp_path / "shards" / INDEX_NAME).write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"data\.range: .*holds more than 8 bits \(mode I;16\).* give data\.range="):
        load_shards(path=str(tmp_path / "shards"))
    assert load_shards(path=str(tmp_path / "shards"), range=[0, 50]).transform.value_range == (0, 50)


def test_a_check_tells_range_and_clipping_and_finds_no_fault_in_brightness(deep):
    root = deep(
        {"train": {"dark": [0.0, 0.1], "bright": [1.5, 1.4]}, "test": {"dark": [-1.0], "bright": [1.3]}}, np.float32
    )

    report = check_folder(root)

    assert report.faults == ()
    assert [remark.text for remark in report.remarks if remark.kind == "range"] == [
        "6 image(s) hold more than 8 bits: values from 0 to 1.5 become 0 to 255",
        "1 test image(s) hold values from -1 to -1; what is outside 0 to 1.5 is clipped "
        "(data.range sets another range)",
    ]


def test_dataloaders_of_two_folders_take_a_range(deep):
    root = deep({"train": {"dark": [0], "bright": [100]}, "test": {"dark": [25], "bright": [75]}}, np.uint16)

    _, loader, _ = create_dataloaders(root / "train", root / "test", range=[0, 100])

    [(X, y)] = loader
    assert [(round(255 * float(x.mean())), int(label)) for x, label in zip(X, y, strict=True)] == [(191, 0), (64, 1)]


def test_dataloaders_refuse_a_range_that_is_none(deep):
    root = deep({"train": {"dark": [0], "bright": [100]}, "test": {"dark": [25], "bright": [75]}}, np.uint16)

    with pytest.raises(ConfigError, match=r"data\.range: must be \[low, high\]"):
        create_dataloaders(root / "train", root / "test", range=[100, 0])
