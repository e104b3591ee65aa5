"""What a data set may offer beyond torch's `Dataset`, with one function for each question; knows no data set.

A plain Dataset offers none of this and works everywhere. A data set of your own may have any of these members:

| member | what it is |
|---|---|
| `labels` or `targets` | the labels of all samples, (n,), of a multilabel task (n, classes): list, array or tensor |
| `groups` | what each sample belongs to, (n,) hashable, as a patient: no group is in two splits or folds |
| `table_rows` | the rows of a table that the samples are, with the columns that are no input: `TableRows` |
| `samples_a_class` | the number of samples of each class, where the labels are not in memory |
| `batch(indices)` | many samples at once, see `AnswersBatches` |
| `shards`, `stream_batches(...)` | batches in the order of the files, see `Streamed` |
| `is_random` | False where a sample is the same in every epoch, True where it may change |
| `n_bytes_of_fixed_sample` | bytes of one sample's inputs, where all are in memory and never change |
| `n_bytes`, `on_device(device)` | bytes of all inputs, and the same data set on a device |
| `remember(on_progress)` | reads all samples now and keeps them, where they fit |
| `skips`, `left_out`, `drop_left_out()` | leaves out unreadable files; {path: error} of these; removes them for good |
| `paths` | the files of the samples, in order |
| `fingerprint()`, `fingerprint_known` | a digest that changes when the data does; whether it needs no more reading |
| `former_fingerprint()` | the digest of version 0.1, or None |
| `subset(indices, name)` | some of the samples, in this order; parts of another `name` are cached apart |
| `remember_with(whole, indices)` | reads all samples of `whole`, of which these are some, where they fit |
| `at(indices)` | some samples of a stream, held in memory |
| `cut(fraction, random_state)` | (train, validation, note), where only whole files can be held out |
| `shared(rank, size, take_over)` | the files that one of several processes reads |
| `without_augmentation()` | the same samples as evaluation takes them |
| `original(index, longest=...)` | a sample as people look at it, before normalization |
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.utils.data import Dataset

Samples: TypeAlias = "tuple[Tensor, Tensor]"
"""Inputs (n, *in_shape) and labels (n, ...) of n samples."""

OnProgress = Callable[[int, int], object]
"""Called with (number done, number in all)."""


@runtime_checkable
class AnswersBatches(Protocol):
    """A data set that returns many samples in one call: inputs (n, *in_shape) and labels (n, ...)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...

    def batch(self, indices: Sequence[int] | Tensor) -> Samples:
        """Return inputs and labels of these samples, stacked."""
        ...


@runtime_checkable
class Streamed(Protocol):
    """A data set that is read from first to last, file after file, and makes its own batches."""

    @property
    def shards(self) -> Sequence[Any]:
        """Its files, each of which is read by one reader."""
        ...

    def stream_batches(
        self,
        batch_size: int,
        *,
        shuffle: bool = False,
        num_workers: int = 0,
        generator: torch.Generator | None = None,
        pinned: bool = False,
    ) -> Iterable[Samples]:
        """Return batches to be iterated once per epoch; with `pinned`, in memory that a GPU copies from soon."""
        ...


def is_random(part: Dataset[Any]) -> bool:
    """Return whether a sample may change from one epoch to the next; a data set that does not declare it may."""
    declared = getattr(part, "is_random", None)
    return not n_bytes_of_fixed_sample(part) if declared is None else bool(declared)


def n_bytes_of_fixed_sample(part: Any) -> int:
    """Return the size of one sample's inputs where all are in memory and never change, else 0."""
    return getattr(part, "n_bytes_of_fixed_sample", None) or 0


def labels_of(part: Any) -> Tensor | None:
    """Return the labels of all samples, (n,), or None where only the samples know them.

    Where a sample has several, they are (n, classes) of 0 and 1.
    """
    import torch

    given = getattr(part, "labels", getattr(part, "targets", None))
    if given is None:
        return None
    labels = torch.as_tensor(given)
    return labels if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)


def groups_of(part: Any) -> Sequence[Hashable] | None:
    """Return the group of each sample, (n,), or None where samples have none."""
    found = getattr(part, "groups", None)
    return None if found is None else list(found)


def counts_of(part: Any, n_classes: int) -> Tensor | None:
    """Return the number of samples of each class, (n_classes,) int64, or None where it is not known.

    Where a sample has several labels, it counts for each.
    """
    import torch

    if (counts := getattr(part, "samples_a_class", None)) is not None:
        return torch.as_tensor(counts)
    labels = labels_of(part) if n_classes else None  # the labels of a regression are no classes
    if labels is None or labels.ndim == 1:
        return None if labels is None else torch.bincount(labels.long(), minlength=n_classes)
    return labels.long().sum(dim=0)


def batch_of(part: Any, indices: Sequence[int] | Tensor) -> Samples:
    """Return inputs (n, ...) and labels (n, ...) of these samples, stacked as torch's DataLoader stacks them."""
    if isinstance(part, AnswersBatches):
        return part.batch(indices)
    from torch.utils.data import default_collate

    X, y = default_collate([part[int(index)] for index in indices])
    return X, y


def all_of(part: Any) -> Samples:
    """Return inputs (n, ...) and labels (n, ...) of the whole data set."""
    return batch_of(part, range(len(part)))


def original_of(part: Any, index: int, *, longest: int | None = None) -> Any:
    """Return one sample as people look at it: an image before normalization, else the inputs as they are.

    Images of files are shrunk until no side has more than `longest` pixels.
    """
    original = getattr(part, "original", None)
    return part[index][0] if original is None else original(index, longest=longest)


def files_of(part: Any) -> Sequence[Path] | None:
    """Return the files of the samples, in order, or None."""
    return getattr(part, "paths", None)


def remember(part: Any, on_progress: OnProgress | None = None, *, ahead: bool = False) -> None:
    """Read and keep all samples now, where the data set can. Raises DataError for unreadable files.

    With `ahead`, image files may be read while the first of them are used already.
    """
    if ahead and hasattr(part, "read_soon"):
        part.remember(on_progress, ahead=True)
    else:
        _call(part, "remember", on_progress)


def read_soon(part: Any, order: Tensor) -> None:
    """Name the order in which samples will be asked for, to a data set that reads ahead."""
    _call(part, "read_soon", order)


def skips(part: Any) -> bool:
    """Return whether unreadable files are left out, so that a batch may be smaller or empty."""
    return bool(getattr(part, "skips", False))


def left_out_of(part: Any) -> Mapping[Path, Exception]:
    """Return {file: error} of the files that were left out so far."""
    return getattr(part, "left_out", {})


def drop_left_out(part: Any) -> None:
    """Remove the files that were left out, so that indices, labels and files are those of the others."""
    _call(part, "drop_left_out")


def fingerprint_of(part: Any) -> str | None:
    """Return a digest that changes when the data does, or None; files that were not read yet are read."""
    return _call(part, "fingerprint")


def knows_fingerprint(part: Any) -> bool:
    """Return whether `fingerprint_of` needs to read no file."""
    return bool(getattr(part, "fingerprint_known", True))


def former_fingerprint_of(part: Any) -> str | None:
    """Return the digest of names and sizes that version 0.1 took of files, or None."""
    return _call(part, "former_fingerprint")


def without_augmentation(part: Any) -> Any:
    """Return the same samples as evaluation takes them."""
    plain = _call(part, "without_augmentation")
    return part if plain is None else _with_origin(plain, part, range(len(part)))


def subset_of(part: Any, indices: Sequence[int], *, name: str) -> Any:
    """Return some of the samples, in this order; of a plain Dataset, torch's `Subset` with their labels."""
    if (own := getattr(part, "subset", None)) is not None:
        return _with_origin(own(indices, name), part, indices)
    from torch.utils.data import Subset

    chosen: Any = Subset(part, indices)
    labels = labels_of(part)
    chosen.labels = None if labels is None else labels[indices]
    return _with_origin(chosen, part, indices)


def _with_origin(some: Any, part: Any, indices: Sequence[int]) -> Any:
    """Set the groups and the rows of a table of some samples of a part, where it has any."""
    if (groups := groups_of(part)) is not None:
        some.groups = [groups[index] for index in indices]
    if (rows := getattr(part, "table_rows", None)) is not None:
        some.table_rows = rows.subset(indices)
    return some


def remember_with(part: Any, whole: Any, indices: Sequence[int]) -> None:
    """Let `remember` read all samples of `whole`, where the data set can: the part has these of them."""
    _call(part, "remember_with", whole, indices)


def held(part: Any, n: int) -> Any:
    """Return the first n samples of a stream, held in memory."""
    return part.at(range(n))


def cut_files(part: Any, fraction: float, random_state: int) -> tuple[Any, Any, str] | None:
    """Return (train, validation, note) where only whole files can be held out, else None."""
    return _call(part, "cut", fraction, random_state)


def shared_files(part: Any, rank: int, size: int, take_over: Callable[[], object]) -> Any:
    """Return the files that process `rank` of `size` reads, or None; `take_over` is called before random draws."""
    return _call(part, "shared", rank, size, take_over)


def on_device(part: Any, device: torch.device, free: int) -> Any:
    """Return the data set with its samples on a device, where they never change and take half of `free` at most."""
    can_move = hasattr(part, "on_device") and n_bytes_of_fixed_sample(part) > 0
    return part.on_device(device) if can_move and part.n_bytes <= free // 2 else part


def _call(part: Any, name: str, *given: Any) -> Any:
    own = getattr(part, name, None)
    return None if own is None else own(*given)
