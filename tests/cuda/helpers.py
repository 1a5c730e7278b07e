"""Compare the library on a device with itself on the CPU.

Every test runs on the CPU as well, where it compares the CPU with itself: so that the tests are
exercised where there is no device.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.torch_internals import TorchDispatchMode, tree_leaves
from unitary_zoo import Parametrization
from unitary_zoo.testing.subject import Subject, normal

T, B, M, N = 6, 3, 2, 7
DTYPES = [torch.float32, torch.float64]
DEVICE = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
SCHEMES = pytest.mark.parametrize(
    ("name", "field"),
    [(name, field) for name in Parametrization.names()
     for field in Parametrization.get(name).info.fields],
)  # fmt: skip


def assert_near(got: Tensor, wanted: Tensor, terms: int, device: str) -> None:
    """Equal but for the rounding of ``terms`` sums in another order, and computed on ``device``."""
    assert got.device.type == device
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    got, wanted = got.detach().cpu(), wanted.detach()
    assert torch.isfinite(got).all()
    size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    error = float((got - wanted).abs().max()) if wanted.numel() else 0.0
    assert error <= 16 * terms * torch.finfo(wanted.dtype).eps * size


def size_for(name: str) -> int:
    """N, or where the scheme does not accept it, the next size that it does."""
    return Subject(Parametrization.get(name)).sizes(N)[0]


def build(name: str, field: str, dtype: torch.dtype) -> Parametrization:
    """On the CPU, with a matrix whose coordinates are of order 1 where it can be chosen."""
    p = Subject(Parametrization.get(name)).build(size_for(name), field, dtype)
    if p.info.assignable:
        # Angles below pi/2, so that the Cayley map, which has a pole at pi, is well conditioned.
        p.reset_parameters("cayley", generator=torch.Generator().manual_seed(3))
    return p


def twin(module: nn.Module, device: str) -> Any:
    return copy.deepcopy(module).to(device)


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """Of the parameters that have entries."""
    named = {name: q for name, q in module.named_parameters() if q.numel()}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def functional(output: Tensor, seed: int = 5) -> Tensor:
    """A fixed real functional of an output on any device."""
    weight = normal(*output.shape, dtype=output.dtype, seed=seed).to(output.device)
    return (weight.conj() * output).real.sum()


class NothingOnTheCPU(TorchDispatchMode):
    """Fails where an operation computes a CPU tensor of more than one number.

    Small integer tensors, such as the batch sizes of a packed sequence, belong there.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.operations = device, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        out = function(*args, **(kwargs or {}))
        self.operations += 1
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.numel() > 1:
                wrong = tensor.device.type != self.device
                if wrong and (tensor.is_floating_point() or tensor.is_complex()):
                    raise AssertionError(f"{function} computed on {tensor.device}")
        return out
