"""The settings that all data sets of image files take, in one place; loads nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar, get_type_hints

from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.data.images.transforms import RangeSetting, Spec, parse
from dlworkflow.registry import Fraction, Seed

Loaded = TypeVar("Loaded")

TEST_FRACTION, RANDOM_STATE = 0.2, 42
"""The default split into training and test."""

OnBad = Literal["error", "skip"]
"""What becomes of images that cannot be read: an error that names them, or they are left out and named in a note."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Settings of a data set of image files.

    `image_size` is one side or [height, width] in pixels; `transform` is a pipeline (see `transforms`). `test_fraction`
    of the images are the test split, drawn by `random_state`, where the data has none. With `on_bad` skip, images that
    cannot be read are left out and named in the notes. `fast_decode` decodes a JPEG no larger than is needed.
    `fast_augment` augments whole batches at once. `range` [low, high] are the values of images of more than 8 bits that
    become black and white; by default the least and the greatest of the training images.
    """

    image_size: int | list[int] = 64
    transform: Spec = None
    channels: Literal[1, 3] = 3
    test_fraction: Fraction = TEST_FRACTION
    random_state: Seed = RANDOM_STATE
    on_bad: OnBad = "error"
    fast_decode: bool = False
    fast_augment: bool = False
    range: RangeSetting = None

    def pipeline(self) -> Pipeline:
        """Return the pipeline of training images. Raises ConfigError that names every error."""
        given: dict[str, Any] = {"image_size": self.image_size, "channels": self.channels, "value_range": self.range}
        return parse(self.transform, fast_decode=self.fast_decode, fast_augment=self.fast_augment, **given)


def with_image_options(load: Callable[..., Loaded]) -> Callable[..., Loaded]:
    """Let a loader `load(options, *, ...)` be called with each option as a keyword of its own, its signature shows."""
    own = [parameter for name, parameter in inspect.signature(load).parameters.items() if name != "options"]
    hints = get_type_hints(ImageOptions, include_extras=True)
    options = inspect.signature(ImageOptions).parameters
    shared = [parameter.replace(annotation=hints[name]) for name, parameter in options.items()]

    @wraps(load)
    def loader(**given: Any) -> Loaded:
        chosen = {name: given.pop(name) for name in options.keys() & given.keys()}
        return load(ImageOptions(**chosen), **given)

    loader.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined] # inspect reads it
    return loader
