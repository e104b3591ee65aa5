"""Random changes of training images by name: torchvision's, imported when one is used; knows no file and no model.

An augmentation is a function that returns a callable from a PIL image to a PIL image, and its line in the table at the
end. Its parameters are its settings, but for `size`: the (height, width) of the image that it is to return. Add your
own with `register`, or from another package through the entry-point group `dlworkflow.augmentations`. One that can be
applied to a whole batch has a line in FAST.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from dlworkflow.errors import first_line
from dlworkflow.registry import Count, Probability, Range, Registry, Spread, factory_of

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Augmentation = Callable[["Image.Image"], "Image.Image"]
Byte = Annotated[int, Range(0, 255)]
Bins = Annotated[int, Range(2, 1024)]
Amount = Annotated[object, Spread()]


def _flip(*, p: Probability = 0.5) -> Augmentation:
    """Mirror left and right with probability `p`."""
    from torchvision import transforms

    return transforms.RandomHorizontalFlip(p=p)


def _trivial_augment(*, num_magnitude_bins: Bins = 31) -> Augmentation:
    """One random operation at a random strength (TrivialAugmentWide, torchvision's v1 transform)."""
    from torchvision import transforms

    return transforms.TrivialAugmentWide(num_magnitude_bins=num_magnitude_bins)


def _rotation(*, degrees: Amount = 15.0, fill: Byte = 0) -> Augmentation:
    """Rotate by up to `degrees` either way; corners become `fill`."""
    from torchvision.transforms import v2

    return v2.RandomRotation(degrees, interpolation=v2.InterpolationMode.BILINEAR, fill=fill)


def _color_jitter(
    *, brightness: Amount = 0.2, contrast: Amount = 0.2, saturation: Amount = 0.2, hue: Amount = 0.0
) -> Augmentation:
    """Change brightness, contrast, saturation and hue at random; of a grey image, the first two."""
    from torchvision.transforms import v2

    return v2.ColorJitter(brightness, contrast, saturation, hue)


def _random_crop(*, padding: Annotated[int, Range(0, 1024)] = 4, size: tuple[int, int]) -> Augmentation:
    """Add `padding` black pixels on each side and crop the original size at a random place."""
    from torchvision.transforms import v2

    return v2.RandomCrop(size, padding=padding)


def _random_resized_crop(*, scale: list[float] = [0.5, 1.0], size: tuple[int, int]) -> Augmentation:  # noqa: B006 - read only
    """Crop a random part of the area within `scale` and resize it to the original size."""
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(size, scale=(scale[0], scale[1]))


def _random_erasing(*, p: Probability = 0.5, scale: list[float] = [0.02, 0.33]) -> Augmentation:  # noqa: B006 - read only
    """Blacken a random rectangle of the area within `scale`, with probability `p`."""
    from torchvision.transforms import v2

    erase = v2.RandomErasing(p, scale=(scale[0], scale[1]))  # on a tensor, as it leaves images alone
    return v2.Compose([v2.PILToTensor(), erase, v2.ToPILImage()])


def _rand_augment(*, num_ops: Count = 2, magnitude: Annotated[int, Range(0, 30)] = 9) -> Augmentation:
    """Apply `num_ops` random operations of strength `magnitude` of 30."""
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops, magnitude)


def _trivial_augment_wide_v2(*, num_magnitude_bins: Bins = 31) -> Augmentation:
    """One random operation at a random strength, torchvision's v2 transform: other draws than `trivial_augment`."""
    from torchvision.transforms import v2

    return v2.TrivialAugmentWide(num_magnitude_bins)


def _auto_augment(*, policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet") -> Augmentation:
    """Two random operations of a policy that was learnt on a data set."""
    from torchvision.transforms import v2

    return v2.AutoAugment(v2.AutoAugmentPolicy(policy))


AUGMENTATIONS: Registry[Callable[..., Augmentation]] = Registry(
    "augmentation",
    {
        "flip": _flip,
        "trivial_augment": _trivial_augment,
        "rotation": _rotation,
        "color_jitter": _color_jitter,
        "random_crop": _random_crop,
        "random_resized_crop": _random_resized_crop,
        "random_erasing": _random_erasing,
        "rand_augment": _rand_augment,
        "trivial_augment_wide_v2": _trivial_augment_wide_v2,
        "auto_augment": _auto_augment,
    },
    group="augmentations",
    supplied=("size",),
    adopt=lambda thing: factory_of(thing, 1),
)


FAST = {  # with data.fast_augment these change a whole batch at once, by a function of `batch_augmentations`
    "flip": "flip",
    "trivial_augment": "trivial_augment",
    "random_crop": "random_crop",
}


def register(name: str, augmentation: Callable[..., Augmentation]) -> None:
    """Make `data.transform` know an augmentation of your own. Raises ConfigError for a name that the library has."""
    AUGMENTATIONS.register(name, augmentation)


def build(name: str, settings: Mapping[str, Any], size: tuple[int, int]) -> Augmentation:
    """Return an augmentation with its settings; `size` (height, width) is that of the images that it is to return."""
    return AUGMENTATIONS[name](**settings, **({"size": size} if AUGMENTATIONS.needs(name) else {}))


def build_fast(name: str, settings: Mapping[str, Any], size: tuple[int, int]) -> Callable[[Tensor], Tensor] | None:
    """Return an augmentation of a whole batch, uint8 (n, c, h, w), or None where it has none; see `build`."""
    if name not in FAST:
        return None
    from dlworkflow.data.images import batch_augmentations

    own = {"size": size} if AUGMENTATIONS.needs(name) else {}
    return partial(getattr(batch_augmentations, FAST[name]), **settings, **own)


def not_fast(names: Sequence[str]) -> list[str]:
    """Return a note where `data.fast_augment` does nothing, or not for all of these augmentations."""
    slow, known = [name for name in names if name not in FAST], ", ".join(FAST)
    if len(slow) == len(names):
        why = f"{', '.join(slow)} has no fast way; {known} have one" if slow else "data.transform has no augmentation"
        return [f"data.fast_augment is not used: {why}"]
    if list(names) == ["flip"]:
        return ["data.fast_augment is not used: flip alone is always applied to a whole batch"]
    return [f"data.fast_augment: {', '.join(slow)} is applied image by image; {known} have a fast way"] if slow else []


def refused(name: str, settings: Mapping[str, Any]) -> list[str]:
    """Return what torchvision reports for settings whose types are right: a list too long, a range reversed."""
    if not any(isinstance(value, (list, tuple)) for value in settings.values()):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it warns of a reversed range
            build(name, settings, (8, 8))
    except (ValueError, TypeError, IndexError, UserWarning) as error:
        return [f"data.transform.{name}: {first_line(error)}"]
    return []
