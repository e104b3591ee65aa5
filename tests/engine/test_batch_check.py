"""Each way a batch can be wrong is named: which error it is, what was expected, what came, what mends it."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import dlworkflow
from dlworkflow.engine.batch_check import check_batch, explained_errors
from dlworkflow.engine.tasks import MULTICLASS, REGRESSION
from dlworkflow.errors import BatchError, DlwError
from dlworkflow.models.circles import CircleModelV2
from dlworkflow.models.fashion_mnist import FashionMNISTModelV0
from dlworkflow.models.linear import LinearRegressionModel, LinearRegressionModelV2
from dlworkflow.models.tiny_vgg import TinyVGG

CROSS_ENTROPY, BCE, L1 = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss(), nn.L1Loss()


def vgg(channels=3, padding=1):
    return TinyVGG(channels, 2, 3, image_size=(16, 16), padding=padding)


def grey_flat():
    return FashionMNISTModelV0(784, 4, 3)


def images(*shape, dtype=torch.float32):
    return torch.zeros(*shape, dtype=dtype)


def fault(*arguments, **options):
    with pytest.raises(BatchError) as caught:
        check_batch(*arguments, **options)
    return caught.value


def parts(error):
    return error.kind, error.expected, error.got, error.fix


# Inputs


@pytest.mark.parametrize(
    ("dtype", "fix"),
    [
        (torch.uint8, "images.float() / 255"),
        (torch.float64, "X.to(torch.float32)"),
        (torch.int64, "X.to(torch.float32)"),
    ],
    ids=str,
)
def test_images_of_another_type_than_the_weights(dtype, fix):
    name = str(dtype).removeprefix("torch.")

    assert parts(fault(vgg(), images(2, 3, 16, 16, dtype=dtype))) == (
        "wrong dtype",
        "X of float32, as the model's weights are",
        name,
        fix,
    )


def test_float64_from_numpy_into_a_model_of_points():
    X = torch.from_numpy(np.zeros((5, 2)))

    assert parts(fault(CircleModelV2(), X)) == (
        "wrong dtype",
        "X of float32, as the model's weights are",
        "float64",
        "X.to(torch.float32)",
    )


def test_float64_into_a_model_that_would_answer_in_float64():
    assert fault(LinearRegressionModel(), images(5, 1, dtype=torch.float64)).fix == "X.to(torch.float32)"


def test_float32_into_a_model_of_float64():
    assert fault(CircleModelV2().double(), images(5, 2)).fix == "X.to(torch.float64)"


def test_an_array_is_no_tensor():
    error = fault(CircleModelV2(), np.zeros((5, 2)))

    assert parts(error) == (
        "wrong dtype",
        "X as a tensor",
        "ndarray of float64",
        "torch.as_tensor(X, dtype=torch.float32)",
    )


@pytest.mark.parametrize(
    ("channels", "shape", "fix"),
    [
        (3, (3, 16, 16), "image.unsqueeze(0)"),
        (1, (1, 16, 16), "image.unsqueeze(0)"),
        (3, (16, 16, 3), "image.permute(2, 0, 1).unsqueeze(0)"),
        (3, (2, 16, 16, 3), "images.permute(0, 3, 1, 2)"),
        (1, (5, 16, 16), "images.unsqueeze(1)"),
        (3, (2, 1, 16, 16), "images.expand(-1, 3, -1, -1)"),
        (3, (1, 16, 16), "image.expand(3, -1, -1).unsqueeze(0)"),
        (1, (16, 16), "image.expand(1, -1, -1).unsqueeze(0)"),
        (3, (2, 4, 16, 16), "images[:, :3]"),
        (1, (2, 3, 16, 16), "images.mean(dim=1, keepdim=True)"),
        (3, (2, 768), "images.reshape(-1, 3, height, width)"),
    ],
    ids=str,
)
def test_images_without_batch_channels_last_or_of_other_channels(channels, shape, fix):
    assert parts(fault(vgg(channels), images(*shape))) == (
        "wrong shape",
        f"(n, {channels}, height, width)",
        str(shape),
        fix,
    )


@pytest.mark.parametrize(
    ("channels", "shape"), [(3, (3, 16, 16)), (3, (16, 16, 3)), (3, (2, 16, 16, 3)), (1, (5, 16, 16))]
)
def test_the_fix_of_an_image_mends_it(channels, shape):
    X = images(*shape)
    mended = eval(fault(vgg(channels), X).fix, {"image": X, "images": X})

    check_batch(vgg(channels), mended)


def test_one_image_that_is_missing_its_batch_is_found_where_convolutions_take_it():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    assert fault(model, images(3, 16, 16)).fix == "image.unsqueeze(0)"


def test_an_image_size_that_the_classifier_was_not_built_for():
    assert parts(fault(vgg(), images(2, 3, 24, 24))) == (
        "wrong shape",
        "images of 16x16",
        "24x24, which bring 72 numbers to model.classifier[1] where it takes 32 (mat1 and mat2)",
        "transforms.Resize((16, 16)), or model.classifier[1] = nn.Linear(72, 3)",
    )


def test_an_image_too_small_for_the_convolutions():
    error = fault(vgg(padding=0), images(2, 3, 5, 5))

    assert parts(error)[:2] == ("wrong shape", "images of 16x16")
    assert error.got == "5x5, too small for model.conv_block_1[4]"


def test_an_image_size_for_a_model_without_convolutions():
    error = fault(grey_flat(), images(2, 1, 9, 9))

    assert (error.expected, error.fix) == (
        "images of 28x28",
        "transforms.Resize((28, 28)), or model.layer_stack[1] = nn.Linear(81, 4)",
    )


def test_one_image_without_batch_into_a_model_without_convolutions():
    assert fault(grey_flat(), images(28, 28)).fix == "image.unsqueeze(0)"


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((5, 3), "model.layer_1 = nn.Linear(3, 10), or other columns"),
        ((2,), "X.unsqueeze(0)"),
        ((3,), "model.layer_1 = nn.Linear(3, 10), or other columns"),
        ((6,), "X.reshape(-1, 2)"),
        ((2, 5), "X.T"),
    ],
    ids=str,
)
def test_rows_of_another_length_or_without_batch(shape, fix):
    assert parts(fault(CircleModelV2(), images(*shape))) == ("wrong shape", "(n, 2)", str(shape), fix)


def test_numbers_that_are_no_column():
    assert parts(fault(LinearRegressionModelV2(), images(5))) == ("wrong shape", "(n, 1)", "(5,)", "X.unsqueeze(1)")


def test_images_that_are_not_flat_into_a_model_of_rows():
    assert fault(nn.Linear(48, 2), images(5, 3, 4, 4)).fix == "images.flatten(1)"


def test_layers_that_do_not_fit_each_other():
    model = nn.Sequential(nn.Linear(2, 5), nn.Linear(4, 1))

    assert parts(fault(model, images(3, 2))) == (
        "wrong shape",
        "4 values into model[1]",
        "5 from the layer before",
        "model[1] = nn.Linear(5, 1)",
    )


def test_data_on_another_device_than_the_model():
    assert parts(fault(CircleModelV2(), images(5, 2).to("meta"))) == (
        "wrong device",
        "X on cpu, where the model is",
        "X on meta",
        'X.to("cpu")',
    )


def test_a_model_on_another_device_than_the_data():
    assert parts(fault(vgg().to("meta"), images(5, 3, 16, 16)))[1:] == (
        "X on meta, where the model is",
        "X on cpu",
        'X.to("meta")',
    )


def test_a_model_on_two_devices():
    model = CircleModelV2()
    model.layer_2.to("meta")

    assert parts(fault(model, images(5, 2))) == (
        "wrong device",
        "the whole model on one device",
        "parts on cpu and meta",
        'model.to("cpu")',
    )


# Labels


def labels(*values, dtype=torch.int64):
    return torch.tensor(values, dtype=dtype)


CLASSES = "labels of int64 for a loss over classes"
IN_RANGE = "labels from 0 to 2 for a model of 3 output(s)"


@pytest.mark.parametrize(
    ("y", "fault_of"),
    [
        (labels(0.0, 1, 2, dtype=torch.float32), ("wrong dtype", CLASSES, "float32", "y.long()")),
        (labels(0, 1, 2, dtype=torch.int32), ("wrong dtype", CLASSES, "int32", "y.long()")),
        (labels(0, 1, 2)[:, None], ("wrong shape", "labels (3,)", "(3, 1)", "y.squeeze(1)")),
        (labels(0, 1, 2)[:, None].float(), ("wrong shape", "labels (3,)", "(3, 1)", "y.squeeze(1).long()")),
        (
            torch.eye(3).long(),
            ("wrong dtype", "class numbers, or probabilities of float32", "int64", "y.argmax(dim=1)"),
        ),
        (labels(1, 2, 3), ("wrong labels", IN_RANGE, "3 (1 of 3 lie outside)", "y - 1")),
        (
            labels(0, 5, 7),
            ("wrong labels", IN_RANGE, "5 (2 of 3 lie outside)", "model = nn.Linear(2, 8), or other labels"),
        ),
        (labels(-1, 0, 1), ("wrong labels", IN_RANGE, "-1 (1 of 3 lie outside)", "X, y = X[y >= 0], y[y >= 0]")),
        (
            labels(0, 1),
            ("wrong shape", "3 labels for 3 samples", "2", "take X and y from the same rows: X[rows], y[rows]"),
        ),
        (torch.tensor(1), ("wrong shape", "labels (n,)", "()", "y.unsqueeze(0)")),
        (labels(0, 1, 2).to("meta"), ("wrong device", "y on cpu, as the outputs", "y on meta", 'y.to("cpu")')),
    ],
    ids=[
        *(
            "float",
            "int32",
            "column",
            "float column",
            "one-hot",
            "from 1",
            "too high",
            "negative",
            "too few",
            "one",
            "device",
        ),
    ],
)
def test_labels_that_a_loss_over_classes_cannot_take(y, fault_of):
    assert parts(fault(nn.Linear(2, 3), images(3, 2), y, CROSS_ENTROPY)) == fault_of


def test_labels_that_the_loss_leaves_out_are_not_out_of_range():
    check_batch(nn.Linear(2, 3), images(3, 2), labels(0, 1, 9), nn.CrossEntropyLoss(ignore_index=9))
    check_batch(nn.Linear(2, 3), images(3, 2), labels(0, 1, -100), CROSS_ENTROPY)
    with pytest.raises(BatchError):
        check_batch(nn.Linear(2, 3), images(3, 2), labels(0, 1, 9), CROSS_ENTROPY)


@pytest.mark.parametrize("loss_fn", [BCE, L1], ids=["BCE", "L1"])
def test_whole_numbers_for_a_loss_over_numbers(loss_fn):
    assert parts(fault(nn.Linear(2, 1), images(3, 2), labels(0, 1, 1), loss_fn)) == (
        "wrong dtype",
        "labels of float32 for this loss",
        "int64",
        "y.float()",
    )


@pytest.mark.parametrize("loss_fn", [BCE, L1], ids=["BCE", "L1"])
def test_outputs_in_a_column_and_labels_in_a_row(loss_fn):
    error = fault(nn.Linear(2, 1), images(3, 2), torch.zeros(3), loss_fn)

    assert (error.expected, error.fix) == ("labels (3, 1), as the outputs", "y.unsqueeze(1), or model(X).squeeze(1)")


def test_a_loss_that_would_compare_every_output_with_every_label_is_named():
    error = fault(nn.Linear(2, 1), images(3, 2), torch.zeros(3), L1)

    assert error.got == "(3,), and the loss would compare every output with every label"


def test_inputs_in_a_row_and_labels_in_a_column_into_a_model_without_layers():
    assert fault(LinearRegressionModel(), images(3), images(3, 1), L1).fix == "X.unsqueeze(1)"


def test_labels_in_a_column_for_outputs_in_a_row():
    model = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))

    assert fault(model, images(3, 2), torch.zeros(3, 1), BCE).fix == "y.squeeze(1)"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_inputs_that_are_not_finite_are_counted_and_the_first_is_named(value):
    X = torch.zeros(3, 2)
    X[1, 1] = X[2, 0] = value

    assert parts(fault(nn.Linear(2, 1), X)) == (
        "wrong values",
        "finite numbers in X",
        f"2 nan or infinite of 6, the first in X[1, 1], {value}",
        "rows = X.isfinite().all(dim=1), then X[rows] and y[rows]",
    )


def test_labels_that_are_not_finite_are_named():
    assert fault(nn.Linear(2, 1), images(2, 2), torch.tensor([[0.0], [math.nan]]), L1).kind == "wrong values"


def test_the_fix_of_images_that_are_not_finite_keeps_the_others():
    X = torch.zeros(2, 3, 16, 16)
    X[1, 0, 0, 0] = math.nan
    code = fault(vgg(), X).fix.removeprefix("rows = ").partition(",")[0]

    assert eval(code, {"X": X}).tolist() == [True, False]


def test_binary_labels_beside_0_and_1():
    y = labels(1.0, 2.0, 1.0, dtype=torch.float32).unsqueeze(1)

    assert parts(fault(nn.Linear(2, 1), images(3, 2), y, BCE)) == ("wrong labels", "labels 0 and 1", "2", "y - 1")


def test_more_outputs_than_labels_for_a_binary_loss():
    y = labels(0.0, 1.0, 1.0, dtype=torch.float32)

    assert parts(fault(nn.Linear(2, 3), images(3, 2), y, BCE)) == (
        "wrong shape",
        "one output a label, (3,)",
        "(3, 3)",
        "model = nn.Linear(2, 1), or nn.CrossEntropyLoss() with y.long()",
    )


@pytest.mark.parametrize(("outputs", "n_classes", "wanted"), [(3, 10, 10), (10, 3, 3), (1, 3, 3)])
def test_an_output_width_that_is_not_the_number_of_classes(outputs, n_classes, wanted):
    error = fault(nn.Linear(2, outputs), images(3, 2), labels(0, 0, 0), CROSS_ENTROPY, n_classes=n_classes)

    assert parts(error) == (
        "wrong shape",
        f"{wanted} output(s) a sample for {n_classes} classes",
        str(outputs),
        f"model = nn.Linear(2, {wanted})",
    )


def test_scores_without_classes():
    model = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))

    assert fault(model, images(3, 2), labels(0, 1, 1), CROSS_ENTROPY).expected == "raw scores (n, classes)"


# What is right, and what is not known here


@pytest.mark.parametrize(
    ("model", "X", "y", "loss_fn"),
    [
        (vgg(), images(2, 3, 16, 16), labels(0, 2), CROSS_ENTROPY),
        (nn.Linear(2, 3), images(2, 2), torch.eye(3)[:2], CROSS_ENTROPY),
        (CircleModelV2(), images(2, 2), torch.zeros(2, 1), BCE),
        (LinearRegressionModel(), images(2, 1), images(2, 1), L1),
        (nn.Embedding(5, 3), labels(0, 4), labels(0, 2), CROSS_ENTROPY),
        (vgg(), images(2, 3, 16, 16), None, None),
    ],
    ids=["pictures", "probabilities", "binary", "line", "embedding", "no labels"],
)
def test_a_batch_that_fits_passes(model, X, y, loss_fn):
    assert check_batch(model, X, y, loss_fn) is None


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fault(model, torch.ones(5, 3))
    check_batch(model, torch.ones(5, 2))

    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)


def test_an_error_of_the_model_itself_is_raised_as_it_is():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match=r"^of its own$"):
        check_batch(Broken(), images(2, 2))


def test_a_loss_that_is_not_known_here_may_take_any_labels():
    check_batch(nn.Linear(2, 3), images(3, 2), labels(7, 8, 9), lambda logits, y: logits.mean())


def test_the_message_says_all_in_one_line():
    error = fault(vgg(), images(3, 16, 16))

    assert str(error) == ("wrong shape: expected (n, 3, height, width), got (3, 16, 16); fix: image.unsqueeze(0)")


def test_the_error_is_one_of_the_librarys_and_a_value_error_and_survives_pickling():
    error = fault(vgg(), images(3, 16, 16))

    assert isinstance(error, DlwError)
    assert isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_scripts_reach_it_at_the_top():
    assert dlworkflow.check_batch is check_batch


# Errors explained afterwards


def fail_on(batch, error, model=None, loss_fn=CROSS_ENTROPY, task=MULTICLASS):
    with explained_errors(model or nn.Linear(2, 3), loss_fn, task) as keep:
        keep(*batch)
        raise error


def test_a_device_assert_is_explained_without_calling_the_model_again():
    model, calls = nn.Linear(2, 3), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    batch = images(3, 2), labels(0, 1, 9)

    with pytest.raises(BatchError, match=r"wrong labels: .* device assert"):
        fail_on(batch, RuntimeError("CUDA error: device-side assert triggered"), model)
    assert calls == []


def test_the_error_of_torch_stays_as_the_cause():
    error = RuntimeError("mat1 and mat2")

    with pytest.raises(BatchError) as caught:
        fail_on((images(3, 5), labels(0, 1, 2)), error)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: no kernel")])
def test_errors_of_the_device_are_not_laid_to_the_batch(error):
    with pytest.raises(type(error)) as caught:
        fail_on((images(3, 5), labels(0, 1, 9)), error)
    assert caught.value is error


def test_an_error_that_the_batch_does_not_explain_goes_on_unchanged():
    error = RuntimeError("of the loader")

    with pytest.raises(RuntimeError) as caught:
        fail_on((images(3, 2), labels(0, 1, 2)), error)
    assert caught.value is error


def test_labels_that_a_loss_takes_are_not_blamed_for_an_error_of_something_else():
    error = RuntimeError("of the loader")

    with pytest.raises(RuntimeError) as caught:
        fail_on((images(3, 2), labels(0, 1, 2)), error, nn.Linear(2, 1), L1, REGRESSION)
    assert caught.value is error


@pytest.mark.parametrize(
    ("loss_fn", "y", "fix"),
    [(nn.BCELoss(), torch.tensor([[0.0], [1.0]]), "nn.Sigmoid"), (nn.NLLLoss(), torch.tensor([0, 0]), "nn.LogSoftmax")],
)
def test_raw_scores_for_a_loss_over_probabilities_are_named(loss_fn, y, fix):
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)

    with pytest.raises(BatchError, match=f"wrong outputs: .*{fix}"):
        check_batch(model, torch.full((2, 1), 5.0), y, loss_fn)


@pytest.mark.parametrize(
    ("last", "loss_fn", "y"),
    [(nn.Sigmoid(), nn.BCELoss(), torch.ones(2, 1)), (nn.LogSoftmax(dim=1), nn.NLLLoss(), torch.tensor([0, 0]))],
)
def test_probabilities_fit_a_loss_over_them(last, loss_fn, y):
    check_batch(nn.Sequential(nn.Linear(1, 1), last), torch.ones(2, 1), y, loss_fn)
