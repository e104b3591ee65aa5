"""What a server takes and does at once: plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from dlworkflow.data.images.decoding import pixel_limit
from dlworkflow.errors import ConfigError, plain


@dataclass(frozen=True)
class Limits:
    """The limits of a server; a request beyond one is answered with an error.

    A request has at most `bytes` in its body, `files` images of `pixels` each, or `rows`. It is read in `seconds` and
    predicted in as many. At most `queue` requests are handled at once, with `memory` bytes in their bodies together,
    or `bytes` if that is more. A batch of the model is at most `batch_size` images. Raises ConfigError for a limit that
    is not above 0.
    """

    bytes: int = 64 * 1024**2
    files: int = 32
    rows: int = 4096
    pixels: int = field(default_factory=pixel_limit)
    seconds: float = 30
    queue: int = 128
    memory: int = 512 * 1024**2
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Check every limit."""
        given = asdict(self).items()
        if wrong := [f"{name}: must be above 0, not {plain(value)}" for name, value in given if not value > 0]:
            raise ConfigError(*wrong)
