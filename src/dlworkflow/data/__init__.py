"""Every data set by the name a user types; knows files, tensors and images, no model, no run and no terminal.

The table is text, so that listing data sets imports nothing heavy: a new data set is its file and its line here. Add
your own with `register`, or from another package through the entry-point group `dlworkflow.data` (name -> loader).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlworkflow.data.shards.names import shards_path
from dlworkflow.errors import ConfigError, DataError, MissingDataError, unknown
from dlworkflow.files.paths import user_path
from dlworkflow.registry import Registry, callable_as_it_is
from dlworkflow.registry.user_code import is_code, use_code_named_in

if TYPE_CHECKING:
    from dlworkflow.data.splits import Splits


@dataclass(frozen=True)
class DataEntry:
    """What is known of a data set without loading it; `files` is true where it has files in the data folder.

    `looks` decides which recipe suits it: photos, grey, points or table; "" where that is not known. `mirrors` is
    whether a mirrored image is still an image of its class, as of clothes, but not of digits or letters. `begins` is
    whether its module has a function `begin`.
    """

    target: str
    task: str = "any"
    about: str = ""
    files: bool = False
    looks: str = ""
    mirrors: bool = False
    begins: bool = False


_DATA_SETS: dict[str, DataEntry] = {
    "line": DataEntry("datasets.synthetic:load_line", "regression", "a straight line, 50 points", looks="points"),
    "circles": DataEntry("datasets.synthetic:load_circles", "binary", "two rings of points, 1,000", looks="points"),
    "moons": DataEntry("datasets.synthetic:load_moons", "binary", "two half moons, 1,000 points", looks="points"),
    "blobs": DataEntry("datasets.synthetic:load_blobs", "multiclass", "four clouds of points, 1,000", looks="points"),
    "spirals": DataEntry(
        "datasets.synthetic:load_spirals", "multiclass", "three spiral arms, 900 points", looks="points"
    ),
    "digits": DataEntry(
        "datasets.digits:load_digits", "multiclass", "1,797 handwritten digits, 8x8 grey, no download", looks="grey"
    ),
    "fashion_mnist": DataEntry(
        "datasets.fashion_mnist:load_fashion_mnist",
        "multiclass",
        "70,000 images of clothes, 28x28 grey",
        files=True,
        looks="grey",
        mirrors=True,
        begins=True,
    ),
    "mnist": DataEntry(
        "datasets.mnist:load_mnist",
        "multiclass",
        "70,000 handwritten digits, 28x28 grey",
        files=True,
        looks="grey",
        begins=True,
    ),
    "emnist": DataEntry(
        "datasets.emnist:load_emnist",
        "multiclass",
        "handwritten digits and letters, 28x28 grey",
        files=True,
        looks="grey",
    ),
    "cifar10": DataEntry(
        "datasets.cifar10:load_cifar10",
        "multiclass",
        "60,000 colour images of ten classes, 32x32",
        files=True,
        looks="photos",
        mirrors=True,
    ),
    "pizza_steak_sushi": DataEntry(
        "datasets.pizza_steak_sushi:load_pizza_steak_sushi",
        "multiclass",
        "300 photos of three dishes",
        files=True,
        looks="photos",
        mirrors=True,
    ),
    "image_folder": DataEntry(
        "datasets.image_folder:load_image_folder",
        "multiclass",
        "your images: train/<class>/...",
        looks="photos",
        mirrors=True,
    ),
    "image_csv": DataEntry(
        "datasets.image_csv:load_image_csv",
        about="your images: CSV of path and label, labels or value[,split]",
        looks="photos",
        mirrors=True,
    ),
    "image_shards": DataEntry(
        "shards.loading:load_shards",
        "multiclass",
        "your images: tar shards of `dlw data shard`",
        looks="photos",
        mirrors=True,
    ),
    "csv_table": DataEntry(
        "tables.loading:load_csv_table", "any", "your table: CSV with a header, numbers and categories", looks="table"
    ),
}

_log = logging.getLogger(__name__)

Loader = Callable[..., "Splits"]
_ELSEWHERE = ("data_dir", "offline")  # given by the caller, not settings of one data set


def _adopted(thing: Any) -> Loader:
    """Return a function of a user's file. Raises ConfigError for what loads no data."""
    if isinstance(thing, type):
        raise ConfigError("is a class; name a function that returns splits, or data sets for training and test")
    return callable_as_it_is(thing)


REGISTRY: Registry[Loader] = Registry(
    "data set",
    _DATA_SETS,
    group="data",
    package="dlworkflow.data",
    section="data",
    hint="`dlw data list`, or give a path",
    supplied=_ELSEWHERE,
    adopt=_adopted,
    documented={
        "slope": "Slope of the line.",
        "intercept": "Intercept of the line.",
        "start": "First x of the line.",
        "end": "End of x, not included.",
        "step": "Distance from x to x.",
        "test_fraction": "Fraction of the samples in the test split, where the data has none of its own.",
        "n_samples": "Number of samples that are made.",
        "noise": "Standard deviation of the noise of each coordinate.",
        "random_state": "Seed of the samples that are made and of the test split.",
        "n_features": "Numbers per sample.",
        "centers": "Number of classes, each with a centre.",
        "cluster_std": "Standard deviation of the points around their centre.",
        "arms": "Number of arms of the spiral, each a class.",
        "split": "Split: balanced (47 classes), letters (26), digits, mnist (10), bymerge (47) or byclass (62).",
        "transform": "Augmentation: a name of `dlw list augmentations`, or a list of them [default: none].",
        "fast_augment": "Augment whole batches at once: faster, with other random draws: true or false.",
        "channels": "Channels of the images: 1 (grey) or 3 (colour).",
        "path": "Folder, CSV file or shards, as given with --data.",
        "path_column": "Column of the CSV file with the paths of images [default: path, or the only one with images].",
        "label_column": "Column of the CSV file with the class, the classes or the number of an image, or a list of "
        "columns of 0 and 1 [default: label, labels or value, else all of 0 and 1].",
        "task": "What a CSV file is for: regression (numbers), multiclass (one class), of a table binary, of images "
        "multilabel (any number of classes), or auto, by its columns.",
        "empty_labels": "An empty cell of labels: error, or none for an image of none of the classes.",
        "group": "Column of the CSV file with what a sample belongs to, as a patient: no group is in two splits "
        "[default: none].",
        "layout": "Layout of the folder: split_first (train/CLASS), class_first (CLASS/train), classes or auto.",
        "range": "Values that become black and white in images of more than 8 bits: [low, high], or each "
        "[default: least and greatest of the training images].",
        "test": "Shards of the test split [default: those that the index names].",
        "classes": "Class names in the order of the labels [default: those of the index].",
        "target": "Table: column to predict [default: the last].",
        "split_column": "Table: column that names the split of each row: train, test or val [default: `split`, where "
        "it does].",
        "drop": "Table: columns that are left out, a list [default: none].",
        "categorical": "Table: columns of numbers that are categories, a list [default: none].",
        "missing": "Table: missing values are an error, or filled by the mean, median or most_frequent of the "
        "training rows; categories by the most frequent.",
        "standardize": "Table: bring numbers, and the target of a regression, to mean 0 and standard deviation 1 by "
        "the training rows: true or false.",
        "stratify": "Table: give every class its share in training and test: true, or false to split by chance.",
        "shuffle_buffer": "Samples held in memory to be shuffled.",
    },
)
names = REGISTRY.names
check_name = REGISTRY.check_name
settings = REGISTRY.settings
loader = REGISTRY.__getitem__


def register(name: str, loader: Loader) -> None:
    """Make `dlw train MODEL --data NAME` and `load(NAME)` know a data set of your own.

    `loader` takes its settings as keywords and returns `Splits`, or torch data sets as `data.given.as_splits` takes
    them; `data_dir` and `offline` are given where it has them.
    Raises ConfigError for a name that the library has.
    """
    REGISTRY.register(name, loader)


def entries() -> dict[str, DataEntry]:
    """Return {name: entry} of all data sets; loads none."""
    return {name: _DATA_SETS.get(name) or DataEntry("", about="registered") for name in names()}


def looks(given: Mapping[str, Any]) -> str:
    """Return what the data of these settings looks like, see `DataEntry`: images of one channel are grey."""
    known = entries().get(str(given.get("name")))
    return "" if known is None else "grey" if known.looks == "photos" and given.get("channels") == 1 else known.looks


def mirrors(given: Mapping[str, Any]) -> bool:
    """Return whether the images of the data of these settings may be mirrored: not where they may be of letters."""
    known = entries().get(str(given.get("name")))
    return known is not None and known.mirrors and looks(given) == known.looks


def locate(text: str, typed: str = "--data") -> dict[str, str]:
    """Return the settings for what a user typed after `--data`: a name of the table, a path to images, a CSV or
    shards, or a function in a file of code, `file.py:load`, which is imported. Messages name it as it was `typed`.

    Raises ConfigError for an unknown name or an address and MissingDataError for a path that is not there.
    """
    if not text.strip():
        raise ConfigError(f"{typed}: is empty; give a name of `dlw data list` or a path")
    if text in names():
        if user_path(text).is_dir():
            _log.warning("%s %s is the data set of that name; ./%s is the folder", typed, text, text)
        return {"name": text}
    if is_code(text):
        use_code_named_in(text)
        try:
            return {"name": REGISTRY.resolved(text)}
        except ConfigError as error:
            raise ConfigError(f"{typed}: {error}") from error
    if (shards := shards_path(text, typed)) is not None:
        return {"name": "image_shards", "path": shards}
    path = user_path(text)
    if path.is_dir():
        return {"name": "image_folder", "path": str(path.resolve())}
    if path.is_file():
        if path.suffix.casefold() != ".csv":
            raise DataError(
                f"{typed}: {text!r} is a file; give a folder of images, a CSV of images or of numbers, or .tar shards"
            )
        return {"name": _kind_of_csv(path, typed, text), "path": str(path.resolve())}
    if path.name != text or path.suffix.casefold() == ".csv":
        raise MissingDataError(f"{typed}: no such folder or file: {text!r}")
    known = names()
    raise ConfigError(f"{typed}: {unknown('data set', text, known)} (and there is no folder of that name here)")


def _kind_of_csv(path: Path, typed: str, text: str) -> str:
    """Return whether a CSV file is of images or a table: images where it has a column `path` or names of images."""
    from dlworkflow.data.folders.listing import has_image_column

    is_images, is_clear = has_image_column(path)
    if not is_clear:
        other = f"--set data.name=csv_table --set data.path={text}"
        _log.warning("%s %s is taken for a CSV of images; %s takes it for a table", typed, text, other)
    return "image_csv" if is_images else "csv_table"


def faults(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the settings `given` for a data set: {setting: sentence}."""
    wrong = REGISTRY.faults(name, given)
    value_range = given.get("range") if name in _DATA_SETS else None
    if (given.get("transform") is not None or value_range is not None) and not wrong:
        from dlworkflow.data.images import transforms

        wrong |= transforms.faults(given.get("transform"), given.get("image_size"), value_range)
    return wrong


def begin(name: str, data_dir: str | None = None) -> None:
    """Begin to read the files of a data set in threads, where that takes long: torch can be imported meanwhile.

    `load` raises what goes wrong.
    """
    if name in _DATA_SETS and _DATA_SETS[name].begins:
        import_module(f"dlworkflow.data.datasets.{name}").begin(data_dir)


def load(name: str, *, data_dir: str | None = None, offline: bool = False, **given: Any) -> Splits:
    """Load a data set of the table.

    Raises ConfigError for an unknown name or setting, and DataError for files that are missing or cannot be used.
    """
    wrong = faults(name, given)
    if wrong:
        raise ConfigError(*(f"data.{setting}: {sentence}" for setting, sentence in wrong.items()))
    found = REGISTRY.build(name, given, data_dir=data_dir, offline=offline)
    return _as_splits(name, found) if REGISTRY.is_own(name) else found


def _as_splits(name: str, found: Any) -> Splits:
    """Return what a loader of a user's own returns as splits. Raises DataError for anything else."""
    from dlworkflow.data.given import as_splits

    try:
        return as_splits(name.partition(".py:")[0], found)
    except DataError as error:
        raise DataError(f"data set {name!r}: {error}") from None


def find(name: str, data_dir: str | None = None) -> Path | None:
    """Return where the files of a data set are, or None where there are none."""
    return import_module(f"dlworkflow.data.datasets.{name}").find(data_dir) if _lives_in_files(name) else None


def place(name: str, data_dir: str | None = None) -> Path:
    """Return the folder to put the files of a data set into, where `get` puts them."""
    return data_folder(data_dir) / import_module(f"dlworkflow.data.datasets.{name}").PLACES[0]


def input_files(given: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files and folders that a data set with these settings is read from; none where it is made."""
    from dlworkflow.data.folders.image_table import images_in
    from dlworkflow.data.shards.names import expand, folder_of

    name, path = given.get("name"), given.get("path")
    if path is None:
        found = find(name, given.get("data_dir")) if name in _DATA_SETS else None
        yield from [found] if found is not None else []
    elif name == "image_shards":
        yield from [folder] if (folder := folder_of(path)) is not None else expand(path)
    else:
        yield user_path(path)
        if name == "image_csv":
            yield from images_in(user_path(path), given.get("path_column"))


def get(name: str, data_dir: str | None = None, *, offline: bool = False) -> Path:
    """Return where the files of a data set are; missing ones are downloaded."""
    if not _lives_in_files(name):
        raise DataError(f"data {name!r} needs no files to be fetched")
    path: Path = import_module(f"dlworkflow.data.datasets.{name}").get(data_dir, offline=offline)
    return path


def data_folder(data_dir: str | None = None) -> Path:
    """Return where data sets are kept: as given, else DLW_DATA_DIR, else `data` in the working folder."""
    from dlworkflow.data import download

    return download.data_folder(data_dir)


def _lives_in_files(name: str) -> bool:
    check_name(name)
    return name in _DATA_SETS and _DATA_SETS[name].files
