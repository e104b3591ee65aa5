"""A pipeline as a user writes it or a run folder holds it, read and checked; opens no image.

The steps are `range` (which values of an image of more than 8 bits become black and white), `resize`, `center_crop`,
augmentations (see `augmentations`), and `normalize`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from dlworkflow.data.images.augmentations import AUGMENTATIONS, refused
from dlworkflow.data.images.pipeline import Pipeline
from dlworkflow.errors import ConfigError, unknown
from dlworkflow.registry import Count, faults_of
from dlworkflow.registry.user_code import is_code

if TYPE_CHECKING:
    from dlworkflow.data.images.modes import ValueRange

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of its channels
_MOST_PIXELS = 89_478_485  # no image file has more (decoding.MAX_PIXELS), and no tensor is as large as a typing error
_GEOMETRY = ("resize", "center_crop")
_FIXED = ("range", *_GEOMETRY, "normalize")  # steps that are not random: methods of `_Reading`

Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos", "box", "hamming"]
"""Pillow's and torchvision's names."""
RangeSetting = list[float] | Literal["each"] | None
"""data.range as a user writes it: [low, high], or `each` for the rule of version 0.1 (see `decoding`)."""
Spec = str | Sequence[str | Mapping[str, Any]] | None
"""A pipeline as a user writes it: `flip`, `flip,normalize`, or [{flip: {p: 0.3}}, {normalize: {mean: .., std: ..}}]."""


def parse(
    spec: Spec,
    *,
    image_size: int | Sequence[int] | None = None,
    channels: int = 3,
    fast_decode: bool = False,
    value_range: Any = None,
    fast_augment: bool = False,
) -> Pipeline:
    """Read a pipeline; `image_size` is one side of a square or (height, width), `value_range` is as `RangeSetting`.

    Raises ConfigError that names every error.
    """
    reading = _Reading(image_size, channels, fast_decode, value_range)
    for name, settings in _steps(spec, reading.faults):
        reading.step(name, settings)
    return replace(reading.pipeline(), fast_augment=fast_augment)


def faults(spec: Spec, image_size: int | Sequence[int] | None = None, value_range: Any = None) -> dict[str, str]:
    """Return what is wrong with a pipeline whatever the images are, {setting: sentence}."""
    for channels in (1, 3):  # a normalization of either is right until the data is known
        try:
            parse(spec, image_size=image_size or 1, channels=channels, value_range=value_range)
            return {}
        except ConfigError as error:
            found = [fault.removeprefix("data.").partition(": ") for fault in error.faults]
    sizes = ("image_size", "transform.resize", "transform.center_crop", "transform.resize.shorter")
    wrong: dict[str, str] = {}
    for key, _, sentence in found:
        if image_size is not None or key not in sizes:  # a size that the data decides contradicts nothing yet
            wrong[key] = f"{wrong[key]}; {sentence}" if key in wrong else sentence
    return wrong


def complete(spec: Spec, usual: Spec) -> list[dict[str, Any]]:
    """Return the steps of `spec`; resizing and cropping, and normalization, are those of `usual` where it has none.

    Pretrained weights come with a `usual`; `flip` is then an augmentation between its crop and its normalization.
    Raises ConfigError for what is no list of steps.
    """
    faults: list[str] = []
    given, standard = _steps(spec, faults), _steps(usual, faults)
    if faults:
        raise ConfigError(*faults)
    names = {name for name, _ in given}
    before = [] if names & set(_GEOMETRY) else [step for step in standard if step[0] in _GEOMETRY]
    after = [] if "normalize" in names else [step for step in standard if step[0] == "normalize"]
    return [{name: settings} for name, settings in (*before, *given, *after)]


def read_range(value: Any) -> tuple[float, float] | None:
    """Return [low, high] as JSON or a user gave them, None for None. Raises ValueError for anything else."""
    if value is None:
        return None
    numbers = value if isinstance(value, (list, tuple)) else ()
    if len(numbers) != 2 or not all(_is_finite(number) for number in numbers) or numbers[0] >= numbers[1]:
        raise ValueError(f"holds no range of values: {value!r}")
    return float(numbers[0]), float(numbers[1])


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e30  # as other settings


def _steps(spec: Spec, faults: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, settings) of each step, without 'none'."""
    if spec is None:
        return []
    parts: Sequence[Any] = [part.strip() for part in spec.split(",")] if isinstance(spec, str) else spec
    if not isinstance(parts, (list, tuple)):
        faults.append(f"data.transform: must be a name or a list of steps, not {spec!r}")
        return []
    known, steps = ("none", *_FIXED[:-1], *AUGMENTATIONS.names(), _FIXED[-1]), []
    for part in parts:
        if isinstance(part, str):
            part = {part: {}}
        if isinstance(part, Mapping) and isinstance(part.get("name"), str):  # as other settings name a thing
            part = {part["name"]: {key: value for key, value in part.items() if key != "name"}}
        if not isinstance(part, Mapping) or len(part) != 1:
            faults.append(f"data.transform: a step is a name or {{name: {{setting: value}}}}, not {part!r}")
            continue
        [(name, settings)] = part.items()
        if name not in known and is_code(name):
            try:
                name = AUGMENTATIONS.resolved(name)
                known = (*known, name)
            except ConfigError as error:
                faults.append(f"data.transform: {error}")
                continue
        if name not in known:
            faults.append(f"data.transform: {unknown('transform', name, known)}")
        elif not isinstance(settings or {}, Mapping):
            faults.append(f"data.transform.{name}: settings are a mapping, not {settings!r}")
        elif name != "none":
            steps.append((name, dict(settings or {})))
    return steps


class _Reading:
    """A pipeline while it is read, with a method per step that is not random: its parameters are the settings."""

    def __init__(
        self, image_size: int | Sequence[int] | None, channels: int, fast_decode: bool, value_range: Any
    ) -> None:
        self.faults: list[str] = []
        self._channels, self._fast_decode = channels, fast_decode
        self._size = self._read_size(image_size) if image_size is not None else None
        self._values: ValueRange = value_range
        if value_range not in (None, "each"):
            self._values = self._read_range(value_range, "data.range", "[low, high]", value_range)
        self._shorter: int | None = None
        self._interpolation = "bilinear"
        self._augmentations: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
        self._statistics: list[tuple[float, ...]] = [(), ()]

    def step(self, name: str, settings: Mapping[str, Any]) -> None:
        """Read one step; what is wrong with it is added to `faults`."""
        if name in _FIXED:
            wrong = faults_of(getattr(self, name), settings, owner=f"transform {name!r}")
        elif self._statistics[0]:
            self.faults.append(f"data.transform: {name!r} works on images and must come before 'normalize'")
            return
        else:
            wrong = AUGMENTATIONS.faults(name, settings)
        self.faults += [f"data.transform.{name}.{key}: {sentence}" for key, sentence in wrong.items()]
        if name not in _FIXED:
            self.faults += [] if wrong else refused(name, settings)
            self._augmentations.append((name, tuple(settings.items())))
        elif not wrong:
            getattr(self, name)(**settings)

    def range(self, *, low: object = None, high: object = None, each: object = None) -> None:
        """Scale images of more than 8 bits by these values."""
        given = {key: value for key, value in (("low", low), ("high", high), ("each", each)) if value is not None}
        found: ValueRange = "each"
        if given != {"each": True}:
            values = [low, high] if each is None else None
            found = self._read_range(values, "data.transform.range", "{low: .., high: ..}", given)
        if self._values not in (None, found):
            self._fault(f"range: {found!r} contradicts data.range, which is {self._values!r}")
        self._values = found

    def resize(
        self,
        *,
        size: object = None,
        shorter: Count | None = None,
        interpolation: Interpolation = "bilinear",
        fast_decode: bool | None = None,
    ) -> None:
        """Resize to a size, or the shorter side to a number of pixels."""
        if shorter is not None and size is not None:
            self._fault("resize: give size (stretched to it) or shorter (cut to data.image_size), not both")
        self._take_size("resize", size)
        self._shorter, self._interpolation = shorter, interpolation
        self._fast_decode = self._fast_decode if fast_decode is None else fast_decode

    def center_crop(self, *, size: object = None) -> None:
        """Cut out the middle."""
        self._take_size("center_crop", size)
        if self._shorter is None:
            self._fault(
                "center_crop: needs a resize of the shorter side before it, as in "
                "[{resize: {shorter: 256}}, {center_crop: {size: 224}}]"
            )

    def normalize(self, *, mean: object = None, std: object = None) -> None:
        """Subtract a mean and divide by a standard deviation per channel: ImageNet's, 0.5 of one channel."""
        n = self._channels
        usual = _IMAGENET if n == 3 else ((0.5,) * n, (0.5,) * n)
        for place, (key, given) in enumerate((("mean", mean), ("std", std))):
            value: Any = usual[place] if given is None else given
            numbers = value if isinstance(value, (list, tuple)) else [value] * n
            fits = len(numbers) == n and all(isinstance(number, (int, float)) for number in numbers)
            if not fits or not all(map(math.isfinite, numbers)) or (key == "std" and min(numbers) <= 0):
                sign = " above 0" if key == "std" else ""
                self._fault(f"normalize.{key}: must be {n} number(s){sign}, one per channel, not {value!r}")
                numbers = [1.0] * n
            self._statistics[place] = tuple(float(number) for number in numbers)

    def pipeline(self) -> Pipeline:
        """Return what was read. Raises ConfigError that names every error."""
        size, shorter = self._size, self._shorter
        if size is None and not self.faults:
            self.faults.append("data.image_size: is missing")
        if size is not None and shorter is not None and shorter < max(size):
            self._fault(
                f"resize.shorter: must be at least {max(size)}, as images of {size[0]}x{size[1]} are "
                f"cut from it, not {shorter}"
            )
        if self.faults or size is None:
            raise ConfigError(*self.faults)
        mean, std = self._statistics
        steps = (shorter, self._interpolation, self._fast_decode, self._values)
        return Pipeline(size, tuple(self._augmentations), mean, std, *steps)

    def _fault(self, sentence: str) -> None:
        self.faults.append(f"data.transform.{sentence}")

    def _take_size(self, step: str, value: object) -> None:
        """Take the size of a step: it is given once, there or as `image_size`, or twice the same."""
        given = self._read_size(value) if value is not None else None
        if given is not None and self._size not in (None, given):
            self._fault(f"{step}: {list(given)} contradicts data.image_size, which is {list(self._size or ())}")
        else:
            self._size = given or self._size

    def _read_size(self, value: Any) -> tuple[int, int] | None:
        sides = [value, value] if isinstance(value, int) else value
        whole = isinstance(sides, (list, tuple)) and all(isinstance(s, int) and not isinstance(s, bool) for s in sides)
        if not whole or len(sides) != 2 or min(sides) < 1:
            self.faults.append(
                f"data.image_size: must be one side or [height, width] in pixels, at least 1, not {value!r}"
            )
            return None
        if sides[0] * sides[1] > _MOST_PIXELS:
            self.faults.append(
                f"data.image_size: must have at most {_MOST_PIXELS:,} pixels, not {sides[0]} x {sides[1]}"
            )
            return None
        return sides[0], sides[1]

    def _read_range(self, value: Any, setting: str, wanted: str, given: Any) -> tuple[float, float] | None:
        try:
            found = read_range(value)
        except ValueError:
            found = None
        if found is None:
            what = f"must be {wanted}, two numbers of which the second is larger, not {given!r}"
            self.faults.append(f"{setting}: {what}")
        return found
