"""Images of more than 8 bits from training to prediction, by one range of values that the run keeps."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def scans(in_tmp):
    """A folder of 12-bit scans of two classes, which differ in brightness, as 16-bit files."""
    random = np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 3)):
        for name, middle in (("dark", 1000), ("bright", 1400)):
            folder = in_tmp / "scans" / split / name
            folder.mkdir(parents=True)
            for number in range(n):
                pixels = random.normal(middle, 50, (8, 8)).clip(0, 4095).astype(np.uint16)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return in_tmp / "scans"


def trained(dlw, scans, *more):
    options = ["--recipe", "notes", "--set", "data.image_size=8", "--set", "data.channels=1", "--lr", "0.01", *more]
    return dlw("train", "tinyvgg", "--data", scans, "--epochs", "2", *options)


def test_a_run_keeps_the_range_of_its_training_images_and_predicts_and_scores_by_it(dlw, scans, in_tmp):
    answer = trained(dlw, scans)
    [run] = (in_tmp / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())

    assert "hold more than 8 bits: values from" in answer.err
    low, high = summary["config"]["data"]["range"]
    assert 700 < low < 1000 < 1400 < high < 1700
    assert summary["transform"][0] == {"range": {"low": low, "high": high}}

    said = json.loads(dlw("predict", "scans/test", "--format", "json").out)
    assert dlw("evaluate", "--data", "scans", "--no-plots").code == 0
    [scored] = [json.loads(file.read_text()) for file in run.glob("evaluation-*.json")]
    right = sum(row["input"].split("/")[-2] == row["label"] for row in said)
    assert scored["metrics"]["accuracy"] == pytest.approx(right / 6)


def test_a_range_is_set_as_any_setting(dlw, scans, in_tmp):
    assert trained(dlw, scans, "--set", "data.range=[0, 4095]").code == 0
    [run] = (in_tmp / "runs").iterdir()

    assert json.loads((run / "summary.json").read_text())["transform"][0] == {"range": {"low": 0, "high": 4095}}


@pytest.mark.parametrize("given", ["[1]", "[2, 1]", "5", "low", "[a, b]"])
def test_a_range_that_is_none_is_refused_by_name(dlw, scans, given):
    answer = trained(dlw, scans, "--set", f"data.range={given}")

    assert (answer.code, "data.range: " in answer.err) == (2, True)


def test_a_run_resumes_with_its_own_range_though_a_training_image_is_brighter_now(dlw, scans, in_tmp):
    trained(dlw, scans)
    [run] = (in_tmp / "runs").iterdir()
    before = json.loads((run / "summary.json").read_text())["transform"]
    Image.fromarray(np.full((8, 8), 60000, np.uint16)).save(scans / "train" / "bright" / "0.png")

    assert dlw("train", "--resume", "last", "--epochs", "3", "--force").code == 0
    assert json.loads((run / "summary.json").read_text())["config"]["data"]["range"] == [*before[0]["range"].values()]


def test_a_run_of_version_0_1_scales_images_one_by_one_as_it_was_trained(dlw, scans, in_tmp):
    from dlworkflow.inference.predictor import Predictor

    trained(dlw, scans)
    [run] = (in_tmp / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    del summary["config"]["data"]["range"], summary["transform"][0]
    (run / "summary.json").write_text(json.dumps(summary))

    assert Predictor.from_run(run).transform.value_range == "each"
    for command in (
        ["evaluate", "--no-plots"],
        ["predict", "scans/test"],
        ["train", "--resume", "last", "--epochs", "3"],
    ):
        assert dlw(*command).code == 0


def test_an_image_of_unknown_range_is_a_row_with_the_reason(dlw, pets, in_tmp):
    assert dlw("train", "tinyvgg", "--data", pets, "--epochs", "1", "--set", "data.image_size=8").code == 0
    Image.fromarray(np.full((9, 9), 1.5, np.float32)).save(pets / "test" / "cat" / "f.tif")

    answer = dlw("predict", pets / "test" / "cat", "--format", "json")

    rows = {row["input"].split("/")[-1]: row for row in json.loads(answer.out)}
    assert (answer.code, len(rows)) == (1, 3)
    assert "its values go from 1.5 to 1.5, and which of them are black and white is not known" in rows["f.tif"]["error"]
