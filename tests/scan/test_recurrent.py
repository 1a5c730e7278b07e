"""recurrent_scan: gradient modes, layouts of the inputs, and the machinery of gradients."""

import copy

import pytest
import torch
from torch import Tensor

from tests.scan.recurrent_helpers import (
    ACTIVATIONS,
    CLOSE,
    EVERY,
    B,
    M,
    N,
    T,
    assert_close,
    gradients,
    inputs,
    leaves,
)
from tests.torch_internals import writes
from unitary_zoo.scan import recurrent_scan
from unitary_zoo.testing.subject import haar, normal


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "dtype"), ACTIVATIONS)
def test_scan_gives_the_same_without_gradients(name, dtype, return_sequence, backend):
    tensors = leaves(inputs(name, dtype))
    options = {"nonlinearity": name, "return_sequence": return_sequence, "backend": backend}
    wanted = recurrent_scan(**tensors, **options)
    assert wanted.requires_grad
    with torch.no_grad():
        plain = recurrent_scan(**tensors, **options)
    with torch.inference_mode():
        inference = recurrent_scan(**tensors, **options)
    bare = recurrent_scan(**{key: t.detach() for key, t in tensors.items()}, **options)
    for got in (plain, inference, bare):
        assert not got.requires_grad
        torch.testing.assert_close(got.clone(), wanted.detach(), **CLOSE)


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "dtype"), ACTIVATIONS)
def test_scan_takes_any_layout_of_the_inputs(name, dtype, return_sequence, backend):
    """Transposed, strided, expanded and lazily conjugated inputs, and such gradients."""
    options = {"nonlinearity": name, "return_sequence": return_sequence, "backend": backend}
    real = dtype.to_real() if dtype.is_complex else dtype
    bases = {
        "x": normal(B, M, T, dtype=dtype, seed=1),
        "W": haar(N, dtype),
        "h0": normal(1, N, dtype=dtype, seed=3),
        "weight_ih": normal(2 * M, 3 * N, dtype=dtype, seed=4),
        "bias": normal(N, 2, dtype=dtype, seed=5),
    }
    views = {
        "x": lambda t: t.permute(2, 0, 1),
        "W": lambda t: t.mH,
        "h0": lambda t: t.expand(B, N),
        "weight_ih": lambda t: t[::2, 1::3].mT.conj(),
        "bias": lambda t: t[:, 1],
    }
    if name == "modrelu":
        bases["threshold"] = 0.1 * normal(1, dtype=real, seed=6)
        views["threshold"] = lambda t: t.expand(N)

    def run(contiguous: bool) -> list[Tensor]:
        tensors = leaves(bases)
        given = {key: views[key](tensors[key]) for key in tensors}
        if contiguous:
            given = {key: t.contiguous().resolve_conj() for key, t in given.items()}
        else:
            assert not any(t.is_contiguous() and not t.is_conj() for t in given.values())
        out = recurrent_scan(**given, **options)
        # The gradient of a sum is one number expanded; that of conj is a lazy conjugate.
        loss = (out.real + (out.conj().imag if out.is_complex() else 0)).sum()
        return [out, *torch.autograd.grad(loss, list(tensors.values()))]

    assert_close(run(contiguous=False), run(contiguous=True))


@EVERY
@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "dtype"), ACTIVATIONS)
def test_scan_leaves_its_inputs_alone(name, dtype, return_sequence, checkpoint, backend):
    tensors = leaves(inputs(name, dtype))
    before = copy.deepcopy(tensors)
    versions = {key: writes(t) for key, t in tensors.items()}
    out = recurrent_scan(
        **tensors, nonlinearity=name, return_sequence=return_sequence, backend=backend,
        checkpoint=checkpoint,
    )  # fmt: skip
    gradients(out, tensors)
    with torch.no_grad():
        recurrent_scan(**tensors, nonlinearity=name, return_sequence=False, backend=backend)
    for key, tensor in tensors.items():
        assert torch.equal(tensor, before[key]), key
        assert writes(tensor) == versions[key], key


@EVERY
def test_scan_output_shares_no_memory_with_the_inputs(backend):
    for name, dtype in ACTIVATIONS:
        tensors = inputs(name, dtype)
        before = copy.deepcopy(tensors)
        for return_sequence in (True, False):
            recurrent_scan(
                **tensors, nonlinearity=name, return_sequence=return_sequence, backend=backend
            ).zero_()
        assert all(torch.equal(tensors[key], before[key]) for key in tensors)


@EVERY
@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "dtype"), ACTIVATIONS)
def test_scan_allows_or_refuses_a_write_into_its_output(
    name, dtype, return_sequence, visible, backend
):
    """Gradients after a write, recorded by autograd or not, are right, or an error names it."""
    options = {"nonlinearity": name, "return_sequence": return_sequence, "backend": backend}
    tensors = leaves(inputs(name, dtype))
    out = recurrent_scan(**tensors, **options)
    weight = normal(*out.shape, dtype=dtype, seed=8)
    wanted = torch.autograd.grad((weight * 3 * out).real.sum(), list(tensors.values()))
    out = recurrent_scan(**tensors, **options)
    got, refused = None, ""
    try:
        if visible:
            out.mul_(3)
            loss = (weight * out).real.sum()
        else:
            loss = (weight * 3 * out).real.sum()
            with torch.no_grad():
                out.zero_()
        got = torch.autograd.grad(loss, list(tensors.values()))
    except RuntimeError as error:
        refused = str(error)
    if got is None:
        assert "inplace" in refused
    else:
        assert_close(list(got), list(wanted))


@EVERY
def test_scan_gradients_of_a_second_backward_and_of_a_shared_leaf(backend):
    tensors = leaves(inputs())
    out = recurrent_scan(**tensors, nonlinearity="tanh", backend=backend)
    loss = out.square().sum()
    values = list(tensors.values())
    first = torch.autograd.grad(loss, values, retain_graph=True)
    assert_close(list(torch.autograd.grad(loss, values)), list(first))
    # bias and threshold one tensor: its gradient is the sum of the two.
    shared = normal(N, dtype=torch.float64, seed=7).requires_grad_()
    apart = [shared.detach().clone().requires_grad_() for _ in range(2)]
    given = {key: t.detach() for key, t in tensors.items() if key != "bias"}
    options = {"nonlinearity": "modrelu", "backend": backend}
    both = recurrent_scan(**given, bias=shared, threshold=shared, **options).sum()
    two = recurrent_scan(**given, bias=apart[0], threshold=apart[1], **options).sum()
    (got,) = torch.autograd.grad(both, shared)
    assert_close([got], [sum(torch.autograd.grad(two, apart))])


@EVERY
@pytest.mark.parametrize("checkpoint", [None, 2])
def test_scan_second_derivative_counts_each_path_once(checkpoint, backend):
    """The state at the start of the second half is a function of the same W, V and b."""

    def twice(backend: str, checkpoint: int | None) -> list[Tensor]:
        tensors = leaves(inputs())
        x, h = tensors["x"], tensors["h0"]
        weights = {key: t for key, t in tensors.items() if key not in ("x", "h0")}
        for part in (x[:3], x[3:]):
            options = {"nonlinearity": "tanh", "backend": backend, "checkpoint": checkpoint}
            h = recurrent_scan(part, h0=h, return_sequence=False, **weights, **options)
        values = list(tensors.values())
        first = torch.autograd.grad(h.square().sum(), values, create_graph=True)
        return [*first, *torch.autograd.grad(sum(g.square().sum() for g in first), values)]

    assert_close(twice(backend, checkpoint), twice("reference", None))


@EVERY
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("v", [True, False])
def test_scan_takes_an_empty_batch(v, return_sequence, backend):
    """The result has no rows and all gradients are 0, as in torch.nn.RNN."""
    tensors = leaves(
        {
            "x": torch.zeros(T, 0, M if v else N, dtype=torch.float64),
            "W": haar(N, torch.float64),
            "h0": torch.zeros(0, N, dtype=torch.float64),
            **({"weight_ih": normal(N, M, dtype=torch.float64)} if v else {}),
            "bias": normal(N, dtype=torch.float64),
        }
    )
    options = {"nonlinearity": "tanh", "return_sequence": return_sequence, "backend": backend}
    out = recurrent_scan(**tensors, **options)
    assert out.shape == ((T, 0, N) if return_sequence else (0, N))
    for grad, tensor in zip(gradients(out, tensors), tensors.values(), strict=True):
        assert torch.equal(grad, torch.zeros_like(tensor))
    with torch.no_grad():
        assert recurrent_scan(**tensors, **options).shape == out.shape
