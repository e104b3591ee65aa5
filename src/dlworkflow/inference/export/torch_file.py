"""A model as a program of torch.export, `.pt2`: runs in torch alone, without the code of its class."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlworkflow.errors import ModelError, first_line
from dlworkflow.inference.export.description import CATEGORIES, METADATA_KEY, Description
from dlworkflow.inference.export.network import Encoded, Network, codes_of

_MOST = 2**31 - 1  # samples in a batch: torch before 2.7 takes 2**63 - 1 for a limit of the model's


class TorchFile:
    """A program of torch.export, for PyTorch without the model's code.

    One module of raw inputs, `torch.export.load(file).module()`; the description is the extra file `dlworkflow`.

    The categories of a table are their places in the description's lists, int64.
    """

    suffix, opset, has_labels_beside = "pt2", None, False

    def __init__(self, network: Network, example: Mapping[str, np.ndarray]) -> None:
        self._network = network
        self._program = program_of(network, tensors_of(network, example))

    def content(self, description: Description) -> bytes:
        """Return the whole file, with a description in it."""
        stream = io.BytesIO()
        with quiet():
            torch.export.save(self._program, stream, extra_files={METADATA_KEY: description.to_text()})
        return stream.getvalue()

    def answers(self, content: bytes, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the program predicts for raw inputs, (n, classes) or (n, 1)."""
        module = torch.export.load(io.BytesIO(content)).module()
        with torch.inference_mode():
            found: Tensor = module(*tensors_of(self._network, raw))
        return found.numpy()


def program_of(network: Network, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """Return a network as a program for any number of samples, without the paths of the files that its code is in.

    Raises ModelError for a model that cannot be one: whose steps depend on the values of its inputs, say.
    """
    shapes = (tuple({0: torch.export.Dim("n", max=_MOST)} for _ in example),)
    try:
        with quiet():
            program = torch.export.export(network, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise ModelError(
            f"torch.export cannot follow {type(network.model).__name__}: {_reason(error)}; "
            "--format safetensors holds its weights"
        ) from error
    for part in program.graph_module.modules():
        for node in getattr(getattr(part, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)
    return program


def _reason(error: Exception) -> str:
    if "data-dependent" in str(error):
        return "its steps depend on the values of its inputs"
    return "its steps depend on the number of samples" if "onstraints violated" in str(error) else first_line(error)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporters print for their developers from the user within the block."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def tensors_of(network: Network, raw: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Return raw inputs as the network takes them."""
    return tuple(
        codes_of(network.prepared.columns, values)
        if name == CATEGORIES and isinstance(network.prepared, Encoded)
        else torch.from_numpy(np.ascontiguousarray(values))
        for name, values in raw.items()
    )
