"""`dlw list`: all that can be named, from the registries."""

from __future__ import annotations

import json

import pytest

from dlworkflow.cli.list import COMMANDS, KINDS


def listed(dlw, kind, *more):
    answer = dlw("list", kind, *more, "--format", "json")
    assert answer.code == 0, answer.err
    return {row["name"]: row["about"] for row in json.loads(answer.out)}


def test_without_a_kind_the_kinds_are_listed(dlw):
    rows = json.loads(dlw("list", "--format", "json").out)

    assert [row["kind"] for row in rows] == [*KINDS, COMMANDS]


@pytest.mark.parametrize("kind", [*KINDS, COMMANDS])
def test_every_thing_of_a_kind_has_a_line_of_help(kind, dlw):
    assert [name for name, about in listed(dlw, kind).items() if len(about) < 10] == []


def test_the_optimizers_of_torch_are_listed_when_asked_for(dlw):
    found = listed(dlw, "optimizers", "--all")

    assert found["adadelta"] == "torch.optim.Adadelta"
    assert {"lbfgs", "sparseadam", "optimizer"} & found.keys() == set()
    assert "adadelta" not in listed(dlw, "optimizers")


def test_an_unknown_kind_is_answered_with_the_nearest(dlw):
    answer = dlw("list", "optimisers")

    assert (answer.code, "unknown kind 'optimisers'; did you mean 'optimizers'?" in answer.err) == (2, True)
