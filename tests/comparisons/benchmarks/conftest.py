"""Running a benchmark as the command line does, and planted faults."""

from collections.abc import Callable

import pytest
import torch

from comparisons.benchmarks.__main__ import main

FAULTS = {
    "outputs": lambda out: out * (1 + 1e-9),
    "gradients": lambda out: out * (1 + 1e-9) - (out * 1e-9).detach(),
    "one precision": lambda out: out * (1 + 1e-3 * (out.real.dtype == torch.float32)),
    "NaN": lambda out: out * torch.nan,
}


@pytest.fixture(params=FAULTS)
def fault(request) -> Callable[[torch.Tensor], torch.Tensor]:
    """A wrong output, gradient or precision."""
    return FAULTS[request.param]


@pytest.fixture
def run():
    """Run a benchmark at tiny sizes; the number of threads is restored."""
    before = torch.get_num_threads()
    yield lambda name, *argv: main([name, "--tiny", "--threads", "1", *argv])
    torch.set_num_threads(before)
