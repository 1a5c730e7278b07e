"""Precision of products on a CUDA device."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _single_precision_is_single() -> Iterator[None]:
    """Compute without TF32, which keeps 10 bits of a product."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)
