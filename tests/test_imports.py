"""What a command imports is what its user waits for: training and predicting load nothing that they do not use."""

import json
import subprocess
import sys

import pytest
from PIL import Image

WATCHED = (
    *("torchvision", "sklearn", "scipy", "matplotlib", "matplotlib.pyplot", "torchmetrics", "pandas", "rich", "optuna"),
    "distributed",
    "torch._dynamo",
)
SETTINGS = (
    *("epochs=3", "schedule=one_cycle", "ema=0.9", "clip_norm=1", "clip_value=1", "mixup=0.2", "precision=fp16"),
    *("loss_weights=balanced", "label_smoothing=0.1", "early_stopping.patience=2", "accumulate=2"),
    "data={sampler: balanced, shuffle: true, batch_size: 50, val_fraction: 0.2}",
)
COMMANDS = {  # in this order, in one process: what a later one loads is not held against an earlier one
    "print": ["train", "circles_v2", "--print-config"],
    "line": ["train", "line", "--epochs", "2"],
    "scheduled": ["train", "line", "--epochs", "3", "--schedule", "cosine", "--set", "schedule.warmup_epochs=1"],
    "images": ["train", "tinyvgg", "--data", "pets", "--recipe", "notes", "--epochs", "1"],
    "digits": ["train", "tinyvgg", "--data", "digits", "--epochs", "1", "--val-fraction", "0.2"],
    "predict": ["predict", "pets/test"],
    "blobs": ["train", "blobs", "--epochs", "1"],
    "settings": ["train", "circles_v2", *(word for pair in SETTINGS for word in ("--set", pair))],
    "augmented": ["train", "tinyvgg", "--data", "pets", "--epochs", "1", "--set", "data.transform=trivial_augment"],
}
CODE = f"""
import json, sys
from dlworkflow.cli.app import main
loaded = {{}}

def note(step):
    loaded[step] = [name for name in {WATCHED} if name in sys.modules]

def run(step, arguments):
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code, (step, end.code)
    note(step)

import torch
from dlworkflow.engine.optimizers import OPTIMIZERS, build_optimizer
model = torch.nn.Linear(1, 1)
for name in OPTIMIZERS.table:
    optimizer = build_optimizer(name, model.parameters(), lr=0.1)
    optimizer.zero_grad()
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
note("optimizers")
for step, arguments in {COMMANDS}.items():
    run(step, arguments)
import dlworkflow
dlworkflow.plot_predictions([0], [1], [2], [3])
note("figure")
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """What is loaded after each of the commands, one after the other in a fresh process."""
    folder = tmp_path_factory.mktemp("imports")
    for index, part in enumerate(("train/cat", "train/dog", "test/cat", "test/dog")):
        (folder / "pets" / part).mkdir(parents=True)
        for number in range(3):
            Image.effect_noise((9, 7), 50 + 9 * index).save(folder / "pets" / part / f"{number}.png")
    answer = subprocess.run([sys.executable, "-c", CODE], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def test_printing_settings_loads_no_package_of_their_data(loaded):
    assert loaded["print"] == []


def test_training_on_a_line_loads_torch_alone(loaded):
    assert loaded["line"] == []


@pytest.mark.parametrize("step", ["optimizers", "scheduled", "settings"])
def test_no_optimizer_schedule_or_setting_loads_torchs_compiler(step, loaded):
    assert "torch._dynamo" not in loaded[step]


def test_training_on_images_and_predicting_them_loads_torch_and_pillow_alone(loaded):
    assert (loaded["images"], loaded["predict"]) == ([], [])


def test_digits_and_their_splits_are_read_without_scikit_learn(loaded):
    assert loaded["digits"] == []


def test_data_of_scikit_learns_loads_it_and_no_figures(loaded):
    assert "sklearn" in loaded["blobs"]
    assert not {"matplotlib", "torchvision", "torchmetrics", "torch._dynamo"} & set(loaded["blobs"])


def test_an_augmentation_of_torchvisions_loads_it(loaded):
    assert "torchvision" in loaded["augmented"]


def test_a_figure_of_a_script_that_imports_no_pyplot_loads_none(loaded):
    assert "matplotlib" in loaded["figure"]
    assert "matplotlib.pyplot" not in loaded["figure"]


PACKAGES_THAT_DRAW = """
import sys, torch
from dlworkflow.analysis.explanation.methods import METHODS
from dlworkflow.metrics.functions import roc_auc
model, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)), torch.ones(1, 1, 4, 4)
METHODS["occlusion"](model, x, 0 * x, [0])
roc_auc(torch.tensor([0, 1]), torch.eye(2))
print("captum" in sys.modules, "torchmetrics" in sys.modules, "matplotlib.pyplot" in sys.modules)
from matplotlib import pyplot
print("matplotlib.pyplot" in sys.modules)
"""


@pytest.mark.slow
def test_packages_that_load_pyplot_leave_the_decision_on_the_courses_figures_to_the_script():
    found = subprocess.run(
        [sys.executable, "-c", PACKAGES_THAT_DRAW], capture_output=True, text=True, check=True
    ).stdout

    assert found.splitlines() == ["True True False", "True"]


def test_a_notebook_completes_every_public_name_before_it_is_used():
    code = "import dlworkflow as d; print(set(d.__all__) <= set(dir(d)))"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found.strip() == "True"


IMPORTED = """
import gc
from dlworkflow.cli.imports import import_torch
searches = []
gc.callbacks.append(lambda phase, info: searches.append(phase))
import_torch()
print(len(searches), gc.isenabled(), gc.get_freeze_count() > 0)
"""


@pytest.mark.slow
def test_torch_is_imported_without_a_search_for_garbage():
    found = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True).stdout

    assert found.split() == ["0", "True", "True"]
