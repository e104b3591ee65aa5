"""The formats of an exported model, a class each, and their table; imports neither torch nor ONNX before one is used.

A class of your own takes the network and has what `Format` has; `FORMATS.register` adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from dlworkflow.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from dlworkflow.inference.export.description import Description
    from dlworkflow.inference.export.network import Network


class Format(Protocol):
    """A run's model in one format; converted from the `Network`. `example` are raw inputs, of 2 samples.

    Raises ModelError for a model that it cannot hold, and ConfigError for a package that is missing.
    """

    suffix: str
    """The ending of a file's name, without the dot."""
    opset: int | None
    """The version of ONNX's operators; None in another format."""
    has_labels_beside: bool
    """Whether the description is also written beside it, as `labels.json`."""

    def __init__(self, network: Network, example: Mapping[str, np.ndarray]) -> None: ...

    def content(self, description: Description) -> bytes:
        """Return the whole file, with a description in it."""
        ...

    def answers(self, content: bytes, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what a file with this content predicts for raw inputs, (n, classes) or (n, 1); see `Description`."""
        ...


FORMATS: Registry[type[Format]] = Registry(
    "export format",
    {
        "onnx": "onnx_file:OnnxFile",
        "torch": "torch_file:TorchFile",
        "safetensors": "safetensors_file:SafetensorsFile",
    },
    group="formats",
    package="dlworkflow.inference.export",
    section="",
)
