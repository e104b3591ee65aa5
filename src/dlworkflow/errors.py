"""Errors that a user can correct, each in one line. Knows nothing of the rest of the library.

A message is written with the options of the command line (`--batch-size`), as these are unmistakable in a text. Python
users read the parameters instead (`batch_size`), unless `naming_options` is in force.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

_MOST_FAULTS = 20  # that one message names
_LONGEST = 300  # characters of a value or of another library's words in a message
_LONGEST_LIST = 500  # characters of the names that a message lists
_MOST_NAMES = 5_000  # that a wrong one is compared with: each takes some microseconds


class DlwError(Exception):
    """An error that the user can correct; its text has what was given, what is allowed, and what to do."""

    exit_code = 1

    def __str__(self) -> str:
        return as_called(super().__str__())


class ConfigError(DlwError):
    """Settings that are invalid, unknown or contradict each other: wrong usage, exit code 2.

    `faults` holds every fault found, one sentence each.
    """

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        self.faults = tuple(map(as_called, faults))
        more = f"; and {len(faults) - _MOST_FAULTS:,} more" if len(faults) > _MOST_FAULTS else ""
        super().__init__("; ".join(faults[:_MOST_FAULTS]) + more)


class FileTakenError(ConfigError):
    """A file that exists and must not be overwritten."""


class DataError(DlwError):
    """A data set, folder or file that cannot be used."""


class MissingDataError(DataError, FileNotFoundError):
    """A data set, folder or file that does not exist; also a `FileNotFoundError`, as in the notes' `find_classes`."""


class MissingSplitError(DataError):
    """Data without the split that is asked for; the error names those that it has."""


class ModelError(DlwError):
    """A model that cannot be built, or weights that do not belong to it."""


class BatchError(ModelError, ValueError):
    """A batch that does not fit its model or loss; also a `ValueError`.

    `kind` is `wrong dtype`, `wrong shape`, `wrong device`, `wrong labels`, `wrong outputs` or `wrong
    values`; `fix` is a line of code
    or advice.
    """

    def __init__(self, kind: str, expected: str, got: str, fix: str) -> None:
        self.kind, self.expected, self.got, self.fix = kind, expected, got, fix
        super().__init__(kind, expected, got, fix)

    def __str__(self) -> str:
        return f"{self.kind}: expected {self.expected}, got {self.got}; fix: {self.fix}"


class RunError(DlwError):
    """A run folder that does not exist, or that lacks what is needed."""


class CodeError(RunError):
    """Code of a user's own is needed whose `files` were not named: they are imported on the user's word alone."""

    def __init__(self, message: str, files: Sequence[str]) -> None:
        self.files = tuple(files)
        super().__init__(f"{message}, which is imported only where you name the file")

    def __str__(self) -> str:
        call = f"dlworkflow.use_code({', '.join(map(repr, self.files))})"
        return super().__str__() if _options_are_named else f"{super().__str__()}: {call}"


class DivergedError(DlwError):
    """A loss that is not finite: `loss` of `split`, in batch `batch` (from 1) of epoch `epoch`, at learning rate `lr`.

    `batch` is None for a split that is only scored; `largest_gradient` is that of the batch before, None where it is
    not known.
    """

    def __init__(
        self,
        loss: float,
        batch: int | None = None,
        *,
        split: str = "training",
        epoch: int | None = None,
        lr: float | None = None,
        largest_gradient: float | None = None,
    ) -> None:
        self.loss, self.batch, self.split = loss, batch, split
        self.epoch, self.lr, self.largest_gradient = epoch, lr, largest_gradient
        where = [f"batch {batch}"] if batch is not None else []
        where += [f"epoch {epoch}"] if epoch is not None else []
        rate = f" at learning rate {lr:g}" if lr is not None else ""
        gradient = "" if largest_gradient is None else f"; the largest gradient before it was {largest_gradient:.3g}"
        place = f" in {' of '.join(where)}" if where else ""
        super().__init__(f"the {split} loss became {loss}{place}{rate}{gradient}; try a lower --lr")

    def within(self, epoch: int, lr: float) -> DivergedError:
        """Return the same error with its epoch and learning rate."""
        return DivergedError(
            self.loss, self.batch, split=self.split, epoch=epoch, lr=lr, largest_gradient=self.largest_gradient
        )


_OPTION = re.compile(
    r"""(?<![\w'"/-])--(?:set:?[ ]|(?P<name>[a-z][a-z-]*)"""
    r"(?:[ ](?P<value>default|backbone|cpu|skip|tpe|\d[\w.+-]*|[A-Z]+\b(?!=)))?(?P<colon>:?))"
)
_COMMAND = re.compile(r"(`[^`]*`|\bdlw [a-z-]+ .*)", re.DOTALL)
_SWITCHES = ("force", "ignore-extra", "overwrite")
_OTHER_NAMES = {"filter": "where"}  # of parameters, where it is not the option's
_options_are_named = False


@contextmanager
def naming_options() -> Iterator[None]:
    """Let errors name the options of the command line within the block, in this process."""
    global _options_are_named
    before, _options_are_named = _options_are_named, True
    try:
        yield
    finally:
        _options_are_named = before


def options_are_named() -> bool:
    """Return whether `naming_options` is in force."""
    return _options_are_named


def as_called(text: str) -> str:
    """Return a message with parameters for the options that it names: `batch_size`, `force=True`, `freeze='backbone'`.

    Commands (`dlw ...`) stay, and so does everything within `naming_options`.
    """
    if _options_are_named or "--" not in text:
        return text
    parts = _COMMAND.split(text)
    return "".join(part if index % 2 else _OPTION.sub(_parameter, part) for index, part in enumerate(parts))


def _parameter(option: re.Match[str]) -> str:
    name, value = option["name"], option["value"]
    if name is None:  # --set KEY=VALUE
        return ""
    known = _OTHER_NAMES.get(name, name.replace("-", "_"))
    if name in _SWITCHES and not option["colon"]:
        return f"{known}=True"
    given = f"={value!r}" if value and value.islower() else f"={value}" if value else ""
    return f"{known}{given}{option['colon']}"


IN_QUOTES = 'YAML reads no, on and 7 as other than text: put a name in quotes, "no"'
"""What to do where text was expected and YAML read something else."""


def nearest(given: str, known: Iterable[str]) -> str | None:
    """Return the known name that `given` most likely means, or None when nothing is close.

    The last part of a dotted name is close to it: `lr` to `optimizer.lr`.
    """
    from difflib import get_close_matches

    names = {name.casefold(): name for name in islice(known, _MOST_NAMES)}
    given = given[:_LONGEST].casefold()
    close = [name for name in names if name.endswith(f".{given}")] or get_close_matches(given, names, n=1, cutoff=0.6)
    if not close:
        close = [name for name in names if given and (name.startswith(given) or given.startswith(name))][:1]
    return names[close[0]] if close else None


def unknown(kind: str, given: object, known: Iterable[str]) -> str:
    """Return the sentence for an unknown `kind`, with the nearest name, or with up to 20 of them when nothing is near.

    unknown model 'tinyvg'; did you mean 'tinyvgg'?
    """
    known = list(known)
    if guess := nearest(str(given), known):
        return f"unknown {kind} {short(str(given))!r}; did you mean {guess!r}?"
    return f"unknown {kind} {short(str(given))!r}; possible: {few(known, 20, quoted=False) or 'none'}"


def not_installed(what: str, package: str, extra: str) -> str:
    """Return the sentence for a package that `what` needs and that an extra of dlworkflow installs."""
    return f"{what} needs {package}, which is not installed; get it with: pip install 'dlworkflow[{extra}]'"


def few(names: Iterable[object], most: int = 6, *, quoted: bool = True) -> str:
    """Return the first `most` names in quotes and how many more there are: `'a', 'b' and 99 more`.

    A single name too many is shown, as it takes no more room than the words for it. Of long names there are fewer, and
    one at least.
    """
    every = [repr(short(str(name))) if quoted else short(str(name)) for name in names]
    shown = every if len(every) <= most + 1 else every[:most]
    while len(shown) > 1 and sum(map(len, shown)) > _LONGEST_LIST:
        shown = shown[:-1]
    return ", ".join(shown) + (f" and {len(every) - len(shown):,} more" if len(shown) < len(every) else "")


def plain(number: float) -> str:
    """Return a number as people write it: 2,147,483,647 and 0.5, not 2.14748e+09 and 0.0."""
    return f"{int(number):,}" if abs(number) < 1e15 and number == int(number) else f"{number:g}"


def short(text: str, most: int = _LONGEST) -> str:
    """Return a text cut to `most` characters, with dots where it was cut."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def reason_of(error: BaseException) -> str:
    """Return why something failed, in one line: the text of a DlwError, else type and first line of the error."""
    return str(error) if isinstance(error, DlwError) else f"{type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, cut to a short one; the name of its type where it has none."""
    lines = str(error).strip().splitlines()
    return short(lines[0]) if lines else type(error).__name__


def system_reason(error: BaseException) -> str:
    """Return why a file cannot be read or written, without the number and the path of the system's message."""
    return getattr(error, "strerror", None) or first_line(error)
