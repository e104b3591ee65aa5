"""`dlw summary MODEL --run RUN`: the layers of a run's model, and with `--trace IMAGE` its feature maps."""

import json

import pytest
import torch

from dlworkflow import plotting


@pytest.mark.usefixtures("on_cpu")
def test_a_traced_picture_goes_the_runs_own_way_and_ends_in_its_answer(dlw, in_tmp, pets, monkeypatch):
    seen = []
    figure = plotting.plot_feature_maps
    monkeypatch.setattr(plotting, "plot_feature_maps", lambda maps: seen.extend(maps) or figure(maps))
    steps = "[{resize: {shorter: 40}}, {center_crop: {size: 32}}, normalize]"
    options = ["--epochs", "1", "--set", "data.image_size=32", "--set", f"data.transform={steps}"]
    assert dlw("train", "tinyvgg", "--data", pets, *options).code == 0
    picture = pets / "test" / "cat" / "0.png"

    traced = dlw("summary", "tinyvgg", "--run", "last", "--trace", picture)
    [said] = json.loads(dlw("predict", picture, "--format", "json").out)

    probabilities = torch.as_tensor(seen[-1][1]).softmax(0)
    assert float(probabilities.max()) == pytest.approx(said["probability"], abs=1e-6)
    assert f"answer: {said['label']}, probability {said['probability']:.3f}" in traced.out


def test_a_summary_of_a_run_has_the_settings_of_its_model(dlw, in_tmp):
    assert dlw("train", "circles_v0", "--epochs", "1", "--set", "model.hidden_units=8").code == 0

    assert "Total params: 33\n" in dlw("summary", "circles_v0", "--run", "last").out
