"""What a command imports is what its user waits for: training and predicting load nothing that they do not use."""

import json
import subprocess
import sys

WATCHED = ("torchvision", "sklearn", "scipy", "matplotlib", "torchmetrics", "pandas", "rich", "torch._dynamo", "optuna")
CODE = f"""
import json, sys
from dlworkflow.cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps([name for name in {WATCHED} if name in sys.modules]))
"""


def imported(folder, *arguments):
    answer = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout.splitlines()[-1])


def test_training_on_a_line_loads_torch_alone(in_tmp):
    assert imported(in_tmp, "train", "line", "--epochs", "2") == []


def test_training_on_images_and_predicting_them_loads_torch_and_pillow_alone(in_tmp, pets):
    train = imported(in_tmp, "train", "tinyvgg", "--data", str(pets), "--epochs", "1")
    predict = imported(in_tmp, "predict", str(pets / "test"))

    assert (train, predict) == ([], [])


def test_an_augmentation_of_torchvisions_loads_it_and_no_more(in_tmp, pets):
    options = ("--epochs", "1", "--set", "data.transform=trivial_augment")

    assert "torchvision" in imported(in_tmp, "train", "tinyvgg", "--data", str(pets), *options)


def test_data_of_scikit_learns_loads_it_and_no_figures(in_tmp):
    found = imported(in_tmp, "train", "blobs", "--epochs", "1")

    assert "sklearn" in found
    assert not {"matplotlib", "torchvision", "torchmetrics", "torch._dynamo"} & set(found)


def test_a_notebook_completes_every_public_name_before_it_is_used():
    code = "import dlworkflow as d; print(set(d.__all__) <= set(dir(d)))"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found.strip() == "True"
