"""`dlw config` explains each setting: from its field in `config`, or from the signatures that have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlworkflow import guide
from dlworkflow.config.documentation import fixed_settings
from dlworkflow.training.explained import REGISTRIES, known_keys, registry_of

GUIDE = Path(guide.__file__).parent / "settings.md"


@pytest.mark.parametrize("key", known_keys())
def test_a_setting_has_a_line_of_documentation(key, dlw):
    [row] = json.loads(dlw("config", key, "--format", "json").out)

    assert row["about"].endswith(".")
    assert len(row["about"]) > 10


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("optimizer.lr", ["values    number, above 0", "set by    --lr NUMBER"]),
        ("epochs", ["values    whole number, at least 0", "default   5", "set by    --epochs N"]),
        ("precision", ["values    fp32, bf16, fp16 or auto", "default   fp32"]),
        ("data.image_size", ["set by    --image-size N", "only of   digits (8), fashion_mnist (28)"]),
        ("model.hidden_units", ["set by    --set model.hidden_units=10", "only of   line_deep (10), circles_v0 (5)"]),
    ],
)
def test_a_setting_is_explained_by_values_default_option_and_owners(key, lines, dlw):
    answer = dlw("config", key)

    assert answer.code == 0
    for line in lines:
        assert any(found.startswith(line) for found in answer.out.splitlines()), answer.out


@pytest.mark.parametrize(
    ("given", "meant"),
    [("data.imag_size", "data.image_size"), ("lr", "optimizer.lr"), ("momentum", "optimizer.momentum")],
)
def test_an_unknown_setting_is_answered_with_the_nearest(given, meant, dlw):
    answer = dlw("config", given)

    assert (answer.code, answer.out) == (2, "")
    assert f"unknown setting {given!r}; did you mean {meant!r}?" in answer.err


def test_without_a_key_all_settings_are_listed_by_section(dlw):
    out = dlw("config").out

    assert [line for line in out.splitlines() if line.endswith(":") and not line.startswith(" ")][:3] == [
        "any run:",
        "model:",
        "data:",
    ]
    assert all(f"  {key}" in out for key in fixed_settings())


def test_a_section_lists_the_settings_of_its_signatures_too(dlw):
    assert "model.growth" in dlw("config", "model").out


def test_the_guide_lists_the_settings_of_every_run_as_they_are_documented():
    rows = [
        f"| `{key}` | {one.about} | {one.default} |".replace("|  |", "| |") for key, one in fixed_settings().items()
    ]
    table = GUIDE.read_text(encoding="utf-8").partition("## Every setting\n")[2].partition("\n## ")[0]

    assert [line for line in table.splitlines() if line.startswith("| `")] == rows


def test_a_registry_documents_settings_that_there_are():
    for section in REGISTRIES:
        registry = registry_of(section)
        settings = {key for name in registry.names() for key in registry.settings(name)}
        assert set(registry.documented) <= settings, section
