"""Why inputs do not fit a model: device, dtype, or the shape that reaches a layer. Knows no labels and no loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dlworkflow.engine.batch_check.trial import Call, Trial, evaluating, not_finite, place, short, wrong_shape
from dlworkflow.errors import BatchError

_SIDES = (64, 28, 32, 224, 8, 16, 48, 96, 128, 256, 299, *range(1, 257))
"""Image sides that a model may be built for, the usual ones first."""


def input_faults(model: nn.Module, X: Tensor, trial: Trial, *, strict: bool = False) -> Iterator[BatchError | None]:
    """Yield errors of X, the likeliest cause first; `strict` adds what torch takes and should not get.

    That is a dtype that changes the dtype of the output, and numbers that are nan or infinite.
    """
    if trial.error is None:
        yield _single_sample(X, trial)
        if strict:
            yield _promotion(model, X, trial)
            yield not_finite("X", X)
        return
    yield _device_fault(model, X, trial)
    yield _dtype_fault(model, X, trial)
    first, call = trial.first, trial.refused
    if first is not None and isinstance(first.layer, nn.Conv2d) and first.input.shape == X.shape:
        yield _image_fault(first.layer, X)
    if call is None:
        return
    if isinstance(call.layer, nn.Linear):
        if call.input.shape[-1:] == (call.layer.in_features,):
            return
        if call is first:
            yield _flat_fault(X, call, trial)
        yield _size_fault(model, X, call) if X.ndim >= 3 else _inner_fault(call)
    elif X.ndim == call.input.ndim == 4 and isinstance(call.layer, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        channels = getattr(call.layer, "in_channels", None)
        yield _inner_fault(call) if channels not in (None, call.input.shape[1]) else _size_fault(model, X, call)


def _device_fault(model: nn.Module, X: Tensor, trial: Trial) -> BatchError | None:
    devices = list(dict.fromkeys(tensor.device for tensor in [*model.parameters(), *model.buffers()]))
    if len(devices) > 1 and "device" in str(trial.error):
        there = " and ".join(map(place, devices))
        return BatchError(
            "wrong device", "the whole model on one device", f"parts on {there}", f'model.to("{place(X.device)}")'
        )
    if not devices or X.device in devices:
        return None
    where, came = place(devices[0]), place(X.device)
    return BatchError("wrong device", f"X on {where}, where the model is", f"X on {came}", f'X.to("{where}")')


def _dtype_fault(model: nn.Module, X: Tensor, trial: Trial) -> BatchError | None:
    """Find inputs of another type than the weights that they meet."""
    call = trial.refused
    if call is None:
        wanted, unlike = _float_dtype(model), "type" in str(trial.error)
    else:
        wanted = _float_dtype(call.layer)
        unlike = call.input.dtype == X.dtype and not isinstance(call.layer, (nn.Embedding, nn.EmbeddingBag))
    return _wrong_dtype(X, wanted) if unlike and wanted not in (None, X.dtype) else None


def _promotion(model: nn.Module, X: Tensor, trial: Trial) -> BatchError | None:
    """Find inputs of a dtype, such as float64, that a model without layers takes and returns in place of its own."""
    wanted = _float_dtype(model)
    answered = trial.output.dtype if isinstance(trial.output, Tensor) else None
    promoted = X.is_floating_point() and answered == X.dtype
    return _wrong_dtype(X, wanted) if promoted and wanted not in (None, X.dtype) else None


def _float_dtype(module: nn.Module) -> torch.dtype | None:
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), None)


def _wrong_dtype(X: Tensor, wanted: torch.dtype | None) -> BatchError:
    fix = f"X.to({wanted})"
    if X.dtype == torch.uint8 and X.ndim >= 3:
        fix = "images.float() / 255" if wanted == torch.float32 else f"images.to({wanted}) / 255"
    return BatchError("wrong dtype", f"X of {short(wanted)}, as the model's weights are", short(X.dtype), fix)


def _single_sample(X: Tensor, trial: Trial) -> BatchError | None:
    """Find one sample without a batch dimension, which convolutions and linear layers take and losses do not."""
    first = trial.first
    if first is None or first.input.shape != X.shape:
        return None
    if isinstance(first.layer, nn.Conv2d):
        return _image_fault(first.layer, X)
    if isinstance(first.layer, nn.Linear) and X.ndim == 1:
        return wrong_shape(f"(n, {first.layer.in_features})", X, "X.unsqueeze(0)")
    return None


def _image_fault(layer: nn.Conv2d, X: Tensor) -> BatchError | None:
    """Find images without batch dimension, with channels last, or with other channels than the layer takes."""
    channels, shape = layer.in_channels, tuple(X.shape)
    if X.ndim == 4 and shape[1] == channels:
        return None
    if X.ndim == 4:
        fix = _channel_fix(shape, layer)
    elif X.ndim == 3 and shape[0] == channels:
        fix = "image.unsqueeze(0)"
    elif X.ndim == 3 and shape[2] == channels:
        fix = "image.permute(2, 0, 1).unsqueeze(0)"
    elif X.ndim == 3 and channels == 1:
        fix = "images.unsqueeze(1)"
    elif (X.ndim == 3 and shape[0] == 1) or (X.ndim == 2 and not _is_flat(shape, channels)):
        fix = f"image.expand({channels}, -1, -1).unsqueeze(0)"
    else:
        fix = f"images.reshape(-1, {channels}, height, width)"
    return wrong_shape(f"(n, {channels}, height, width)", X, fix)


def _is_flat(shape: tuple[int, ...], channels: int) -> bool:
    """Return whether (n, numbers) are flattened square images, rather than the rows of one grayscale image."""
    side = math.isqrt(shape[1] // channels)
    return shape[0] != shape[1] == channels * side * side


def _channel_fix(shape: tuple[int, ...], layer: nn.Conv2d) -> str:
    """Return the code that makes images (n, ...) of other channels fit: permute, repeat, average, drop alpha."""
    channels, came = layer.in_channels, shape[1]
    if shape[3] == channels:
        return "images.permute(0, 3, 1, 2)"
    if came == 1:
        return f"images.expand(-1, {channels}, -1, -1)"
    if channels == 1:
        return "images.mean(dim=1, keepdim=True)"
    if came == 4 and channels == 3:
        return "images[:, :3]"
    return f"build the model for {came} channels, with nn.Conv2d({came}, {layer.out_channels}, ...) as its first layer"


def _flat_fault(X: Tensor, call: Call, trial: Trial) -> BatchError | None:
    """Find what is wrong with X for a linear layer that nothing with weights comes before."""
    assert isinstance(call.layer, nn.Linear)
    takes, width = call.layer.in_features, call.input.shape[-1] if call.input.ndim else 1
    plain = not any(isinstance(before.layer, nn.Flatten) for before in trial.calls) and call.input.shape == X.shape
    rows = f"(n, {takes})"
    if X.ndim <= 1 and X.numel() % takes == 0:
        return wrong_shape(rows, X, "X.unsqueeze(1)" if takes == 1 and X.ndim else f"X.reshape(-1, {takes})")
    if X.ndim >= 2 and X.numel() == takes and (not plain or X.ndim >= 3):
        return wrong_shape(f"a batch of images, (n, {', '.join(map(str, X.shape))})", X, "image.unsqueeze(0)")
    if X.ndim >= 3 and plain and math.prod(X.shape[1:]) == takes:
        return wrong_shape(rows, X, "images.flatten(1)")
    if X.ndim == 2 and plain and X.shape[0] == takes:
        return wrong_shape(rows, X, "X.T")
    if X.ndim <= 2 or plain:
        rows = f"(n, ..., {takes})" if X.ndim > 2 else rows
        return wrong_shape(rows, X, f"{call.path} = nn.Linear({width}, {call.layer.out_features}), or other columns")
    return None


def _size_fault(model: nn.Module, X: Tensor, call: Call) -> BatchError:
    """Return the error of images of another size than a layer was built for, with the size they should have."""
    side = _fitting_side(model, X)
    came = f"{X.shape[-2]}x{X.shape[-1]}"
    resize = f"transforms.Resize(({side}, {side}))" if side else ""
    if not isinstance(call.layer, nn.Linear):
        expected = f"images of {side}x{side}" if side else "larger images"
        return BatchError("wrong shape", expected, f"{came}, too small for {call.path}", resize or "larger images")
    width = call.input.shape[-1]
    rebuild = f"{call.path} = nn.Linear({width}, {call.layer.out_features})"
    return BatchError(
        "wrong shape",
        f"images of {side}x{side}" if side else f"{call.layer.in_features} numbers an image",
        f"{came}, which bring {width} numbers to {call.path} where it takes {call.layer.in_features} (mat1 and mat2)",
        f"{resize}, or {rebuild}" if resize else rebuild,
    )


def _fitting_side(model: nn.Module, X: Tensor) -> int | None:
    """Return the side of square images that the model takes, found from shapes alone; None if none does."""
    named = [*model.named_parameters(), *model.named_buffers()]
    weights = {name: torch.empty_like(tensor, device="meta") for name, tensor in named}
    with evaluating(model):
        for side in _SIDES:
            blank = torch.empty(1, *X.shape[1:-2], side, side, dtype=X.dtype, device="meta")
            try:
                functional_call(model, weights, (blank,))
            except Exception:  # noqa: BLE001, S112 - whatever it is, this size does not fit
                continue
            return side
    return None


def _inner_fault(call: Call) -> BatchError:
    """Return the error of two layers of the model that do not fit each other."""
    if isinstance(call.layer, nn.Conv2d):
        takes, came = call.layer.in_channels, call.input.shape[1]
        fix = f"nn.Conv2d({came}, {call.layer.out_channels}, ...)"
    else:
        assert isinstance(call.layer, nn.Linear)
        takes, came = call.layer.in_features, call.input.shape[-1]
        fix = f"nn.Linear({came}, {call.layer.out_features})"
    return BatchError(
        "wrong shape", f"{takes} values into {call.path}", f"{came} from the layer before", f"{call.path} = {fix}"
    )
