"""What another library publishes for a model: its weights, where they are, and how an image is prepared for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """Weights of another library by their name, and the preprocessing of an image that they were trained with.

    They are in the file `file` of an installed package, of a repository on the Hugging Face hub, or at a `url`; in
    none of these where a library publishes no weights for the model. `size` is in MB, 0 where it is not known.
    The shorter side is resized to `resize` pixels before the middle, `crop` (height, width), is cut out; without
    `resize` an image is stretched to `crop`.
    """

    model: str
    name: str
    crop: tuple[int, int]
    resize: int | None
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    file: str = ""
    package: str = ""
    hub: str = ""
    url: str = ""
    size: float = 0.0

    @property
    def exists(self) -> bool:
        """Whether there are any weights."""
        return bool(self.package or self.hub or self.url)

    @property
    def digest(self) -> str | None:
        """The first digits of the file's sha256, where its name has them."""
        found = re.search(r"-([0-9a-f]{8,})\.", self.file)
        return found[1] if found else None

    def steps(self, image_size: tuple[int, int] | None = None, channels: int = 3) -> list[dict[str, Any]]:
        """Return the preprocessing as the steps of a transform.

        Another `image_size` scales the resizing with it; images of one channel get the statistics' mean over three.
        """
        size = list(image_size or self.crop)
        geometry: list[dict[str, Any]] = [{"resize": {"size": size, "interpolation": self.interpolation}}]
        if self.resize is not None:
            shorter = self.resize * max(size) // max(self.crop)
            geometry = [{"resize": {"shorter": shorter, "interpolation": self.interpolation}}]
            geometry.append({"center_crop": {"size": size}})
        mean, std = (list(values) if channels == 3 else [sum(values) / 3] for values in (self.mean, self.std))
        return [*geometry, {"normalize": {"mean": mean, "std": std}}]
