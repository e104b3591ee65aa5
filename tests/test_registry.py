"""A signature as the schema of its settings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import pytest

from dlworkflow.errors import ConfigError
from dlworkflow.registry import (
    Count,
    Fraction,
    Others,
    Positive,
    Range,
    Registry,
    choices_of,
    faults_of,
    settings_of,
)

if TYPE_CHECKING:
    from decimal import Decimal


def loader(path: str, *, n: Count = 3, share: Fraction = 0.2, step: Positive = 1.0, kind: Literal["a", "b"] = "a"):
    """Stand in for anything with settings."""


def test_settings_are_the_parameters_with_their_defaults():
    assert settings_of(loader, supplied=["path"]) == {"n": 3, "share": 0.2, "step": 1.0, "kind": "a"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n", 0, "at least 1, not 0"),
        ("n", True, "whole number"),
        ("n", "3", "whole number"),
        ("share", 1.0, "between 0 and 1, both excluded"),
        ("share", float("nan"), "a finite number"),
        ("step", 0, "more than 0, not 0"),
        ("kind", "c", "unknown value 'c'"),
        ("path", 3, "text"),
        ("pth", "x", "did you mean 'path'"),
    ],
)
def test_a_wrong_value_is_said(name, value, words):
    assert words in faults_of(loader, {name: value}, owner="it")[name]


@pytest.mark.parametrize(("name", "value"), [("n", 1), ("share", 0.5), ("step", 2), ("kind", "b"), ("path", "x")])
def test_a_right_value_is_no_fault(name, value):
    assert faults_of(loader, {name: value}, owner="it") == {}


def test_a_type_that_only_editors_see_is_not_judged():
    def own(a: Decimal, n: Count = 1):
        """Stand in for a user's function."""

    assert faults_of(own, {"a": object(), "n": 0}, owner="it").keys() == {"n"}


def test_any_keyword_goes_where_a_function_says_so():
    assert faults_of(lambda **anything: None, {"x": 1}, owner="it") == {}


def test_none_is_taken_only_where_it_is_allowed():
    def own(a: int | None = None, b: Annotated[int, Range(0)] = 0):
        """Stand in for a user's function."""

    assert faults_of(own, {"a": None, "b": None}, owner="it").keys() == {"b"}


def test_settings_of_few_values_are_listed_with_the_default_first():
    def build(width: int = 3, *, padding: Literal[0, 1] = 1, relu: bool = False) -> None: ...

    assert choices_of(build) == {"padding": (1, 0), "relu": (False, True)}


@pytest.mark.parametrize("name", ["noise", "n_samples"])
def test_a_number_that_no_tensor_holds_is_refused(name):
    from dlworkflow.data.datasets.synthetic import load_circles

    assert faults_of(load_circles, {name: 10**400}, owner="data") == {name: "must be a number that fits into 64 bits"}


def test_a_list_of_names_is_looked_at_name_by_name():
    def load(classes: list[str] | None = None):
        return classes

    assert "put a name in quotes" in faults_of(load, {"classes": ["yes", False]}, owner="data")["classes"]
    assert faults_of(load, {"classes": ["yes", "no"]}, owner="data") == {}


def plain_thing(*, n: Count = 3) -> int:
    """Do one thing.

    And say more.
    """
    return n


def picky_thing(*, needed: int, shape: tuple[int, ...] = ()) -> int:
    """Need a setting."""
    return needed


def make_registry(**more):
    table = {"plain": plain_thing, "text": "torch_free:Thing", "picky": picky_thing}
    return Registry("toy", table, group="toys", supplied=("shape",), **more)


def test_a_thing_is_known_by_its_name_and_its_settings_by_its_signature():
    toys = make_registry()

    assert toys["plain"] is plain_thing
    assert (toys.settings("plain"), toys.about("plain")) == ({"n": 3}, "Do one thing")
    assert toys.faults("plain", {"n": 0, "m": 1}) == {
        "n": "must be at least 1, not 0",
        "m": "toy 'plain': unknown setting 'm'; possible: n",
    }


def test_a_setting_without_a_default_must_be_given():
    assert make_registry().faults("picky", {}) == {"needed": "toy 'picky' needs it"}


def test_a_thing_named_as_text_is_imported_on_first_use(tmp_path, monkeypatch):
    (tmp_path / "torch_free.py").write_text('class Thing:\n    """A thing.\n\n    More.\n    """\n')
    monkeypatch.syspath_prepend(tmp_path)
    toys = make_registry()

    assert toys.about("text") == "A thing"  # read, not imported
    assert "torch_free" not in sys.modules
    assert toys["text"].__name__ == "Thing"
    monkeypatch.delitem(sys.modules, "torch_free")


def test_a_registered_thing_cannot_take_a_name_of_the_table():
    toys = make_registry()
    toys.register("mine", picky_thing)

    assert toys.names()[-1] == "mine"
    with pytest.raises(ConfigError, match="toy 'plain' is the library's own"):
        toys.register("plain", picky_thing)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"toy\.name: unknown toy 'plian'; did you mean 'plain'\? \(see\)"):
        make_registry(hint="see").check_name("plian")


def test_another_library_stands_behind_the_table():
    toys = make_registry(others=Others(lambda name: ["far"], lambda name: plain_thing, "any of theirs"))

    assert "far" not in toys.names()
    assert ("far" in toys, toys.is_other("far"), toys["far"]) == (True, True, plain_thing)
    with pytest.raises(ConfigError, match="any of theirs"):
        toys.check_name("zzzzz")
