"""A model as an ONNX file, which every runtime of ONNX reads; made by torch's exporter, run by onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from dlworkflow.data.columns import Column, Columns
from dlworkflow.errors import ConfigError, ModelError, first_line, not_installed
from dlworkflow.inference.export.description import CATEGORIES, METADATA_KEY, Description
from dlworkflow.inference.export.network import Encoded, Network
from dlworkflow.inference.export.torch_file import program_of, quiet, tensors_of

OPSET = 18
"""The version of ONNX's operators: that of torch's exporter, read by onnxruntime from 1.14 (2023) on."""
_MOST_BYTES = 2**31 - 2**20  # of weights: a file of Protocol Buffers has less than 2 GiB
_CODES = "places_of_categories"


class OnnxFile:
    """ONNX, for other programs, and to predict without PyTorch.

    One graph of raw inputs; the description is the property `dlworkflow`.
    """

    suffix, opset, has_labels_beside = "onnx", OPSET, False

    def __init__(self, network: Network, example: Mapping[str, np.ndarray]) -> None:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            if find_spec(package) is None:
                raise ConfigError(not_installed("--format onnx", package, "export"))
        if sum(value.nbytes for value in network.state_dict().values()) > _MOST_BYTES:
            raise ModelError("ONNX cannot hold the model in one file: it has 2 GiB or more; use --format torch")
        program = program_of(network, tensors_of(network, example))
        names = [_CODES if name == CATEGORIES else name for name in example]
        output = "probabilities" if network.task.has_accuracy else "values"
        with quiet():
            try:
                found = torch.onnx.export(
                    program, input_names=names, output_names=[output], opset_version=OPSET, dynamo=True, verbose=False
                )
            except Exception as error:
                raise ModelError(f"ONNX cannot hold the model: {_reason(error)}; --format torch may") from error
        assert found is not None
        self._model: Any = found.model_proto
        for graph in (self._model.graph, *self._model.functions):
            _strip(graph)
        if CATEGORIES in example and isinstance(network.prepared, Encoded):
            _take_texts(self._model, network.prepared.columns)

    def content(self, description: Description) -> bytes:
        """Return the whole file, with a description in it."""
        import onnx

        onnx.helper.set_model_props(self._model, {METADATA_KEY: description.to_text()})
        content: bytes = self._model.SerializeToString()
        return content

    def answers(self, content: bytes, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what onnxruntime predicts for raw inputs, (n, classes) or (n, 1)."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        [found] = session.run(None, dict(raw))
        answers: np.ndarray = found
        return answers


def _strip(graph: Any) -> None:
    """Remove the exporter's notes, which name paths of this machine, from a graph and those within its nodes."""
    for part in (graph, *graph.node, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _strip(inner)


def _reason(error: BaseException) -> str:
    """Return which operator has no counterpart, or the last cause's first line."""
    while error.__cause__ is not None:
        error = error.__cause__
    operator = re.search(r"op='([\w.:]+)'", str(error))
    return f"it has no operator for {operator[1]}" if operator else first_line(error)


def _take_texts(model: Any, columns: Columns) -> None:
    """Let the graph take the categories of a table as text in place of their places among the known ones."""
    from onnx import TensorProto, helper

    texts = [column for column in columns.inputs if column.categories is not None]
    parts = [f"category_{place}" for place in range(len(texts))]
    nodes = [helper.make_node("Split", [CATEGORIES], parts, axis=1, num_outputs=len(texts))]
    nodes += [
        helper.make_node("LabelEncoder", [part], [f"{part}_place"], domain="ai.onnx.ml", **_places(column))
        for part, column in zip(parts, texts, strict=True)
    ]
    nodes.append(helper.make_node("Concat", [f"{part}_place" for part in parts], [_CODES], axis=1))
    given = next(each for each in model.graph.input if each.name == _CODES)
    given.CopyFrom(helper.make_tensor_value_info(CATEGORIES, TensorProto.STRING, ["n", len(texts)]))
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))


def _places(column: Column) -> dict[str, Any]:
    names = list(column.categories or ())
    keys, values = list(names), list(range(len(names)))
    if column.fill is not None:  # what stands for a missing value
        keys.append("")
        values.append(names.index(str(column.fill)))
    return {"keys_strings": keys, "values_int64s": values, "default_int64": -1}
