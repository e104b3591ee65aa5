"""What an explanation of an image or of a row holds, as numbers, words and a figure."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from dlworkflow.analysis.explanation.curves import Curves
from dlworkflow.errors import ConfigError, unknown
from dlworkflow.files.notebook import Shown
from dlworkflow.files.numbers import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWS_EDGES = 0.5
"""From this rank correlation with the maps of untrained copies on, a map hardly depends on what was learned."""
_MOST_MAPS = 10  # of an image that a figure shows beside it

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Answered:
    """A class with its probability, or the `value` of a regression."""

    label: str | None = None
    probability: float | None = None
    value: float | None = None

    def text(self) -> str:
        """Return it as people read it: `pizza 92.1 %`, or the value."""
        return number(self.value) if self.probability is None else f"{self.label} {100 * self.probability:.1f} %"

    def as_object(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return (
            {"value": self.value}
            if self.probability is None
            else {"label": self.label, "probability": self.probability}
        )


@dataclass(frozen=True)
class ImageExplanation:
    """What in an image speaks for its likeliest classes, or in `error` why it could not be read.

    `answers` are these classes, best first, or the value of a regression; `grids` (answers, h, w) float32 are their
    maps at the size of the model, above 0 what speaks for the class and below 0 what speaks against it. `size` is
    (height, width) of the image, of which the model sees the part `seen`: left, top, right, bottom in its pixels.
    `curves` and `untrained`, the rank correlation with the maps of untrained copies, check the map of the first class;
    both are None where it was not checked. `trained` is False where the model itself has learned nothing. `image` is
    the image itself, shrunk for a figure.
    """

    source: str
    method: str = ""
    answers: tuple[Answered, ...] = ()
    grids: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1), np.float32), repr=False)
    size: tuple[int, int] = (0, 0)
    seen: Box = (0.0, 0.0, 0.0, 0.0)
    curves: Curves | None = field(default=None, repr=False)
    untrained: float | None = None
    trained: bool = True
    error: str | None = None
    image: Image.Image | None = field(default=None, repr=False, compare=False)

    def map_of(self, label: str | None = None) -> np.ndarray:
        """Return the map of a class, by default of the first, at the size of the image: float32 (height, width).

        What the model does not see is 0. Raises ConfigError for a class that was not explained.
        """
        labels = [answer.label for answer in self.answers]
        if label is not None and label not in labels:
            raise ConfigError(f"label: {unknown('class', label, filter(None, labels))}")
        return placed(self.grids[labels.index(label) if label is not None else 0], self.seen, self.size)

    def figure(self) -> Figure:
        """Draw the image and its maps side by side."""
        return draw_explanations([self])

    def sentences(self) -> list[str]:
        """Return in words whether the map of the first class is worth anything; nothing where that was not checked."""
        if self.curves is None:
            return []
        if not np.ptp(self.grids[0]):
            what = self.answers[0].label or "the value"
            return [f"the map is empty: by {self.method}, no part of the image speaks for {what}"]
        learned = _of_untrained(self.untrained) if self.trained else _NOT_TRAINED
        return [*_of_curves(self, self.curves), learned]

    def as_object(self) -> dict[str, Any]:
        """Return all but the maps as JSON can hold it."""
        found: dict[str, Any] = {"input": self.source}
        if self.error is not None:
            return found | {"error": self.error}
        found |= {"method": self.method, "answers": [answer.as_object() for answer in self.answers]}
        found |= {"size": [*self.size], "seen": [*self.seen]}
        if self.curves is not None:
            found |= {
                "curves": vars(self.curves) | {"areas": self.curves.areas},
                "untrained_correlation": self.untrained,
            }
        return found

    def _repr_png_(self) -> bytes | None:
        if self.error is not None:
            return None
        png = io.BytesIO()
        self.figure().savefig(png, format="png")
        return png.getvalue()


@dataclass(frozen=True)
class RowExplanation(Shown):
    """What in a row of numbers or of a table speaks for its answer, or in `error` why there is none.

    `contributions` {column: number} add up to the difference between the raw score of this row and that of a row of
    which nothing is known, whose answer is `start`: of a table its mean training row, else a row of zeros. The score is
    the logit of a class, after calibration where there is one (+1 makes it 2.7 times as likely against a class whose
    logit stays), or the value of a regression.
    """

    source: str
    method: str = ""
    answer: Answered = Answered()
    start: Answered = Answered()
    contributions: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    def shown_rows(self) -> Sequence[dict[str, Any]]:
        """Return a row for each column, the largest contribution first."""
        ranked = sorted(self.contributions.items(), key=lambda item: -abs(item[1]))
        return [{"column": name, "contribution": value} for name, value in ranked]

    def as_object(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        if self.error is not None:
            return {"input": self.source, "error": self.error}
        found = {"input": self.source, "method": self.method, **self.answer.as_object()}
        return found | {"start": self.start.as_object(), "contributions": self.contributions}


def placed(grid: np.ndarray, seen: Box, size: tuple[int, int]) -> np.ndarray:
    """Return a map at the size (height, width) of an image, float32, 0 outside the part of it that was `seen`."""
    left, top = (round(start) for start in seen[:2])
    right, bottom = max(left + 1, round(seen[2])), max(top + 1, round(seen[3]))
    whole = np.zeros(size, dtype=np.float32)
    part = Image.fromarray(grid.astype(np.float32)).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    whole[top:bottom, left:right] = np.asarray(part)[: size[0] - top, : size[1] - left]
    return whole


def draw_explanations(found: Sequence[ImageExplanation]) -> Figure:
    """Draw images and their maps, a row each, at most 13 of 10 maps; an unreadable one has its reason."""
    from dlworkflow.plotting import plot_heat_maps

    shown = [_drawn(each.image, each.grids, each.size, each.seen) for each in found]
    titles = [
        [
            f"{Path(each.source).name}{f': {each.error}' if each.error else ''}",
            *(answer.text() for answer in each.answers[:_MOST_MAPS]),
        ]
        for each in found
    ]
    return plot_heat_maps(
        [each.image for each in found], [maps for maps, _ in shown], titles, seen=[box for _, box in shown]
    )


def _drawn(
    image: Image.Image | None, grids: np.ndarray, size: tuple[int, int], seen: Box
) -> tuple[list[np.ndarray], Box | None]:
    """Return maps at the size of an image that was shrunk for a figure, and the part that is seen, if it is not all."""
    if image is None:
        return [], None
    across, down = image.width / size[1], image.height / size[0]
    box = (seen[0] * across, seen[1] * down, seen[2] * across, seen[3] * down)
    maps = [placed(grid, box, (image.height, image.width)) for grid in grids[:_MOST_MAPS]]
    return maps, None if seen == (0.0, 0.0, size[1], size[0]) else box


def _of_curves(found: ImageExplanation, curves: Curves) -> list[str]:
    first = found.answers[0]
    is_value = first.probability is None
    what = "the value" if is_value else f"the probability of {first.label!r}"

    def text(value: float) -> str:
        return number(value) if is_value else f"{100 * value:.0f} %"

    areas = {name: f"{area:.3f}" for name, area in curves.areas.items()}
    both = f"{curves.deletion_beats} and {curves.insertion_beats} of {curves.places} random places"
    if min(curves.deletion_beats, curves.insertion_beats) == curves.places:
        verdict = (
            f"better than all {curves.places} random places, which luck does 1 time in {curves.places + 1} at most"
        )
    elif max(curves.deletion_beats, curves.insertion_beats) == curves.places:
        verdict = f"better than {both}: the map is a part of the reason at most"
    else:
        verdict = f"better than {both}, which is not clearly more than chance: do not rely on this map"
    return [
        f"hiding the marked tenth of the image changes {what} from {text(curves.deletion[0])} to "
        f"{text(curves.deletion[1])}; hiding as much elsewhere, to {text(curves.random_deletion[1])} on average",
        f"showing the marked tenth alone changes it from {text(curves.insertion[0])} (nothing shown) to "
        f"{text(curves.insertion[1])}; as much elsewhere alone, to {text(curves.random_insertion[1])}",
        f"area under the deletion curve {areas['deletion']} (elsewhere {areas['random_deletion']}, lower is better), "
        f"insertion curve {areas['insertion']} (elsewhere {areas['random_insertion']}, higher is better): {verdict}",
    ]


_NOT_TRAINED = "warning: the model is not trained: the map shows nothing that it has learned"


def _of_untrained(correlation: float | None) -> str:
    if correlation is None or math.isnan(correlation):
        return "untrained copies of the model give no map to compare with"
    start = f"the maps of untrained copies of the model correlate {correlation:.2f} with it"
    if correlation >= SHOWS_EDGES:
        return f"warning: {start}: it shows what any network would mark, as edges, rather than what this one learned"
    return f"{start}: the map depends on the weights"
