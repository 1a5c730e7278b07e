"""Sequences of different lengths: the state of each at its end, without those of the others."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from tests.scan import gated_helpers
from tests.scan.memory import saved_bytes
from tests.scan.native.helpers import ACTIVATIONS, ISAS, inputs
from unitary_zoo import UnitaryRNN
from unitary_zoo.scan import backends, gated_scan, recurrent_scan
from unitary_zoo.scan.native import base_call, library
from unitary_zoo.testing import strategies

NATIVE = backends()["native"].available


def each_by_itself(tensors: dict[str, Tensor], name: str, lengths: list[int]) -> Tensor:
    """The last state of each sequence, run alone by the plain loop."""
    x, h0 = tensors["x"], tensors["h0"]
    rest = {key: t for key, t in tensors.items() if key not in ("x", "h0")}
    ends = [
        recurrent_scan(
            x[:length, i : i + 1], h0=h0[i : i + 1], nonlinearity=name, return_sequence=False,
            backend="reference", **rest,
        )
        for i, length in enumerate(lengths)
    ]  # fmt: skip
    return torch.cat(ends)


@given(
    n=st.integers(1, 40),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30),
    m=st.integers(0, 3),
    activation=st.sampled_from(ACTIVATIONS),
    backend=st.sampled_from([*ISAS * NATIVE, "portable"]),
    checkpoint=st.none() | st.integers(1, 40),
    spare=st.integers(0, 2),
    seed=strategies.seeds(),
)
def test_scan_with_lengths_equals_each_sequence_by_itself(
    n, lengths, m, activation, backend, checkpoint, spare, seed
):
    """Results and all gradients; those of the padding are zero, whatever it holds."""
    name, is_complex = activation
    lengths = sorted(lengths, reverse=True)
    steps = lengths[0] + spare
    tensors = inputs(n, len(lengths), steps, name, is_complex=is_complex, m=m, seed=seed % 2**31)
    if backend != "portable":
        padding = torch.arange(steps).unsqueeze(1) >= torch.tensor(lengths)
        tensors["x"] = tensors["x"].detach().clone()
        tensors["x"][padding] = float("nan")
        tensors["x"].requires_grad_()
    keys = list(tensors)
    weight = torch.randn_like(tensors["h0"]).detach()
    with pytest.MonkeyPatch.context() as patch:
        if backend != "portable":
            patch.setenv(library.ENVIRONMENT, backend)
        got = recurrent_scan(
            **tensors, nonlinearity=name, return_sequence=False, lengths=torch.tensor(lengths),
            checkpoint=checkpoint, backend="portable" if backend == "portable" else "native",
        )  # fmt: skip
        grads = torch.autograd.grad((weight * got).sum().abs(), [tensors[key] for key in keys])
    clean = dict(tensors, x=tensors["x"].detach().nan_to_num().requires_grad_())
    wanted = each_by_itself(clean, name, lengths)
    true = torch.autograd.grad((weight * wanted).sum().abs(), [clean[key] for key in keys])
    for a, b in zip([got, *grads], [wanted, *true], strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-10, atol=1e-10)


@given(
    n=st.integers(1, 20),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=30),
    backend=st.sampled_from([*["native"] * NATIVE, "portable"]),
    checkpoint=st.none() | st.integers(1, 40),
    keeps=st.booleans(),
    seed=strategies.seeds(),
)
def test_gated_scan_with_lengths_equals_the_ends_of_all_states(
    n, lengths, backend, checkpoint, keeps, seed
):
    lengths = torch.tensor(sorted(lengths, reverse=True))
    steps, batch = int(lengths[0]) + 1, len(lengths)
    drawn = gated_helpers.draw(steps, batch, n, seed=seed % 2**31)
    padding = torch.arange(steps).unsqueeze(1) >= lengths
    drawn["x"] = drawn["x"].masked_fill(padding.unsqueeze(-1), 0.0)
    ends = lambda given: gated_scan(**given, backend="reference")[lengths - 1, torch.arange(batch)]
    wanted = gated_helpers.results(ends, gated_helpers.leaves(drawn))
    if backend == "native":  # what the padding holds is not read
        drawn["x"] = drawn["x"].masked_fill(padding.unsqueeze(-1), float("nan"))
    with pytest.MonkeyPatch.context() as patch:
        if not keeps:
            patch.setattr(base_call, "_KEPT_BYTES", 1)
        got = gated_helpers.results(
            lambda given: gated_scan(
                **given, return_sequence=False, lengths=lengths, checkpoint=checkpoint,
                backend=backend,
            ),
            gated_helpers.leaves(drawn),
        )  # fmt: skip
    for key, true in wanted.items():
        torch.testing.assert_close(got[key], true, rtol=1e-10, atol=1e-10)


def test_scan_with_lengths_is_differentiable_twice():
    lengths, tensors = torch.tensor([5, 3, 1]), inputs(3, 3, 5, "tanh")
    run = lambda w: recurrent_scan(
        **dict(tensors, W=w), nonlinearity="tanh", return_sequence=False, lengths=lengths
    )
    assert torch.autograd.gradgradcheck(run, tensors["W"])


@pytest.mark.skipif(not NATIVE, reason="the kernel is not built")
def test_packed_layer_keeps_no_sequence_for_the_last_states():
    rnn = UnitaryRNN(1, 16, return_sequence=False)
    packed = pack_sequence([torch.randn(2000 - i, 1) for i in range(8)])
    h_n, saved = saved_bytes(lambda: rnn(packed)[1], rnn.parameters())
    h_n.sum().backward()
    assert saved <= 0.6 * 2000 * 8 * 16 * 4


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.tensor([1, 2]), "down to 1, sorted"),
        (torch.tensor([4, 0]), "from 4 down to 1"),
        (torch.tensor([5, 1]), "from 4 down to 1"),
        (torch.tensor([4.0, 1.0]), r"int64 \(2,\) on the CPU"),
        (torch.tensor([4]), r"int64 \(2,\) on the CPU"),
    ],
)
def test_scan_refuses_other_lengths(lengths, message):
    tensors = inputs(3, 2, 4, "tanh")
    with pytest.raises(ValueError, match=message):
        recurrent_scan(**tensors, nonlinearity="tanh", return_sequence=False, lengths=lengths)
    with pytest.raises(ValueError, match="return_sequence=False"):
        recurrent_scan(**tensors, nonlinearity="tanh", lengths=lengths)
