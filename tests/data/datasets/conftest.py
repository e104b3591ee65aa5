import pytest
import torch


@pytest.fixture
def as_idx():
    """Return whole numbers up to 255 as the content of an IDX file."""

    def content(values):
        sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
        return bytes([0, 0, 8, values.ndim]) + sizes + values.to(torch.uint8).numpy().tobytes()

    return content
