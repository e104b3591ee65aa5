"""A model's weights alone, as safetensors; labels and preprocessing are for the receiver to follow."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np
import torch

from dlworkflow.errors import ConfigError, not_installed
from dlworkflow.inference.export.description import METADATA_KEY, Description
from dlworkflow.inference.export.network import Network
from dlworkflow.inference.export.torch_file import tensors_of


class SafetensorsFile:
    """Weights alone as safetensors, with labels.json beside them.

    The state_dict of the model, by the names of its parameters; the description is in the file's `__metadata__`, too.
    """

    suffix, opset, has_labels_beside = "safetensors", None, True

    def __init__(self, network: Network, example: Mapping[str, np.ndarray]) -> None:  # noqa: ARG002 - as others have it
        if find_spec("safetensors") is None:
            raise ConfigError(not_installed("--format safetensors", "safetensors", "safetensors"))
        self._network = network

    def content(self, description: Description) -> bytes:
        """Return the whole file, with a description in it."""
        from safetensors.torch import save

        weights = {name: value.contiguous().clone() for name, value in self._network.model.state_dict().items()}
        return save(weights, metadata={METADATA_KEY: description.to_text()})

    def answers(self, content: bytes, raw: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return what the model predicts with the weights of the file, (n, classes) or (n, 1)."""
        from safetensors.torch import load

        network = copy.deepcopy(self._network)
        for parameter in network.model.parameters():
            parameter.data.zero_()
        network.model.load_state_dict(load(content))
        with torch.inference_mode():
            return network(*tensors_of(network, raw)).numpy()
