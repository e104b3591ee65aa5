"""The plan of the house: which room may import which, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dlworkflow

SOURCE = Path(dlworkflow.__file__).parent

BASE = {"errors", "signatures", "_version"}
MAY_IMPORT = {  # a room may import itself and these; the order is that of the storeys, lowest first
    "errors": set(),
    "_version": set(),
    "text": set(),
    "guide": {"errors"},
    "children": set(),
    "paths": {"errors"},
    "locking": set(),
    "writing": {"errors", "locking"},
    "signatures": {"errors"},
    "config": {"errors", "paths"},
    "contradictions": {"config"},
    "runs": {"errors", "config", "locking", "paths", "text", "writing"},
    "comparison": {"errors", "runs"},
    "data": {"children", "errors", "paths", "signatures", "writing"},
    "models": {"errors", "signatures"},
    "tasks": {"errors"},
    "losses": {"errors", "tasks"},
    "mixing": {"tasks"},
    "precision": {"errors"},
    "optim": {"errors"},
    "updates": {"losses", "optim", "tasks"},
    "schedules": set(),
    "patience": set(),
    "averages": set(),
    "metrics": {"errors", "tasks"},
    "device": {"errors"},
    "batch_check": {"errors", "tasks"},
    "sharing": {"errors", "losses", "tasks"},
    "scoring": {"errors", "losses", "tasks", "sharing"},
    "engine": {"errors", "tasks", "optim", "scoring", "sharing", "batch_check"},
    "checkpoint": {"errors", "paths", "writing"},
    "plotting": {"errors", "text", "writing"},
    "figure_kinds": set(),
    "stopping": set(),
    "learning": {"averages", "config", "engine", "errors", "models", "optim", "patience", "schedules", "updates"},
    "recorder": {"errors", "runs", "checkpoint", "device", "engine"},
    "diagnosis": {"errors", "tasks"},
    "commands": set(),
    "cures": {"commands", "diagnosis"},
    "trace": {"errors", "tasks"},
    "evaluation": {"errors", "tasks", "metrics"},
    "fitting": {"errors", "models", "checkpoint"},
    "pretrained": {"errors", "models", "checkpoint", "data"},
    "features": {"models", "data"},
    "transfer": {"errors", "config", "models", "data", "paths"},
    "inference": {
        *("errors", "paths", "runs", "data", "models", "checkpoint", "fitting", "device", "tasks", "batch_check"),
    },
    "preparation": BASE
    | {"paths", "config", "contradictions", "data", "models", "tasks", "losses", "device", "checkpoint", "precision"}
    | {"pretrained", "transfer", "sharing", "learning"},
    "run_facts": BASE | {"checkpoint", "data", "device", "metrics", "preparation", "sharing"},
    "workflow": BASE
    | {"config", "runs", "data", "models", "tasks", "device", "engine", "checkpoint", "preparation", "run_facts"}
    | {"recorder", "stopping", "features", "learning", "losses", "sharing", "mixing", "precision"},
    "run_diagnosis": BASE
    | {"config", "contradictions", "runs", "data", "models", "tasks", "losses", "pretrained", "diagnosis", "commands"}
    | {"cures", "workflow"},
    "standstill": set(),
    "distributed": {"standstill", "errors", "runs", "sharing", "engine", "workflow"},
    "lr_search": BASE | {"config", "data", "device", "engine", "models", "optim", "workflow"},
    "run_evaluation": BASE
    | {"config", "paths", "runs", "data", "device", "engine", "tasks", "metrics", "evaluation", "inference"},
}
MAY_IMPORT["sweep"] = MAY_IMPORT["workflow"] | {"children", "workflow", "comparison", "paths", "writing"}
MAY_IMPORT["history_figures"] = {"errors", "runs", "comparison", "plotting", "figure_kinds", "metrics"}
EVERYTHING = set(MAY_IMPORT)
MAY_IMPORT["figures"] = EVERYTHING
MAY_IMPORT["course"] = EVERYTHING
MAY_IMPORT["cli"] = EVERYTHING | {"figures", "course"}
MAY_IMPORT["__init__"] = EVERYTHING | {"course"}
MAY_IMPORT["__main__"] = {"cli"}

HEAVY = ("torch", "torchvision", "matplotlib", "sklearn", "numpy", "pydantic", "yaml", "PIL")


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dlworkflow":
            parts = node.module.split(".")[1:]
            rooms |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("dlworkflow.")}
        elif isinstance(node, ast.ImportFrom) and node.level:
            pytest.fail(f"{path}: imports are absolute here")
    return rooms


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_below_it(path):
    room = room_of(path)

    assert imported_rooms(path) - {room} <= MAY_IMPORT[room]


@pytest.mark.parametrize("room", sorted(set(MAY_IMPORT) - {"cli", "course"}))
def test_only_cli_and_course_print(room):
    files = [SOURCE / f"{room}.py", *(SOURCE / room).rglob("*.py")]
    calls = [
        node
        for path in files
        if path.exists()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert calls == []


def test_no_code_is_evaluated_and_nothing_but_tensors_is_unpickled():
    forbidden = {"eval", "exec", "compile", "__import__"}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in forbidden, path
                assert not name.startswith(("pickle.load", "joblib.load")), path
                if name == "torch.load":
                    assert "weights_only=True" in ast.unparse(node), path


def test_a_path_that_a_user_typed_is_read_by_one_function():
    for path in set(SOURCE.rglob("*.py")) - {SOURCE / "paths.py"}:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("expanduser", "home"), f"{path}:{node.lineno}: use paths.user_path"


@pytest.mark.parametrize(
    "module", ["dlworkflow", "dlworkflow.cli.app", "dlworkflow.runs", "dlworkflow.data", "dlworkflow.models"]
)
def test_importing_costs_nothing_heavy(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found.split() == []


@pytest.mark.parametrize("name", dlworkflow.__all__)
def test_every_public_name_resolves(name):
    assert getattr(dlworkflow, name) is not None


def test_the_editors_block_lists_exactly_the_public_names():
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    listed = {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert listed == set(dlworkflow.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        dlworkflow.nonsense  # noqa: B018


def test_no_public_function_bears_a_modules_name():
    modules = {path.stem for path in SOURCE.rglob("*.py") if room_of(path) != "cli"} | {"data", "models", "plotting"}
    functions = {name for name in dlworkflow.__all__ if callable(getattr(dlworkflow, name))}

    assert not functions & modules
