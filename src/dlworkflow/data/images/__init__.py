"""Images: opening and decoding, transforms and augmentations, the cache of decoded images, the data set of files."""

from __future__ import annotations

from dlworkflow.registry import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "dataset": (
            "ImageData",
            "load_image",
        ),
    },
)
