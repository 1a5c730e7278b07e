"""The check of inputs and initial states against the bounds a network was built for."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from tests.theory.contractive import F32, F64, contractive, inputs, shared
from unitary_zoo.theory import BoundExceededError, unitary_equivalent


def test_check_refuses_inputs_beyond_the_bound_which_are_wrong_without_it():
    rnn, n = contractive(2, 4, 0.9), 4
    unitary = unitary_equivalent(rnn, 1.0)
    x = inputs(10, 3, 2, bound=1.0)
    x[6, 2] *= 1000 / x[6, 2].norm()
    with pytest.raises(BoundExceededError, match=r"step 6 has norm 1000, and input_bound=1;"):
        unitary(x)
    with pytest.raises(BoundExceededError, match=r"step 2 has norm 1000"):
        unitary(x.flip(0)[1:])
    with pytest.raises(BoundExceededError, match=r"step 6"):
        unitary(x[:, 2])
    packed = pack_padded_sequence(x, [3, 10, 8], enforce_sorted=False)
    with pytest.raises(BoundExceededError, match=r"step 6"):
        unitary(packed)
    first = unitary_equivalent(contractive(2, 4, 0.9, batch_first=True), 1.0)
    with pytest.raises(BoundExceededError, match=r"step 6"):
        first(x=x.transpose(0, 1))
    with pytest.raises(BoundExceededError, match=r"step 6"):
        first(input=x.transpose(0, 1))
    unchecked = unitary_equivalent(rnn, 1.0, check_inputs=False)
    old, new = shared(unchecked(x)[0], n)
    assert new.any()
    assert float((old - rnn(x)[0]).detach().abs().max()) > 1


@pytest.mark.parametrize(
    ("dtype", "scale"), [(F32, 1e30), (F32, 1e-30), (F64, 1e200), (F64, 1e-200)]
)
def test_check_compares_bounds_whose_squares_overflow(dtype, scale):
    rnn = contractive(3, 4, 0.9, dtype, bias=False)
    x = scale * inputs(6, 2, 3, bound=1.0, dtype=dtype)
    old, new = shared(unitary_equivalent(rnn, scale)(x)[0], 4)
    assert old.any()
    assert not new.any()
    for bound in (scale / 2, 0.0):
        with pytest.raises(BoundExceededError, match=r"has norm .*, and input_bound="):
            unitary_equivalent(rnn, bound)(x)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_check_refuses_inputs_that_are_not_finite(bad):
    unitary = unitary_equivalent(contractive(2, 4, 0.9), 1.0, initial_bound=1.0)
    x, h_0 = inputs(6, 3, 2, bound=1.0), torch.zeros(1, 3, 8, dtype=F64)
    for tensor, match in ((x, "input of step 0 has norm"), (h_0, "h_0 has norm")):
        tensor[0, 1, 0] = bad
        with pytest.raises(BoundExceededError, match=match):
            unitary(x, h_0)
        tensor[0, 1, 0] = 0.0


def test_check_refuses_lengths_and_initial_states_beyond_the_bound():
    rnn = contractive(2, 4, 1.0)
    unitary, x = unitary_equivalent(rnn, 1.0, steps=5), inputs(6, 3, 2, bound=1.0)
    with pytest.raises(BoundExceededError, match=r"6 steps.*steps=5"):
        unitary(x)
    start = torch.zeros(1, 3, 8, dtype=F64)
    unitary(x[:5], start)
    start[0, 1, 0] = 0.5
    with pytest.raises(BoundExceededError, match=r"h_0 has norm 0\.5, and initial_bound=0;"):
        unitary(x[:5], h_0=start)
    with pytest.raises(BoundExceededError, match=r"h_0 has norm 0\.5, and initial_bound=0;"):
        unitary(x[:5], hx=start)
    wide = unitary_equivalent(rnn, 1.0, steps=5, initial_bound=1.0)
    wide(x[:5], start)
    with pytest.raises(BoundExceededError, match=r"not 0 beyond the 4 states.*pad"):
        wide(x[:5], start.roll(4, -1))


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "save"])
def test_check_survives_a_copy(how):
    unitary, x = unitary_equivalent(contractive(2, 4, 0.9), 1.0), inputs(6, 3, 2, bound=1.0)
    if how == "deepcopy":
        clone = copy.deepcopy(unitary)
    elif how == "pickle":
        clone = pickle.loads(pickle.dumps(unitary))
    else:
        buffer = io.BytesIO()
        torch.save(unitary, buffer)
        buffer.seek(0)
        clone = torch.load(buffer, weights_only=False)
    assert torch.equal(clone(x)[0], unitary(x)[0])
    with pytest.raises(BoundExceededError):
        clone(2 * x)
    other = unitary_equivalent(contractive(2, 4, 0.5, seed=5), 1.0)
    other.load_state_dict(unitary.state_dict())
    assert torch.equal(other(x)[0], unitary(x)[0])


def test_check_skips_transforms():
    unitary, x = unitary_equivalent(contractive(2, 4, 0.9), 1.0), inputs(2, 6, 3, 2, bound=1.0)
    got = torch.vmap(lambda x: unitary(x)[0])(x)
    torch.testing.assert_close(got, torch.stack([unitary(y)[0] for y in x]), rtol=1e-12, atol=1e-12)
