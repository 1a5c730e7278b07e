"""W^H W = I and what follows from it, for every scheme that claims it, at random points."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unitary_zoo import Parametrization, linalg
from unitary_zoo.testing.strategies import batch_shapes, parametrizations, seeds

EXACT = Parametrization.names(exact=True)


def states(p, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, p.n, dtype=p.dtype, generator=generator)


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data(), shape=batch_shapes(), seed=seeds())
def test_matrix_is_unitary_and_forward_keeps_norms(name, data, shape, seed):
    p = data.draw(parametrizations(name))
    w = p.matrix().detach()
    limit = p.info.tolerance(p.n, p.dtype)
    assert linalg.unitarity_defect(w) <= limit
    # The other product has the same singular values, so the same defect.
    assert linalg.unitarity_defect(w.mH) <= limit
    h = states(p, shape, seed)
    image = p(h)
    # ||W h||^2 - ||h||^2 = h^H (W^H W - I) h, and the products round like the defect does.
    limit *= 2
    size = h.norm(dim=-1)
    assert ((image.norm(dim=-1) - size).abs() <= limit * size).all()
    assert ((p.adjoint(image) - h).norm(dim=-1) <= 2 * limit * size).all()


@pytest.mark.parametrize("name", EXACT)
@given(data=st.data())
def test_step_keeps_the_matrix_unitary(name, data):
    p = data.draw(parametrizations(name, largest=8))
    rate = data.draw(st.sampled_from([1e-3, 1e-1, 10.0]))
    generator = torch.Generator().manual_seed(data.draw(seeds()))
    weight = torch.randn(p.n, p.n, dtype=p.dtype, generator=generator)
    (p.matrix() * weight).real.sum().backward()
    p.begin_step_()
    torch.optim.SGD(p.parameters(), lr=rate).step()
    p.step_()
    assert linalg.unitarity_defect(p.matrix()) <= p.info.tolerance(p.n, p.dtype)
