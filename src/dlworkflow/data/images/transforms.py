"""What happens to an image between file and model, as plain data that a run folder can hold.

A pipeline has four parts in this order: the `range` of values by which images of more than 8 bits are scaled to these,
`resize` and `center_crop` (always the same result), random augmentation of the image (training only), `normalize` of
the tensor.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from dlworkflow.data.images.augmentations import AUGMENTATIONS, build, refused
from dlworkflow.errors import ConfigError, unknown
from dlworkflow.registry import faults_of

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dlworkflow.data.images.decoding import ValueRange

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


_MOST_PIXELS = 89_478_485  # no image file has more (decoding.MAX_PIXELS), and no tensor is as large as a typing error
_GEOMETRY = ("resize", "center_crop")
_MOST_RESIZED = 2**24  # pixels of an image between file and crop, beyond which its middle alone is resized
_LONGEST_SIDE = 2**20  # pixels of a side, beyond which a filter's weights would take more memory than the image
_NAMES = ("none", "range", *_GEOMETRY, *AUGMENTATIONS, "normalize")
_INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")  # Pillow's and torchvision's names

RangeSetting = list[float] | Literal["each"] | None
"""data.range as a user writes it: [low, high], or `each` for the rule of version 0.1 (see `decoding`)."""
Spec = str | Sequence[str | Mapping[str, Any]] | None
"""A pipeline as a user writes it: `flip`, `flip,normalize`, or [{flip: {p: 0.3}}, {normalize: {mean: .., std: ..}}]."""


@dataclass(frozen=True)
class Pipeline:
    """The way of an image: resized to `size` (height, width), augmented, normalised.

    With `shorter`, its shorter side is resized to that many pixels, keeping its shape, and `size` is cut from the
    middle; without, it is stretched to `size`. With `fast_decode`, a JPEG is decoded no larger than is needed for that
    (to one half, a quarter or an eighth), which gives other pixels in less time. `augmentations` are (name, settings)
    pairs; `mean` and `std` have one number a channel, or none. `value_range` are the values of an image of more than 8
    bits that become black and white (see `decoding`).
    """

    size: tuple[int, int]
    augmentations: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    shorter: int | None = None
    interpolation: str = "bilinear"
    fast_decode: bool = False
    value_range: ValueRange = None

    def for_evaluation(self) -> Pipeline:
        """Return the same pipeline without its random part."""
        return replace(self, augmentations=())

    def to_spec(self) -> list[dict[str, Any]]:
        """Return the pipeline as JSON can hold it; `parse` takes it back."""
        size = {"size": list(self.size)}
        resize: dict[str, Any] = {"shorter": self.shorter} if self.shorter else dict(size)
        if self.interpolation != "bilinear":
            resize["interpolation"] = self.interpolation
        if self.fast_decode:
            resize["fast_decode"] = True
        steps: list[dict[str, Any]] = [{"range": _range_spec(self.value_range)}] if self.value_range else []
        steps.append({"resize": resize})
        if self.shorter:
            steps.append({"center_crop": size})
        steps += [{name: dict(settings)} for name, settings in self.augmentations]
        if self.mean:
            steps.append({"normalize": {"mean": list(self.mean), "std": list(self.std)}})
        return steps

    def read(self, path: str | os.PathLike[str], channels: int, content: bytes | None = None) -> Image.Image:
        """Open an image file, or its `content`, grey (1 channel) or RGB (3), resized and cropped.

        Raises ImageError naming the file.
        """
        from dlworkflow.data.images.decoding import decoded

        least = 2 * max(*self.size, self.shorter or 0) if self.fast_decode else None  # antialiasing needs some to spare
        with decoded(path, channels, least=least, content=content, value_range=self.value_range) as image:
            return self.resize(image)

    def resize(self, image: Image.Image) -> Image.Image:
        """Resize and crop as torchvision's `Resize` and `CenterCrop` do on an image (antialiased).

        Of an image that would become very large in between, as a long and narrow one does, no more than the crop is
        resized: its pixels differ by one level at most.
        """
        from PIL import Image

        filter_ = Image.Resampling[self.interpolation.upper()]
        height, width = self.size
        if max(image.size) > _LONGEST_SIDE:
            image = image.reduce((math.ceil(image.width / _LONGEST_SIDE), math.ceil(image.height / _LONGEST_SIDE)))
        if self.shorter is None:
            if width * image.height > max(_MOST_RESIZED, image.width * image.height):
                image = image.resize((image.width, height), filter_)  # widening it first would take more
            return image.resize((width, height), filter_)
        least = min(image.size)
        wide, high = (self.shorter * side // least for side in image.size)
        left, top = round((wide - width) / 2), round((high - height) / 2)
        if wide * high <= _MOST_RESIZED:
            return image.resize((wide, high), filter_).crop((left, top, left + width, top + height))
        across, down = image.width / wide, image.height / high
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        return _resized_part(image, box, (width, height), filter_, margin=4 * max(1.0, across, down))

    @cached_property
    def augmentation(self) -> Callable[[Image.Image], Image.Image] | None:
        """The random part as one function on images, or None; it draws from torch's global generator."""
        if not self.augmentations:
            return None
        return _Chain([build(name, dict(settings), self.size) for name, settings in self.augmentations])

    @cached_property
    def flip_alone(self) -> float | None:
        """How likely an image is mirrored, where nothing else is random; None otherwise."""
        if len(self.augmentations) != 1 or self.augmentations[0][0] != "flip":
            return None
        return float(dict(self.augmentations[0][1]).get("p", 0.5))

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Take one image (grey or RGB) all the way: float32 (c, h, w)."""
        from dlworkflow.data.images.pixels import to_uint8

        augment, image = self.augmentation, self.resize(image)
        return self.to_float(to_uint8(augment(image) if augment else image)[None])[0]

    def to_float(self, images: torch.Tensor) -> torch.Tensor:
        """Turn uint8 (n, c, h, w) into the model's float32: [0, 1] as torchvision's `ToTensor`, then normalised."""
        import torch

        floats = torch.div(images, 255)  # of bytes: float32, in one pass
        if self.mean:
            mean = torch.tensor(self.mean, device=images.device).view(-1, 1, 1)
            std = torch.tensor(self.std, device=images.device).view(-1, 1, 1)
            floats.sub_(mean).div_(std)
        return floats


def _resized_part(
    image: Image.Image,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    filter_: Image.Resampling,
    margin: float,
) -> Image.Image:
    """Resize what lies in a box; pixels within the margin around it count too where the filter reaches that far."""
    x, y = (max(0, math.floor(start - margin)) for start in box[:2])
    right, bottom = (min(most, math.ceil(end + margin)) for most, end in zip(image.size, box[2:], strict=True))
    part = image.crop((x, y, right, bottom))  # positions within it are small, as Pillow's single precision needs
    within = (box[0] - x, box[1] - y, min(box[2] - x, part.width), min(box[3] - y, part.height))
    return part.resize(size, filter_, box=within)


class _Chain:
    """Functions on images, one after the other; a class, so that workers can be sent one."""

    def __init__(self, steps: Sequence[Callable[[Image.Image], Image.Image]]) -> None:
        self._steps = steps

    def __call__(self, image: Image.Image) -> Image.Image:
        for step in self._steps:
            image = step(image)
        return image


def parse(
    spec: Spec,
    *,
    image_size: int | Sequence[int] | None = None,
    channels: int = 3,
    fast_decode: bool = False,
    value_range: Any = None,
) -> Pipeline:
    """Read a pipeline as written; `image_size` is one side of a square or (height, width).

    `value_range` is as data.range has it: [low, high], `each` or None; a step `range` says the same.

    Raises ConfigError that names every fault.
    """
    faults: list[str] = []
    size = _size(image_size, faults) if image_size is not None else None
    resize = _Resize(fast_decode=fast_decode)
    values = _value_range(value_range, faults)
    augmentations: list[tuple[str, tuple[tuple[str, Any], ...]]] = []
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    for name, settings in _steps(spec, faults):
        if name == "resize":
            size, resize = _resized(settings, size, faults, fast_decode)
        elif name == "center_crop":
            size = _sized("center_crop", settings, size, faults)
            if resize.shorter is None:
                faults.append(
                    "data.transform.center_crop: needs a resize of the shorter side before it, as in "
                    "[{resize: {shorter: 256}}, {center_crop: {size: 224}}]"
                )
        elif name == "range":
            stepped = _value_range("each" if settings == {"each": True} else [*settings.values()], faults, settings)
            if values not in (None, stepped):
                faults.append(f"data.transform.range: {stepped!r} contradicts data.range, which is {values!r}")
            values = stepped
        elif name == "normalize":
            mean, std = _statistics(settings, channels, faults)
        elif mean:
            faults.append(f"data.transform: {name!r} works on images and must stand before 'normalize'")
        else:
            wrong = faults_of(AUGMENTATIONS[name], settings, supplied=("size",), owner=f"transform {name!r}")
            faults += [f"data.transform.{name}.{key}: {sentence}" for key, sentence in wrong.items()]
            faults += [] if wrong else refused(name, settings)
            augmentations.append((name, tuple(settings.items())))
    if size is None and not faults:
        faults.append("data.image_size: is missing")
    if size is not None and resize.shorter is not None and resize.shorter < max(size):
        faults.append(
            f"data.transform.resize.shorter: must be at least {max(size)}, as images of {size[0]}x{size[1]} are cut "
            f"from it, not {resize.shorter}"
        )
    if faults or size is None:
        raise ConfigError(*faults)
    steps = (resize.shorter, resize.interpolation, resize.fast_decode)
    return Pipeline(size, tuple(augmentations), mean, std, *steps, values)


def faults(spec: Spec, image_size: int | Sequence[int] | None = None, value_range: Any = None) -> dict[str, str]:
    """Return what is wrong with a pipeline whatever the images are, {setting: sentence}."""
    for channels in (1, 3):  # a normalisation of either is right until the data is known
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
    """Return the steps of `spec` with what it leaves open taken from `usual`: resizing and cropping, normalisation.

    Pretrained weights come with a `usual`; `flip` is then an augmentation between its crop and its normalisation.
    What is no pipeline is left for `parse` to refuse.
    """
    faults: list[str] = []
    given, standard = _steps(spec, faults), _steps(usual, faults)
    if faults:
        raise ConfigError(*faults)
    names = {name for name, _ in given}
    before = [] if names & set(_GEOMETRY) else [step for step in standard if step[0] in _GEOMETRY]
    after = [] if "normalize" in names else [step for step in standard if step[0] == "normalize"]
    return [{name: settings} for name, settings in (*before, *given, *after)]


def _value_range(value: Any, faults: list[str], step: Mapping[str, Any] | None = None) -> ValueRange:
    """Read which values are black and white: [low, high], or the settings of a step."""
    if value is None or value == "each":
        return value
    try:
        found = read_range(value)
    except ValueError:
        found = None
    if found is None or (step is not None and [*step] != ["low", "high"]):
        setting = "data.range" if step is None else "data.transform.range"
        wanted = "[low, high]" if step is None else "{low: .., high: ..}"
        faults.append(f"{setting}: must be {wanted}, two numbers of which the second is larger, not {step or value!r}")
        return None
    return found


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


def _range_spec(value_range: ValueRange) -> dict[str, Any]:
    return (
        {"each": True}
        if isinstance(value_range, str) or value_range is None
        else dict(zip(("low", "high"), value_range, strict=True))
    )


def _steps(spec: Spec, faults: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return (name, settings) of each step, leaving out 'none'."""
    if spec is None:
        return []
    parts: Sequence[Any] = [part.strip() for part in spec.split(",")] if isinstance(spec, str) else spec
    if not isinstance(parts, (list, tuple)):
        faults.append(f"data.transform: must be a name or a list of steps, not {spec!r}")
        return []
    steps = []
    for part in parts:
        if isinstance(part, str):
            part = {part: {}}
        if isinstance(part, Mapping) and isinstance(part.get("name"), str):  # as other settings name a thing
            part = {part["name"]: {key: value for key, value in part.items() if key != "name"}}
        if not isinstance(part, Mapping) or len(part) != 1:
            faults.append(f"data.transform: a step is a name or {{name: {{setting: value}}}}, not {part!r}")
            continue
        [(name, settings)] = part.items()
        if name not in _NAMES:
            faults.append(f"data.transform: {unknown('transform', name, _NAMES)}")
        elif not isinstance(settings or {}, Mapping):
            faults.append(f"data.transform.{name}: settings are a mapping, not {settings!r}")
        elif name != "none":
            steps.append((name, dict(settings or {})))
    return steps


@dataclass(frozen=True)
class _Resize:
    shorter: int | None = None
    interpolation: str = "bilinear"
    fast_decode: bool = False


def _resized(
    settings: Mapping[str, Any], size: tuple[int, int] | None, faults: list[str], fast_decode: bool
) -> tuple[tuple[int, int] | None, _Resize]:
    """Read a resize step: to a size, or of the shorter side, and how pixels between pixels are found."""
    given = dict(settings)
    shorter, interpolation = given.pop("shorter", None), given.pop("interpolation", "bilinear")
    fast = given.pop("fast_decode", fast_decode)
    if not isinstance(fast, bool):
        faults.append(f"data.transform.resize.fast_decode: must be true or false, not {fast!r}")
    if interpolation not in _INTERPOLATIONS:
        faults.append(f"data.transform.resize.interpolation: {unknown('value', interpolation, _INTERPOLATIONS)}")
        interpolation = "bilinear"
    if shorter is not None and (not isinstance(shorter, int) or isinstance(shorter, bool) or shorter < 1):
        faults.append(f"data.transform.resize.shorter: must be a whole number of pixels, at least 1, not {shorter!r}")
        shorter = None
    if shorter is not None and "size" in given:
        faults.append(
            "data.transform.resize: give size (stretched to it) or shorter (cut to data.image_size), not both"
        )
    return _sized("resize", given, size, faults), _Resize(shorter, interpolation, fast is True)


def _sized(
    step: str, settings: Mapping[str, Any], size: tuple[int, int] | None, faults: list[str]
) -> tuple[int, int] | None:
    """Read a step's size: it is said once, there or as `image_size`, or twice the same."""
    for key in settings.keys() - {"size"}:
        known = ("size", "shorter", "interpolation", "fast_decode") if step == "resize" else ("size",)
        faults.append(f"data.transform.{step}: {unknown('setting', key, known)}")
    given = _size(settings["size"], faults) if "size" in settings else None
    if given is None or size is None or given == size:
        return given or size
    faults.append(f"data.transform.{step}: {list(given)} contradicts data.image_size, which is {list(size)}")
    return size


def _size(value: Any, faults: list[str]) -> tuple[int, int] | None:
    sides = [value, value] if isinstance(value, int) else value
    whole = isinstance(sides, (list, tuple)) and all(isinstance(s, int) and not isinstance(s, bool) for s in sides)
    if not whole or len(sides) != 2 or min(sides) < 1:
        faults.append(f"data.image_size: must be one side or [height, width] in pixels, at least 1, not {value!r}")
        return None
    if sides[0] * sides[1] > _MOST_PIXELS:
        faults.append(f"data.image_size: must have at most {_MOST_PIXELS:,} pixels, not {sides[0]} x {sides[1]}")
        return None
    return sides[0], sides[1]


def _statistics(
    settings: Mapping[str, Any], channels: int, faults: list[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation a channel: as given, or ImageNet's for three channels, 0.5 for one."""
    usual = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,) * channels, (0.5,) * channels)
    given = dict(zip(("mean", "std"), usual, strict=True)) | dict(settings)
    for key in given.keys() - {"mean", "std"}:
        faults.append(f"data.transform.normalize: {unknown('setting', key, ('mean', 'std'))}")
    found = []
    for key in ("mean", "std"):
        numbers = given[key] if isinstance(given[key], (list, tuple)) else [given[key]] * channels
        fits = len(numbers) == channels and all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers)
        if not fits or (key == "std" and min(numbers) <= 0):
            sign = " above 0" if key == "std" else ""
            faults.append(
                f"data.transform.normalize.{key}: must be {channels} number(s){sign}, one a channel, not {given[key]!r}"
            )
            numbers = [1.0] * channels
        found.append(tuple(float(n) for n in numbers))
    return found[0], found[1]
