"""What the OpenAPI description says of each address: what it takes, what it answers."""

from __future__ import annotations

from typing import Any

_LABELS = {
    "type": "array",
    "items": {"type": "object", "properties": {"label": {"type": "string"}, "probability": {"type": "number"}}},
}
_PREDICTION = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "description": "Name of the file, or the values of the row."},
        "label": {"type": ["string", "null"], "description": "The likeliest class; null of an unsure answer."},
        "probability": {"type": "number", "description": "Its probability."},
        "top": _LABELS | {"description": "The likeliest classes, best first."},
        "labels": _LABELS | {"description": "Where an input may have several labels: those that are predicted."},
        "value": {"type": ["number", "null"], "description": "The value that a regression predicts."},
        "disagreement": {"type": "number", "description": "Of several models: how much their answers differ."},
        "unsure": {"type": "boolean", "description": "Where answers may be unsure: whether this one is."},
        "familiarity": {
            "type": "number",
            "description": "Share of known inputs that are as far from the training data.",
        },
        "error": {"type": "string", "description": "Why this input has no prediction."},
    },
    "required": ["input"],
}
_PREDICTIONS = {
    "type": "object",
    "properties": {"predictions": {"type": "array", "items": _PREDICTION}},
    "required": ["predictions"],
}
_FORM = {
    "type": "object",
    "description": "One image file or several, each in a field `file`: curl -F file=@photo.jpg",
    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    "required": ["file"],
}
_ROWS = {
    "type": "object",
    "description": 'Rows of numbers {"rows": [[0.5, -0.2]]}, or of a table by column {"rows": [{"area": 75}]}',
    "properties": {"rows": {"type": "array", "items": {"type": ["array", "object"]}}},
    "required": ["rows"],
}
_FAILED = {
    "application/json": {
        "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    }
}
_ERRORS = {
    400: "The body or a parameter is malformed.",
    408: "The body did not arrive in time.",
    413: "Too many bytes, files or rows; /info has the limits.",
    415: "Another content type is needed.",
    422: "The only image cannot be read, or a row does not fit the model.",
    429: "Busy; try again after the seconds in Retry-After.",
    503: "Not predicted in time.",
}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


HEALTH: dict[str, Any] = {
    "summary": "Whether the server answers.",
    "responses": {200: _json('{"status": "ok"}', {"type": "object", "properties": {"status": {"type": "string"}}})},
}
INFO: dict[str, Any] = {
    "summary": "What the model takes and answers: kind, classes, shape of its inputs, columns, and the limits.",
    "responses": {200: _json("Facts about the model.", {"type": "object"})},
}
PREDICT: dict[str, Any] = {
    "summary": "Predict images or rows: what the model takes, see /info.",
    "responses": {
        200: _json("A prediction for each input, in their order; an unreadable one has `error`.", _PREDICTIONS),
        **{status: {"description": text, "content": _FAILED} for status, text in _ERRORS.items()},
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": _FORM}, "application/json": {"schema": _ROWS}},
        }
    },
}
