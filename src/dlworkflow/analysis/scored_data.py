"""What a run is scored on: a split of its own data, or of other data matched to its classes. Scores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dlworkflow import data
from dlworkflow.config import DataSettings
from dlworkflow.data.datasets.labelled import load_labelled
from dlworkflow.data.folders.image_table import Columns
from dlworkflow.data.images.options import OnBad
from dlworkflow.data.images.transforms import parse
from dlworkflow.data.protocol import files_of, fingerprint_of, without_augmentation
from dlworkflow.data.selection import SELECTION, limited_part, select
from dlworkflow.data.shards.loading import load_labelled_shards
from dlworkflow.data.shards.names import shards_path
from dlworkflow.data.splits import Splits, has_changed, is_former
from dlworkflow.data.tables.labelled import load_labelled_table
from dlworkflow.errors import ConfigError, DataError, MissingDataError, RunError, few
from dlworkflow.files.paths import user_path
from dlworkflow.inference.rebuild import take_code
from dlworkflow.inference.stored import stored_columns, stored_target
from dlworkflow.registry.user_code import is_code
from dlworkflow.runs import Run, Summary


@dataclass(frozen=True)
class Part:
    """A split to score: its samples in evaluation's preprocessing, a name for it, and files where there are any.

    `fingerprint` is that of a split of the run's own data at training, where it is known.
    `skipped` unreadable images were left out; `notes` name them.
    """

    name: str
    dataset: Dataset[Any]
    fingerprint: str | None = None
    skipped: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def changed(self) -> bool:
        """Whether a split of the run's own data is not what it was trained on.

        Files that have not been read yet are read for it: scoring the split first saves that.
        """
        return has_changed(self.dataset, self.fingerprint)

    def change(self, name: str) -> str:
        """Return in words that the data of a run with this name has changed, else an empty text."""
        words = f"the {self.name} split is no longer what {name} was trained with: its data has changed"
        return words if self.changed else ""

    def remarks(self, name: str) -> list[str]:
        """Return what is to be known of the samples: which were left out or chosen, and that they have changed."""
        return [*self.notes, *filter(None, [self.change(name)])]

    @cached_property
    def digest(self) -> str | None:
        """The fingerprint of the samples as they are now, None where they have none; reads files as `changed` does."""
        return fingerprint_of(self.dataset)

    @property
    def fingerprint_is_former(self) -> bool:
        """Whether names and sizes alone are compared, as all that an older version noted of the files."""
        return is_former(self.fingerprint, self.dataset)

    @property
    def files(self) -> Sequence[Path] | None:
        """The image files of the samples, in order, or None."""
        return files_of(self.dataset)


def load_splits(
    run: Run,
    *,
    offline: bool = False,
    data_dir: str | None = None,
    on_bad: OnBad | None = None,
    without_folds: bool = False,
    whole: bool = False,
) -> Splits:
    """Load the data that a run was trained on, by its own settings, `on_bad` as given.

    `without_folds` gives the whole training data and the own test split of a run whose test split is a fold; `whole`
    gives those of any run, with what it held out for validation. Raises DataError when the data is not there, and
    RunError when its classes are no longer those of the run.
    """
    summary = run.summary()
    take_code(run)
    stored = summary.config["data"]
    settings = {key: value for key, value in stored.items() if key not in DataSettings.model_fields}
    settings |= _on_bad(stored["name"], on_bad)
    splits = data.load(stored["name"], data_dir=data_dir or stored["data_dir"], offline=offline, **settings)
    chosen = ("limit",) if whole or (without_folds and stored.get("folds")) else SELECTION
    splits = select(splits, **{key: stored[key] for key in chosen if key in stored})
    if list(splits.classes) != summary.classes:
        raise RunError(
            f"the classes of {splits.name!r} are no longer those of {run.name}: "
            f"now {few(splits.classes)}; then {few(summary.classes)}"
        )
    return splits


def load_part(
    run: Run,
    split: str = "test",
    *,
    other: str | None = None,
    ignore_extra: bool = False,
    on_bad: OnBad | None = None,
    data_dir: str | None = None,
    offline: bool = False,
    limit: float | None = None,
    without_folds: bool = False,
) -> Part:
    """Load a split of a run's own data, or of `other`: a path to images, or a data set by name or `file.py:load`.

    Images' classes are matched to the run's by name; a data set of the table and shards must have the run's own.
    `on_bad` is what becomes of images that cannot be read: as in the run's settings for its own data, else an
    error. `limit` takes some of the samples, see `limited_part`; `without_folds` is as for `load_splits`. Raises
    DataError when classes differ or the split is not there.
    """
    if other is None:
        splits = _own_splits(run, data_dir=data_dir, offline=offline, on_bad=on_bad, without_folds=without_folds)
        known = {} if without_folds else run.data_fingerprints()
        part = replace(_part(split, split, splits), fingerprint=known.get(split))
        part = replace(part, notes=tuple(dict.fromkeys((*splits.selected, *part.notes))))
    else:
        other = data.locate(other)["name"] if is_code(other) else other
        load = _part_of_table if other in data.names() else _part_of_path
        given: dict[str, Any] = {"ignore_extra": ignore_extra, "on_bad": on_bad}
        part = load(run, other, split, **given, data_dir=data_dir, offline=offline)
    return part if limit is None else _limited(part, limit, classes=bool(run.summary().classes))


def _limited(part: Part, limit: float, *, classes: bool) -> Part:
    """Return some samples of a part, under a name of its own, so that its files stand beside those of the whole."""
    some, _ = limited_part(part.dataset, limit, classes=classes, name=part.name)
    note = f"limited to {len(some):,} of {len(part.dataset):,} samples: the scores are of these alone"  # type: ignore[arg-type]
    return replace(part, name=f"{part.name}-limited", dataset=some, fingerprint=None, notes=(*part.notes, note))


def _part_of_path(run: Run, path: str, split: str, *, ignore_extra: bool, on_bad: OnBad | None, **_: object) -> Part:
    """Load a table, images or shards of a user's own."""
    summary = run.summary()
    if (columns := stored_columns(summary)) is not None:
        known = {
            "task": summary.task,
            "split": split,
            "split_column": summary.config["data"].get("split_column") or "split",
        }
        rows = load_labelled_table(path, columns, summary.classes, stored_target(summary), **known)
        return Part(_name_of(Path(path), split), rows)
    if summary.kind != "image":
        raise DataError(f"--data: {run.name} takes numbers; name a data set of `dlw data list`, not {path!r}")
    channels = summary.in_shape[0]
    pipeline = parse(summary.transform, channels=channels)
    options: dict[str, Any] = {"split": split, "on_bad": on_bad or "error"}
    if (shards := shards_path(path)) is None:
        options |= {"columns": _columns(summary), "target": stored_target(summary)}
        found = load_labelled(path, summary.classes, pipeline, channels, ignore_extra=ignore_extra, **options)
        return Part(_name_of(Path(path), split), found.images, skipped=found.skipped, notes=found.notes)
    if summary.task != "multiclass":
        raise DataError(f"--data: shards hold one class per image; the task of {run.name} is {summary.task}")
    if ignore_extra:
        raise DataError(f"--ignore-extra: shards must have the classes of the run: {path!r}")
    streamed, skipped, notes = load_labelled_shards(shards, summary.classes, pipeline, channels, **options)
    whole = Path(shards)
    name = _name_of(whole, split) if whole.is_dir() else f"{whole.parent.name}-shards"
    return Part(name, streamed, skipped=skipped, notes=notes)


def _columns(summary: Summary) -> Columns:
    """Return the columns of a CSV file as those of the run's own data."""
    own = summary.config["data"]
    named: dict[str, Any] = {key: own.get(f"{key}_column") for key in ("path", "label")}
    named |= {"task": summary.task, "empty_labels": own.get("empty_labels", "error")}
    return Columns(**named, other=[own["group"]] if own.get("group") else [])


def _part_of_table(
    run: Run, name: str, split: str, *, ignore_extra: bool, on_bad: OnBad | None, data_dir: str | None, offline: bool
) -> Part:
    """Load a split of a data set of the table, prepared as the run's own data."""
    summary = run.summary()
    given: dict[str, Any] = {"transform": summary.transform, "channels": summary.in_shape[0]}
    given |= {"image_size": summary.in_shape[1:]}
    known = {key: given[key] for key in data.settings(name) if key in given and summary.kind == "image"}
    splits = data.load(name, data_dir=data_dir, offline=offline, **known | _on_bad(name, on_bad))
    if ignore_extra:
        raise DataError(f"--ignore-extra: only for your own images; {name!r} must have the classes of the run")
    if list(splits.classes) != summary.classes or splits.in_shape != tuple(summary.in_shape):
        raise DataError(
            f"data {name!r} is not of the kind that {run.name} was trained on: it has classes "
            f"{few(splits.classes) or 'none'} and samples of {splits.in_shape}, "
            f"the run {few(summary.classes) or 'none'} and {tuple(summary.in_shape)}"
        )
    return _part(f"{name}-{split}", split, splits)


def _name_of(path: Path, split: str) -> str:
    """Return the name of images from elsewhere: `photos-test` for `photos`, for `photos/test` and for a CSV."""
    whole = user_path(path).resolve()
    name = whole.stem if whole.is_file() else whole.name
    return f"{whole.parent.name if name == split else name}-{split}"


def _part(name: str, split: str, splits: Splits) -> Part:
    skipped = splits.skipped.get(split, 0)
    return Part(name, without_augmentation(splits.part(split)), skipped=skipped, notes=splits.notes if skipped else ())


def _on_bad(name: str, on_bad: OnBad | None) -> dict[str, Any]:
    """Return the setting for a data set of the table. Raises ConfigError where it reads no image files."""
    if on_bad is None:
        return {}
    if "on_bad" not in data.settings(name):
        raise ConfigError(f"--on-bad: data {name!r} has no image files that could be left out")
    return {"on_bad": on_bad}


def _own_splits(run: Run, **options: Any) -> Splits:
    """Load a run's own data; where its images were moved, the error shows how to name their new place."""
    try:
        return load_splits(run, **options)
    except MissingDataError as error:
        if "path" not in run.summary().config["data"]:
            raise
        raise MissingDataError(
            f"{error}; if it was moved, `dlw evaluate {run.name} --data FOLDER` scores it where it is now "
            "(of class folders alone every image, those of training included)"
        ) from None
