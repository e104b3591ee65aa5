"""A folder to send: an ONNX file with a script, a README and a Dockerfile that need neither torch nor dlworkflow."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

from dlworkflow.errors import ConfigError, RunError, system_reason
from dlworkflow.files.text import json_text
from dlworkflow.files.writing import check_new_folder, clear_leftovers, name_in_temporary, unfinished_folder
from dlworkflow.inference.export.description import Description

_TEMPLATES = files("dlworkflow.inference.export") / "packaged"
_REQUIREMENTS = {
    "image": ("numpy>=1.26", "onnxruntime>=1.20", "pillow>=11.3"),
    "tabular": ("numpy>=1.26", "onnxruntime>=1.20"),
}
_SCRIPTS = {"image": "predict_images.py.txt", "tabular": "predict_tables.py.txt"}
_EXAMPLES = {"image": ("photo.jpg", "image"), "tabular": ("new.csv", "row")}


def check_package(folder: Path, description: Description) -> None:
    """Raise ConfigError where the folder is taken, or where `predict.py` would read other pixels than the run."""
    check_new_folder(folder, option="--package")
    if {"range": {"each": True}} in (description.transform or []):
        raise ConfigError(
            "--package: the run scales each image of more than 8 bits by its own values, as version 0.1 did, which the "
            "package's predict.py does not; export without --package"
        )


def write_package(folder: Path, content: bytes, description: Description) -> Path:
    """Write an ONNX file with this content, and what runs it, into the new folder; return the folder.

    It is written as a whole or not at all. Raises ConfigError as `check_package` does, and RunError where it cannot be
    written.
    """
    check_package(folder, description)
    kind = description.kind
    example, unit = _EXAMPLES[kind]
    readme = Template(_template("README.md")).substitute(example=example, unit=unit, facts=_facts(description))
    contents = {
        "model.onnx": content,
        "predict.py": _template(_SCRIPTS[kind]).encode(),
        "requirements.txt": "".join(f"{line}\n" for line in _REQUIREMENTS[kind]).encode(),
        "README.md": readme.encode(errors="backslashreplace"),
        "Dockerfile": _template("Dockerfile").encode(),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(folder.parent, name_in_temporary(folder.name), "|".join(contents))
        with unfinished_folder(folder) as whole:
            for name, data in contents.items():
                (whole / name).write_bytes(data)
            whole.replace(folder)
    except OSError as error:
        raise RunError(f"cannot write {str(folder)!r}: {system_reason(error)}") from None
    return folder


def _template(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _facts(description: Description) -> str:
    """Return what a receiver wants to know of the model, as Markdown; names are quoted, in blocks of code."""
    parts = [f"The network is {json_text(description.model)}, exported by dlworkflow {description.version}."]
    if description.kind == "image":
        channels, height, width = description.in_shape
        colour = "grey" if channels == 1 else "RGB"
        parts[0] += f" An image of any size becomes {colour}, {height} pixels high and {width} wide."
    if description.columns:
        parts += [
            "These columns are needed, in any order:",
            _lines(each["name"] for each in description.columns["inputs"]),
        ]
    elif description.kind == "tabular":
        parts.append(f"A row has {description.in_shape[0]} numbers, in the order of the training data.")
    if description.classes:
        parts += [f"The classes ({description.task}):", _lines(description.classes)]
    if description.parity:
        parts.append(f"Compared with the trained model over {description.parity.text(description.task)}.")
    return "\n\n".join(parts)


def _lines(names: Iterable[str]) -> str:
    return "\n".join(f"    {json_text(name)}" for name in names)
