"""`pred_and_plot_image` of the notes and of the published course: one image in, its prediction as a figure out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from dlworkflow.course.helpers import make_predictions
from dlworkflow.course.pyplot import current_axes, on_pyplot
from dlworkflow.data.images.dataset import load_image
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.pixels import to_uint8
from dlworkflow.data.images.transforms import parse
from dlworkflow.engine.device import Device
from dlworkflow.errors import BatchError, DataError, DlwError
from dlworkflow.inference.stored import stored_transform
from dlworkflow.models.weights.from_weights import weights_file
from dlworkflow.plotting import plot_probability_bars
from dlworkflow.plotting.grid import Layout, show_image
from dlworkflow.plotting.style import axes_for, fit
from dlworkflow.runs import Run
from dlworkflow.runs.finding import is_run

Source = str | os.PathLike[str] | Image.Image
_SOURCES = (str, os.PathLike, Image.Image)


class _Inputs(NamedTuple):
    """What the model is given (c, h, w), what is shown of it, and how it was made, where the caller did not say."""

    tensor: Tensor
    shown: Any
    note: str = ""


@on_pyplot
def pred_and_plot_image(
    model: nn.Module,
    image_path: Source | Sequence[str],
    class_names: Sequence[str] | Source | None = None,
    image_size: tuple[int, int] | Callable[[Any], Any] | None = None,
    transform: Callable[[Any], Any] | None = None,
    device: Device | None = None,
) -> Figure:
    """Predict one image, a file or a PIL image, and draw it with the title `Pred: pizza | Prob: 0.374`.

    How the image is made ready for the model, in this order:

    - `transform` is called as in its training: with the PIL image where that gives a float tensor (`ToTensor`,
      `weights.transforms()`), else with the notes' float32 (3, h, w) in [0, 1] (a `Resize` alone).
    - A model whose weights `load_model` or `Predictor.from_run` read from a run is given what that run was trained on.
    - With `image_size` (height, width), as in the published course's chapters 06 to 09, it is resized and normalised
      with ImageNet's mean and standard deviation. That is the default, with (224, 224), for a model of torchvision's
      and where the class names come before the path, as in its `predictions.py`.
    - Else it is used as it is, float32 in [0, 1], as in the notes.

    A line below the figure names what was done where `transform` is not given. The fourth argument may be the
    transform and the fifth the device, as in the notes. Without `class_names` a class has its number. Draws on pyplot's
    current axes where these are empty, else in a new figure with a bar per class. Raises DlwError for an image that
    the model cannot take, for an `image_size` other than that of the run, and for names that are not the model's.
    """
    if callable(image_size):  # (..., transform, device) as in the notes
        image_size, transform, device = None, image_size, transform if device is None else device
    elif isinstance(transform, str | torch.device):
        transform, device = None, transform
    is_published = isinstance(class_names, _SOURCES) or type(model).__module__.startswith("torchvision.")
    if isinstance(class_names, _SOURCES):
        image_path, class_names = class_names, image_path
    if not isinstance(image_path, _SOURCES):
        raise DlwError(f"image_path: must be a path or a PIL image, not {type(image_path).__name__}")
    image = image_path.convert("RGB") if isinstance(image_path, Image.Image) else load_image(image_path)
    inputs = _transformed(image, transform) if transform else _prepared(model, image, image_size, is_published)
    try:
        probabilities = make_predictions(model, [inputs.tensor], device)[0].tolist()
    except BatchError as error:
        how = ", ".join(filter(None, ["x".join(map(str, inputs.tensor.shape)), inputs.note]))
        raise DataError(
            f"the model cannot take the image ({how}): pass the transform of its training as transform=, or"
            f" image_size=(height, width) for one trained with ImageNet's mean and std; {error}"
        ) from None
    given: Any = range(len(probabilities)) if class_names is None else class_names
    names = [str(name) for name in given]
    if len(names) != len(probabilities):
        raise DlwError(f"class_names: {len(names)} names, and the model has {len(probabilities)} classes")
    return _draw(inputs, dict(zip(names, probabilities, strict=True)))


def _transformed(image: Image.Image, transform: Callable[[Any], Any]) -> _Inputs:
    """Call a transform of PIL images or of tensors: which of the two it takes shows when it is called."""
    try:
        tensor = transform(image)
    except (TypeError, AttributeError):  # as torchvision's that want a tensor, and a function that expects one, raise
        tensor = None
    shown: Any = image
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        tensor = transform(_floats(image))
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise DlwError(f"transform: must return a tensor of floats, not {_kind(tensor)}; end it with ToTensor()")
        tensor = tensor.squeeze(0) if tensor.ndim == 4 else tensor
        if tensor.min() >= 0 and tensor.max() <= 1:
            shown = tensor  # as the notes do: it shows how coarse the image is that the model is given
    return _Inputs(tensor.squeeze(0) if tensor.ndim == 4 else tensor, shown)


def _prepared(model: nn.Module, image: Image.Image, image_size: Any, is_published: bool) -> _Inputs:
    """Make an image ready without a transform: see `pred_and_plot_image`."""
    image_size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if image_size is not None and not (isinstance(image_size, Sequence) and [*map(type, image_size)] == [int, int]):
        raise DlwError(f"image_size: must be (height, width) in pixels, not {image_size!r}")
    trained = _run_of(model)
    if trained is not None:
        name, pipeline, channels = trained
        if image_size is not None and tuple(image_size) != tuple(pipeline.size):
            sizes = f"{_pixels(pipeline.size)}, not {_pixels(image_size)}"
            raise DlwError(f"image_size: the weights are of run {name!r}, which was trained on {sizes}; leave it out")
        return _Inputs(pipeline(image.convert("L") if channels == 1 else image), image, f"prepared as in run {name}")
    size = image_size or ((224, 224) if is_published else None)
    if size is None:
        return _Inputs(_floats(image), image, "as it is, in [0, 1]")
    note = f"resized to {_pixels(size)}, normalised with ImageNet's mean and std"
    return _Inputs(parse("normalize", image_size=size)(image), image, note)


def _run_of(model: nn.Module) -> tuple[str, Pipeline, int] | None:
    """Return name, preprocessing and channels of the run of images that a model's weights are from."""
    file = weights_file(model)
    if file is None or not is_run(file.parent):
        return None
    summary = Run(file.parent).summary()
    pipeline = stored_transform(summary)
    return None if pipeline is None else (file.parent.name, pipeline.for_evaluation(), summary.in_shape[0])


def _floats(image: Image.Image) -> Tensor:
    return to_uint8(image).to(torch.float32) / 255


def _pixels(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))


def _kind(value: Any) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def _draw(inputs: _Inputs, probabilities: dict[str, float]) -> Figure:
    label = max(probabilities, key=probabilities.__getitem__)
    title = f"Pred: {label} | Prob: {probabilities[label]:.3f}"
    layout: Layout = "chw" if isinstance(inputs.shown, Tensor) else None
    if (axes := current_axes(empty=True)) is not None:
        title = fit(title, 6, 12)
        figure, axes, _ = axes_for(axes, 0, 0)
        show_image(axes, inputs.shown, layout)
        axes.set_title(title)
        if inputs.note:
            note = inputs.note.replace(", ", "\n")  # short lines, as other images may be beside this one
            axes.text(0.5, -0.02, note, ha="center", va="top", fontsize=7, transform=axes.transAxes)
        return figure
    figure = plot_probability_bars(inputs.shown, probabilities, title, layout=layout)
    figure.sca(figure.axes[0])  # the image: what pyplot draws or names next is there
    if inputs.note:
        figure.supxlabel(inputs.note, fontsize=8)
    return figure
