"""What an exported file says of itself: labels, preprocessing, the run it is of. Imports neither torch nor ONNX."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from dlworkflow._version import __version__
from dlworkflow.data.columns import Columns
from dlworkflow.errors import ModelError
from dlworkflow.registry.user_files import digest_of
from dlworkflow.runs.stored import Count, Layout, Size, Stored, damaged, is_wrong, read_object

FORMAT = 1
METADATA_KEY = "dlworkflow"
"""The property of an ONNX file, and the extra file of a `.pt2`, that hold the description as JSON."""
PROBABILITIES, VALUES = "probabilities", "values"
"""The output of a model: (n, classes) float32; of a regression (n, 1) float32, in the unit of the targets."""
IMAGES, ROWS, NUMBERS, CATEGORIES = "images", "rows", "numbers", "categories"
"""The inputs of a model, see `Description.inputs`."""
TEST, RANDOM = "test split", "random inputs"
"""Where the samples of a comparison with the run are from."""


@dataclass(frozen=True)
class Parity:
    """How far the predictions of an exported file are from those of its run, over the same samples."""

    samples: Size
    source: str
    """What they are: `test split`, or `random inputs` where the data is gone."""
    difference: float
    """The largest difference of a probability; of a value, relative to the largest of the run's values."""
    changed: Size
    """Samples whose label, or set of labels, is another; 0 of a regression."""

    def text(self, task: str) -> str:
        """Return it as a sentence."""
        of = f"{self.samples:,} samples of the test split" if self.source == TEST else f"{self.samples:,} {self.source}"
        difference = f"{self.difference:.1e}" if self.difference else "0"
        if task == "regression":
            return f"{of}: largest difference of a value {difference} of the largest value"
        return f"{of}: largest difference of a probability {difference}, changed labels {self.changed:,}"


@dataclass(frozen=True, kw_only=True)
class Description(Stored):
    """What a receiver of an exported model needs to use it; holds no path and no user's name."""

    format: int = FORMAT
    version: str = __version__
    """That of dlworkflow."""
    opset: Count | None = None
    """The version of ONNX's operators; None in another format."""
    run: str
    model: str
    weights: Literal["best", "last"]
    scored: str | None = None
    """What the weights are: `weights`, or `averaged weights` (EMA)."""
    digest: str
    """SHA-256 of the run's file of weights, hexadecimal."""
    weights_size: Size
    """Bytes of that file."""
    weights_mtime_ns: int
    """When it was written, in nanoseconds since 1970: where size and time are the same, no digest is taken again."""
    task: Literal["regression", "binary", "multiclass", "multilabel"]
    classes: list[str]
    in_shape: list[Count]
    """(channels, height, width) of an image, or (width,) of the numbers that the network takes."""
    transform: list[dict[str, Any]] | None = None
    """How an image gets to its size, and what the file does with it afterwards: `Pipeline.to_spec`; None of numbers."""
    columns: dict[str, Any] | None = None
    """Those of a table: `data.columns.Columns.to_data`."""
    thresholds: list[float] | None = None
    """The probability from which each class is predicted; None unless the task is multilabel."""
    temperature: float | None = None
    """By which raw scores are divided before they become probabilities; None for 1: not calibrated."""
    parity: Parity | None = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the description with the values of `data`, which are checked already or new."""
        found = data.get("parity")
        parity = Parity(*(found[part.name] for part in fields(Parity))) if found else None
        return super().from_data({**data, "parity": parity})

    def to_data(self) -> dict[str, Any]:
        """Return all values by key, as JSON holds them."""
        return super().to_data() | {"parity": vars(self.parity) if self.parity else None}

    def to_text(self) -> str:
        """Return it as JSON on one line; `read_description` takes it back."""
        return json.dumps(self.to_data(), ensure_ascii=False, allow_nan=False)

    @property
    def kind(self) -> str:
        """`image` or `tabular`: what can be predicted."""
        return "tabular" if self.transform is None else "image"

    @property
    def inputs(self) -> list[str]:
        """The names of the model's inputs, each with n samples.

        `images` is uint8 (n, channels, height, width); `rows` float32 (n, width). A table has `numbers`, float64
        (n, columns of numbers) in the table's units, nan where a value is missing, and `categories`, text (n, other
        columns), empty where one is missing; each in the order of `columns`, and left out where it has no columns.
        """
        if self.kind == "image":
            return [IMAGES]
        if self.columns is None:
            return [ROWS]
        are_texts = {column.get("categories") is not None for column in self.columns["inputs"]}
        return [name for name, is_text in ((NUMBERS, False), (CATEGORIES, True)) if is_text in are_texts]

    @property
    def output(self) -> str:
        """The name of the model's output."""
        return VALUES if self.task == "regression" else PROBABILITIES

    def is_of(self, weights: Path) -> bool:
        """Return whether a file of weights is the one that was exported; read where size and time do not decide."""
        try:
            state = weights.stat()
            if state.st_size != self.weights_size:
                return False
            same = state.st_mtime_ns == self.weights_mtime_ns
            if same and state.st_mtime_ns % 1_000_000_000:  # whole seconds may be an archive's, the same for all files
                return True
            return digest_of(weights) == self.digest
        except OSError:
            return False


_LAYOUT = Layout(
    Description,
    needed={},
    possible={
        "parity.samples": Size,
        "parity.source": str,
        "parity.difference": float,
        "parity.changed": Size,
    },
)


def read_description(metadata: Mapping[str, str], *, source: str) -> Description:
    """Return the description among the properties of a model file, `source`.

    Those of an ONNX file are `InferenceSession.get_modelmeta().custom_metadata_map`. Raises ModelError for a file that
    was not written by `dlw export`, and RunError for one that is damaged or of a newer version.
    """
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{source} does not describe its labels and preprocessing: it was not written by `dlw export`")
    data = read_object(text, source=source, name=source, newest=FORMAT)
    if fault := _LAYOUT.fault(data) or _contradiction(data):
        raise damaged(source, fault)
    return Description.from_data(data)


def _contradiction(data: Mapping[str, Any]) -> str:
    """Return which values do not go together, or nothing."""
    n_classes, is_image = len(data["classes"]), data.get("transform") is not None
    if not {"regression": n_classes == 0, "binary": n_classes == 2}.get(data["task"], n_classes >= 1):
        return f"{n_classes} classes are no {data['task']} task"
    if len(data["in_shape"]) != (3 if is_image else 1):
        return is_wrong("in_shape", data["in_shape"])
    thresholds = data.get("thresholds") or []
    if len(thresholds) != (n_classes if data["task"] == "multilabel" else 0) or not all(map(math.isfinite, thresholds)):
        return is_wrong("thresholds", thresholds)
    if (parity := data.get("parity")) and (lacking := [f.name for f in fields(Parity) if f.name not in parity]):
        return f"it lacks {', '.join(f'parity.{name}' for name in lacking)}"
    try:
        _ = data.get("columns") and Columns.from_data(data["columns"])
    except (AttributeError, KeyError, TypeError):
        return is_wrong("columns", data["columns"])
    return ""
