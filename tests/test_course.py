"""The notes' helper functions, called as the notes call them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dlworkflow.course import eval_model, make_predictions, print_train_time, walk_through_dir


def test_eval_model_answers_with_the_notes_keys_in_percent_by_batch():
    class Always(nn.Module):
        def forward(self, x):
            return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)

    batches = [
        (torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)),
        (torch.zeros(1, 1), torch.ones(1, dtype=torch.long)),
    ]

    found = eval_model(model=Always(), data_loader=batches, loss_fn=nn.CrossEntropyLoss())

    assert list(found) == ["model_name", "model_loss", "model_acc"]
    assert (found["model_name"], found["model_acc"]) == ("Always", 50.0)


def test_make_predictions_gives_a_row_of_probabilities_a_sample():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    samples = [torch.rand(1, 2, 2) for _ in range(5)]

    found = make_predictions(model=model, data=samples)

    assert found.shape == (5, 3)
    assert torch.allclose(found.sum(dim=1), torch.ones(5))


def test_print_train_time_prints_and_returns_the_seconds(capsys):
    assert print_train_time(1.0, 3.5, "cpu") == 2.5
    assert capsys.readouterr().out == "Train time on cpu: 2.500 seconds\n"


def test_walk_through_dir_counts_every_folder(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").touch()

    walk_through_dir(tmp_path)

    assert capsys.readouterr().out.splitlines() == [
        f"There are 1 directories and 0 images in '{tmp_path}'.",
        f"There are 0 directories and 1 images in '{tmp_path}/a'.",
    ]


def test_the_notes_import_lines_find_everything():
    import dlworkflow

    for name in (
        "train_step",
        "test_step",
        "train",
        "eval_model",
        "accuracy_fn",
        "find_classes",
        "save_model",
        "set_seeds",
    ):
        assert callable(getattr(dlworkflow, name)), name


def test_predicting_nothing_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        make_predictions(nn.Linear(1, 2), [])
