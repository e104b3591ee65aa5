"""What is wrong with shards: every byte is held against the index, every sample read, every image decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from dlworkflow.data.check.report import Finding, FolderReport, MinMedianMax, ratios_of
from dlworkflow.data.images.decoding import ImageError, TooManyPixelsError, opened
from dlworkflow.data.images.digests import shard_digest
from dlworkflow.data.protocol import OnProgress
from dlworkflow.data.shards.finding import find_shards
from dlworkflow.data.shards.index import Shard
from dlworkflow.data.shards.samples import need_webdataset
from dlworkflow.data.shards.streams import samples_of
from dlworkflow.errors import DataError, first_line


def check_shards(path: str, *, on_progress: OnProgress | None = None, max_pixels: int | None = None) -> FolderReport:
    """Read all shards of a folder or pattern once and say what is wrong with them; nothing is changed.

    The same image in several splits is not looked for: `check_folder` does so before shards are written. Raises
    DataError where it cannot even be said which shards and classes there are.
    """
    need_webdataset()
    found = find_shards(path, checked=False)
    seen = _Seen(max_pixels)
    for done, shard in enumerate(found.shards, start=1):
        seen.findings.extend(seen.look(shard, len(found.classes)))
        if on_progress is not None:
            on_progress(done, len(found.shards))
    counts = {
        split: dict(zip(found.classes, map(sum, zip(*(shard.counts for shard in shards), strict=True)), strict=True))
        for split, shards in found.splits.items()
    }
    return FolderReport(
        path=path,
        layout="shards",
        counts=counts,
        ratios=ratios_of(counts),
        width=MinMedianMax.of(seen.widths.elements()),
        height=MinMedianMax.of(seen.heights.elements()),
        modes=dict(seen.modes.most_common()),
        formats=dict(seen.formats.most_common()),
        n_files=len(found.shards),
        n_read=len(found.shards),
        findings=tuple(seen.findings),
    )


class _Seen:
    """What was seen of the images so far."""

    def __init__(self, max_pixels: int | None) -> None:
        self._max_pixels = max_pixels
        self.findings: list[Finding] = []
        self.widths: Counter[int] = Counter()
        self.heights: Counter[int] = Counter()
        self.modes: Counter[str] = Counter()
        self.formats: Counter[str] = Counter()

    def look(self, shard: Shard, n_classes: int) -> Iterator[Finding]:
        """Give what is wrong with one shard."""
        name = shard.path.name
        try:
            if shard.digest and shard_digest(shard.path) != shard.digest:
                yield Finding(
                    "damaged", "its bytes are not those that its index tells of; copy or write it again", (name,)
                )
            for sample in samples_of(shard, n_classes):
                if (fault := self._image(f"{name}/{sample.member}", sample.image)) is not None:
                    yield fault
        except OSError as error:
            yield Finding("damaged", f"cannot be read: {error.strerror or first_line(error)}", (name,))
        except DataError as error:
            yield Finding("damaged", str(error), (name,))

    def _image(self, name: str, content: bytes) -> Finding | None:
        try:
            with opened(name, content=content, max_pixels=self._max_pixels) as image:
                self.widths[image.width] += 1
                self.heights[image.height] += 1
                self.modes[image.mode] += 1
                self.formats[image.format or ""] += 1
        except ImageError as error:
            kind = "too_many_pixels" if isinstance(error, TooManyPixelsError) else "unreadable"
            return Finding(kind, error.reason, (name,))
        return None
