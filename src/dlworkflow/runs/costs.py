"""What a prediction of a run costs, as `costs.json` in its folder holds it: time, memory, multiplications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dlworkflow.runs.found import Found


@dataclass(frozen=True, kw_only=True)
class Costs(Found):
    """What `dlw costs` measured; of no split, whatever `split` holds.

    `milliseconds` is the median time of one input, `milliseconds_in_batch` that of each of 32 together: from numbers
    of the model's size to probabilities. `milliseconds_reading` is that of reading a JPEG of 512x512 pixels for it,
    None where inputs are no images. `memory_bytes` is what loading the model and one prediction take of a process of
    their own beyond what the libraries do, None where the system does not tell. `mult_adds` are the multiplications of
    one input in convolutions and matrix products.
    """

    file: ClassVar[str] = "costs"

    size_bytes: int
    parameters: int
    mult_adds: int
    milliseconds: float
    milliseconds_in_batch: float
    milliseconds_reading: float | None
    memory_bytes: int | None
    device: str
    threads: int
    machine: str

    @property
    def measured_on(self) -> str:
        """The device, the number of threads and the machine: times of others are not comparable."""
        return f"{self.device}, {self.threads} thread{'s' * (self.threads != 1)}, {self.machine}"

    def as_columns(self) -> dict[str, Any]:
        """Return the columns of a comparison."""
        return {
            "size_mb": self.size_bytes / 1e6,
            "mult_adds": self.mult_adds,
            "ms": self.milliseconds,
            "ms_in_batch": self.milliseconds_in_batch,
            "memory_mb": None if self.memory_bytes is None else self.memory_bytes / 1e6,
            "measured_on": self.measured_on,
        }
