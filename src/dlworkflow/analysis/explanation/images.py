"""Explaining images: read as for a prediction, with the image as it is beside it, and the map of each class checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dlworkflow.analysis.explanation.curves import measure_curves
from dlworkflow.analysis.explanation.methods import ClassScores, attributions, usual_method
from dlworkflow.analysis.explanation.results import Answered, ImageExplanation, placed
from dlworkflow.analysis.explanation.sanity import correlation_with_untrained
from dlworkflow.data.images.decoding import ImageError, load_image
from dlworkflow.data.images.pixels import to_bytes
from dlworkflow.inference.arrays import Layout
from dlworkflow.inference.predictor import Predictor
from dlworkflow.inference.samples import ImageReader, Sample

LONGEST_SIDE = 1000
"""Pixels of a side of the image that is kept for a figure."""


@dataclass(frozen=True)
class _WholeReader(ImageReader):
    """Reads images that are given in memory as they are, upright, where prediction has them resized at once."""

    def _prepared(self, image: Image.Image, source: str) -> Sample:
        return Sample(source, to_bytes(self.transform.upright(image, self.channels)))

    def whole(self, sample: Sample) -> Image.Image:
        """Return an image upright and at its own size. Raises ImageError where it cannot be read."""
        if isinstance(sample.content, np.ndarray):
            pixels = sample.content
            return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        content = sample.content if isinstance(sample.content, bytes) else None
        values = self.transform.value_range
        return load_image(sample.source, self.channels, content=content, value_range=values)


def explain_images(
    predictor: Predictor,
    given: Any,
    *,
    layout: Layout | None = None,
    **options: Any,
) -> tuple[Iterator[ImageExplanation], bool]:
    """Return the explanations of what was given, made as they are asked for, and whether that is several.

    `options` are those of one image: `method`, `target`, `top_k`, `check` and `seed`, see `explaining.explain`.
    """
    assert predictor.transform is not None
    reader = _WholeReader(predictor.transform, predictor.in_shape[0], predictor.name, layout)
    samples, is_many = reader.samples(given)
    return (_explained(predictor, reader, sample, **options) for sample in samples), is_many


def _explained(
    predictor: Predictor,
    reader: _WholeReader,
    sample: Sample,
    *,
    method: str | None,
    top_k: int,
    target: int | None,
    check: bool,
    seed: int,
) -> ImageExplanation:
    try:
        image = reader.whole(sample)
    except ImageError as error:
        return ImageExplanation(sample.source, error=error.reason)
    in_memory = isinstance(sample.content, np.ndarray)
    pixels = to_bytes(reader.transform.resize(image)) if in_memory else reader.read(sample)
    if isinstance(pixels, str):
        return ImageExplanation(sample.source, error=pixels)
    x = reader.transform.to_float(torch.from_numpy(pixels[None])).to(predictor.device)
    values = predictor.answers(x).values[0]
    if not np.isfinite(values).all():
        return ImageExplanation(sample.source, error="the model returns no finite number for it")
    targets = [target] if target is not None else likeliest(values, predictor.classes, top_k)
    model = ClassScores(predictor.model, predictor.task)
    name, grids = (method, maps_of(method, model, x, targets)) if method else _usual_maps(model, x, targets)
    size, seen = (image.height, image.width), reader.transform.seen(image.width, image.height)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    known: dict[str, Any] = {"size": size, "seen": seen, "image": image}
    if check:
        first = targets[0]
        known["curves"] = measure_curves(
            lambda inputs: predictor.answers(inputs).values[:, first], x, nothing_in(x), grids[0], seed=seed
        )
        known["trained"] = predictor.run is None or predictor.run.summary().has_learned(predictor.weights)
        known["untrained"] = correlation_with_untrained(
            model, x, grids[0], lambda other: maps_of(name, other, x, [first])[0], seed=seed
        )
    answers = tuple(answered(values, predictor.classes, each) for each in targets)
    return ImageExplanation(sample.source, name, answers, grids, **known)


def sample_maps(predictor: Predictor, sample: Tensor, image: Any, targets: Sequence[int]) -> list[np.ndarray]:
    """Return the maps of a sample (c, h, w) of a data set, as its model takes it, for k classes.

    They are at the size of `image`, the sample as people look at it: of a file a PIL image, of which the model sees a
    part, else the same pixels as the sample.
    """
    x = sample[None].to(predictor.device)
    model = ClassScores(predictor.model, predictor.task)
    _, grids = _usual_maps(model, x, targets)
    if not isinstance(image, Image.Image) or predictor.transform is None:
        return [*grids]
    seen = predictor.transform.seen(image.width, image.height)
    return [placed(grid, seen, (image.height, image.width)) for grid in grids]


def _usual_maps(model: nn.Module, x: Tensor, targets: Sequence[int]) -> tuple[str, np.ndarray]:
    """Return the method where none is named, and the maps: occlusion where Grad-CAM marks nothing for the first class.

    That is where every feature map speaks against the class.
    """
    name = usual_method(model, x)
    grids = maps_of(name, model, x, targets)
    return (name, grids) if np.ptp(grids[0]) else ("occlusion", maps_of("occlusion", model, x, targets))


def maps_of(method: str, model: nn.Module, x: Tensor, targets: Sequence[int]) -> np.ndarray:
    """Return the maps (k, h, w) float32 of an input x (1, c, h, w) for k classes, at its size.

    In an image of one colour there is nothing to mark.
    """
    nothing = nothing_in(x)
    found: np.ndarray = attributions(method, model, x, nothing, targets).sum(dim=1).numpy()
    return np.zeros_like(found) if torch.allclose(x, nothing, atol=1e-4) else found


def nothing_in(x: Tensor) -> Tensor:
    """Return images (n, c, h, w) in which there is nothing: all of each one's mean colour."""
    return x.mean(dim=(2, 3), keepdim=True).expand_as(x)


def likeliest(values: np.ndarray, classes: Sequence[str], top_k: int) -> list[int]:
    """Return the numbers of the likeliest classes, best first; 0 of a regression."""
    return np.argsort(-values, kind="stable")[:top_k].tolist() if classes else [0]


def answered(values: np.ndarray, classes: Sequence[str], target: int) -> Answered:
    """Return a class with its probability of these (classes,), or the value (1,) of a regression."""
    value = float(values[target])
    return Answered(classes[target], value) if classes else Answered(value=value)
