"""Settings by name for each model, as plain data: those of the notes, and the best for a kind of data.

`best` was searched for on a validation split; the guide's page on recipes says what it reaches, on what and in which
time. A new recipe is its entry in `_BEST`: model, then what the data looks like (`DataEntry.looks`).
"""

from __future__ import annotations

from typing import Any

_FULL_BATCH = {"batch_size": "full", "shuffle": False}
_SGD_01 = {"name": "sgd", "lr": 0.1}
_ADAM = {"name": "adam", "lr": 1e-3}


def _recipe(data: dict[str, Any], optimizer: dict[str, Any], epochs: int) -> dict[str, Any]:
    return {"data": data, "optimizer": optimizer, "epochs": epochs}


def _line(epochs: int, *, lr: float = 0.01, **settings: Any) -> dict[str, Any]:
    return _recipe({"name": "line"} | _FULL_BATCH | settings, {"name": "sgd", "lr": lr}, epochs)


_CIRCLES = _recipe({"name": "circles"} | _FULL_BATCH, _SGD_01, 1000)
_FASHION = _recipe({"name": "fashion_mnist", "batch_size": 32}, _SGD_01, 3)
_IMAGES = _recipe({"name": "digits", "batch_size": 32}, _ADAM, 5)

NOTES = "notes"
_NOTES: dict[str, dict[str, Any]] = {
    "line": _line(100),
    "line_v2": _line(1000),
    "line_deep": _line(1000, lr=0.1, step=0.01),
    "circles_v0": _CIRCLES | {"epochs": 100},
    "circles_v1": _CIRCLES,
    "circles_v2": _CIRCLES,
    "blobs": _recipe({"name": "blobs"} | _FULL_BATCH, _SGD_01, 100),
    "fashion_mnist_v0": _FASHION,
    "fashion_mnist_v1": _FASHION,
    "fashion_mnist_v2": _FASHION,
    "tinyvgg": _IMAGES,
    "improved_tinyvgg": _IMAGES,
}

_GREY = {
    "data": {"name": "digits", "batch_size": 32, "transform": ["normalize"]},
    "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.05},
    "schedule": {"name": "one_cycle"},
    "epochs": 10,
}
_TWO_LAYERS = _GREY | {"model": {"hidden_units": 64}, "optimizer": {"name": "adamw", "lr": 1e-2}}
_PHOTOS = {
    "model": {"hidden_units": 16, "blocks": 3, "batch_norm": True},
    "data": {
        "name": "pizza_steak_sushi",
        "batch_size": 16,
        "transform": ["flip", {"random_resized_crop": {"scale": [0.4, 1.0]}}, "normalize"],
    },
    "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.1},
    "schedule": {"name": "one_cycle"},
    "label_smoothing": 0.1,
    "epochs": 80,
    "channels_last": True,
}

_ROWS = {
    "model": {"hidden_units": 64, "hidden_layers": 2, "dropout": 0.2},
    "data": {"batch_size": 32, "val_fraction": 0.2},
    "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 0.1},
    "schedule": {"name": "one_cycle"},
    "epochs": 50,
}

_BEST: dict[str, dict[str, dict[str, Any]]] = {
    "mlp": {"table": _ROWS, "points": _ROWS},
    "tinyvgg": {
        "photos": _PHOTOS,
        "grey": _GREY | {"model": {"hidden_units": 16, "batch_norm": True}},
    },
    "improved_tinyvgg": {
        "photos": _PHOTOS | {"model": {}, "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.1}},
        "grey": _GREY,
    },
    "fashion_mnist_v0": {"grey": _TWO_LAYERS},
    "fashion_mnist_v1": {"grey": _TWO_LAYERS},
    "fashion_mnist_v2": {
        "grey": {
            "model": {"hidden_units": 16, "growth": 3, "batch_norm": True, "dropout": 0.2},
            "data": {"name": "fashion_mnist", "batch_size": 64, "transform": ["flip", "normalize"]},
            "optimizer": {"name": "adamw", "lr": 4e-3, "weight_decay": 0.05},
            "schedule": {"name": "one_cycle"},
            "epochs": 11,
            "channels_last": True,
            "precision": "auto",
        },
        "photos": _PHOTOS,
    },
}

_FROZEN = {
    "data": {"name": "pizza_steak_sushi", "batch_size": 32},
    "optimizer": _ADAM,
    "weights": "default",
    "freeze": "backbone",
    "epochs": 30,
}
_BEST["efficientnet_lite0"] = {"photos": _FROZEN, "grey": _FROZEN}

NOTES_LEARN = {(f"fashion_mnist_v{version}", "fashion_mnist") for version in (0, 1, 2)}
"""(model, data set) for which the notes' recipe is the default although there is a `best`."""

_RAW_TABLE = {
    model: {**settings, "data": {**_FULL_BATCH, "standardize": False}}
    for model, settings in _NOTES.items()
    if settings["data"]["name"] in ("line", "circles", "blobs")
}
"""The notes train on points as they are: so they do where the points are in a table."""

_PINNED = {"channels_last": False}
"""The notes' digits come out in the plain memory format."""

RECIPES: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    NOTES: {
        model: {"": settings | _PINNED} | ({"table": _RAW_TABLE[model]} if model in _RAW_TABLE else {})
        for model, settings in _NOTES.items()
    },
    "best": _BEST,
}
"""{recipe: {model: {what the data looks like, "" for any: settings}}}."""
