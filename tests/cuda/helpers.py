"""Compare the library on a device with itself on the CPU.

Every test also runs with the CPU as its device, so that machines without another one exercise it.
"""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.oracles import named_learned
from tests.torch_internals import TorchDispatchMode, tree_leaves
from unitary_zoo import Parametrization
from unitary_zoo.testing.subject import Subject, normal

T, B, M, N = 6, 3, 2, 7
DTYPES = [torch.float32, torch.float64]
CUDA = pytest.param("cuda", marks=pytest.mark.cuda)
DEVICE = pytest.mark.parametrize("device", ["cpu", CUDA])
# The CPU is compared with itself only to see that the tests run: one scheme of each family and
# field is enough for that.
ON_THE_CPU = [
    ("expm", "real"), ("arjovsky", "complex"), ("lie_exp", "real"), ("dtriv", "complex"),
    ("svd_projection", "real"), ("projunn_t", "complex"),
]  # fmt: skip
SCHEMES = pytest.mark.parametrize(
    ("device", "name", "field"),
    [
        *(("cpu", name, field) for name, field in ON_THE_CPU),
        *(
            pytest.param("cuda", name, field, marks=pytest.mark.cuda)
            for name in Parametrization.names()
            for field in Parametrization.get(name).info.fields
        ),
    ],
)


def assert_near(got: Tensor, wanted: Tensor, terms: int, device: str) -> None:
    """Assert equality up to the rounding of ``terms`` sums, and that ``device`` computed it."""
    assert got.device.type == device
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    got, wanted = got.detach().cpu(), wanted.detach()
    assert torch.isfinite(got).all()
    size = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    error = float((got - wanted).abs().max()) if wanted.numel() else 0.0
    assert error <= 16 * terms * torch.finfo(wanted.dtype).eps * size


def size_for(name: str) -> int:
    """N, or the next size that the scheme accepts."""
    return Subject(Parametrization.get(name)).sizes(N)[0]


def build(name: str, field: str, dtype: torch.dtype) -> Parametrization:
    """A scheme on the CPU; if its matrix can be chosen, with coordinates of order 1."""
    p = Subject(Parametrization.get(name)).build(size_for(name), field, dtype)
    if p.info.assignable:
        # Angles below pi/2, so that the Cayley map, which has a pole at pi, is well conditioned.
        p.reset_parameters("cayley", generator=torch.Generator().manual_seed(3))
    return p


def copy_on(module: nn.Module, device: str) -> Any:
    return copy.deepcopy(module).to(device)


def gradients(loss: Tensor, module: nn.Module) -> dict[str, Tensor]:
    """The gradients of the parameters that have entries, by name."""
    named = {name: q for name, q in named_learned(module) if q.numel()}
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


def functional(output: Tensor, seed: int = 5) -> Tensor:
    """A fixed real functional of an output on any device."""
    weight = normal(*output.shape, dtype=output.dtype, seed=seed).to(output.device)
    return (weight.conj() * output).real.sum()


class OnlyOnTheDevice(TorchDispatchMode):
    """Fails if an operation computes a tensor of more than one number on another device.

    Integer tensors, such as the batch sizes of a packed sequence, may be on the CPU.
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
