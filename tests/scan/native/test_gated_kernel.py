"""The kernel of gated units at awkward sizes and special numbers, with every instruction set."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.scan.gated_helpers import F32, F64, draw, leaves, results
from tests.scan.memory import saved_bytes
from tests.scan.native.helpers import ISAS, assert_equal
from unitary_zoo.scan import gated_scan
from unitary_zoo.scan.native import base_call, library, slices
from unitary_zoo.testing import strategies

LAST = {"return_sequence": False}
# The whole sequence; the last state with kept gates; and what recomputes gates.
OPTIONS = [
    {},
    LAST,
    {"checkpoint": 7},
    {"checkpoint": 7, **LAST},
    {"budget": 1},
    {"budget": 1, **LAST},
]


def scan(tensors: dict[str, Tensor], backend: str, budget: int | None = None, **options) -> Tensor:
    """Run the scan; ``budget`` is that of the kernel for what it keeps, in bytes."""
    with pytest.MonkeyPatch.context() as patch:
        if budget is not None:
            patch.setattr(base_call, "_KEPT_BYTES", budget)
        return gated_scan(**tensors, backend=backend, **options)


def awkward_cases() -> list:
    """Every size with one of the options in turn."""
    sizes = [
        (n, batch, steps)
        for n in [1, 2, 3, 7, 15, 16, 17, 33, 100]
        for batch in [1, 2, 5, 24, 25, 130]
        for steps in [1, 2, 9, 1000]
        # Long and wide ones take the loop long; few of them show what is different there.
        if batch * steps * n * n <= 2e6
        and (steps < 1000 or (batch, n) in [(2, 3), (25, 1), (2, 17)])
    ]
    return [
        pytest.param(*size, OPTIONS[i % 6], id="n{}-B{}-T{}".format(*size) + f"-{OPTIONS[i % 6]}")
        for i, size in enumerate(sizes)
    ]


def wider(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, with rows of x and h0 that do not lie side by side."""
    apart = {key: torch.cat([tensors[key]] * 2, -1).chunk(2, -1)[0] for key in ("x", "h0")}
    return {**tensors, **apart}


@pytest.mark.parametrize(("n", "batch", "steps", "options"), awkward_cases())
def test_gated_kernel_equals_the_loop_in_double_precision(n, batch, steps, options, monkeypatch):
    """All results differ by at most 1e-10, with each instruction set."""
    tensors = leaves(wider(draw(steps, batch, n, m=1 + n % 4)))
    plain = {key: value for key, value in options.items() if key == "return_sequence"}
    wanted = results(lambda given: scan(given, "reference", **plain), tensors)
    for isa in ISAS:
        monkeypatch.setenv(library.ENVIRONMENT, isa)
        got = results(lambda given: scan(given, "native", **options), tensors)
        assert_equal(got, wanted, 1e-10, isa)


@pytest.mark.parametrize(("n", "batch", "steps"), [(1, 25, 70), (17, 5, 100), (33, 25, 30)])
def test_gated_kernel_in_single_precision_errs_by_rounding(n, batch, steps, monkeypatch):
    """Compared with double precision on the same numbers."""
    tensors = draw(steps, batch, n)
    wanted = results(lambda given: scan(given, "reference"), leaves(tensors))
    plain = results(lambda given: scan(given, "reference"), leaves(tensors, F32))
    for isa in ISAS:
        monkeypatch.setenv(library.ENVIRONMENT, isa)
        for options in ({}, {"budget": 1}):
            got = results(lambda given: scan(given, "native", **options), leaves(tensors, F32))
            for key, true in wanted.items():
                # What rounding does to this very problem in the loop, and another order of the same
                # sums of n terms: 16 of that at most, as in the comparison with torch.
                scale = max(1.0, float(true.abs().max())) * torch.finfo(F32).eps * math.sqrt(n)
                limit = 16 * max(float((plain[key] - true).abs().max()), scale)
                assert float((got[key] - true).abs().max()) <= limit, (isa, key)


@given(
    n=st.integers(1, 40),
    batch=st.integers(1, 40),
    steps=st.integers(1, 70),
    m=st.integers(1, 20),
    biases=st.tuples(st.booleans(), st.booleans()),
    isa=st.sampled_from(ISAS),
    sequence=st.booleans(),
    checkpoint=st.none() | st.integers(1, 80),
    budget=st.sampled_from([None, 1]),
    seed=strategies.seeds(),
    data=st.data(),
)
def test_gated_kernel_equals_the_loop_for_any_shape_and_gradients(
    n, batch, steps, m, biases, isa, sequence, checkpoint, budget, seed, data
):
    bias, bias_hn = biases
    tensors = draw(steps, batch, n, m, bias=bias, bias_hn=bias_hn, seed=seed % 2**31)
    wanted_of = data.draw(st.sets(st.sampled_from(sorted(tensors)), min_size=1))
    given = leaves(tensors, F64, *wanted_of)
    options = {"return_sequence": sequence}
    wanted = results(lambda given: scan(given, "reference", **options), given)
    options |= {"checkpoint": checkpoint, "budget": budget}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(library.ENVIRONMENT, isa)
        got = results(lambda given: scan(given, "native", **options), given)
    assert_equal(got, wanted, 1e-10)


@pytest.mark.parametrize(("n", "batch", "steps"), [(70, 2, 20), (33, 25, 60)])
def test_gated_kernel_gives_the_same_bits_on_any_number_of_threads(n, batch, steps):
    """Whole slices, and the columns of one, are shared by threads."""
    given, before = leaves(draw(steps, batch, n), F32), torch.get_num_threads()
    try:
        for options in ({}, {"budget": 1, **LAST}):
            found = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(slices, "_WORTH_A_THREAD", 1)
                    patch.setattr(slices, "_WORTH_SHARING", 1)
                    found.append(results(lambda given: scan(given, "native", **options), given))
            for other in found[1:]:
                assert all(torch.equal(other[key], value) for key, value in found[0].items())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("budget", [None, 1])
def test_gated_kernel_passes_nan_and_infinity_through(budget, dtype, isa, monkeypatch):
    """States and gradients have them where those of the loop do, and agree elsewhere."""
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    tensors = {key: t.to(dtype) for key, t in draw(6, 14, 5, 1).items()}
    for i, special in enumerate([math.nan, math.inf, -math.inf, 1e30, -1e30, 88.0, -710.0]):
        tensors["x"][2, 2 * i] = special
    found = [
        results(lambda given, b=backend: scan(given, b, budget), leaves(tensors, dtype, "x", "h0"))
        for backend in ("native", "reference")
    ]
    for key, wanted in found[1].items():
        # Sums of 15 terms of at most 10, and steps that enlarge little.
        torch.testing.assert_close(
            found[0][key], wanted, rtol=0, atol=1e4 * torch.finfo(dtype).eps, equal_nan=True
        )


@pytest.mark.parametrize("checkpoint", [None, 50])
def test_gated_kernel_saves_a_fraction_of_the_sequence(checkpoint, monkeypatch):
    """Without room for the gates: the state before each segment, or those of the checkpoint."""
    tensors = leaves(draw(2000, 8, 16, 1), F32, "W", "h0")
    run = lambda: scan(tensors, "native", budget=1, checkpoint=checkpoint, return_sequence=False)
    h, saved = saved_bytes(run, tensors.values())
    assert 0 < saved <= 2000 // 20 * 8 * 16 * 4
    (dw,) = torch.autograd.grad(h.sum(), tensors["W"])
    high = leaves(draw(2000, 8, 16, 1), F64, "W")
    (wanted,) = torch.autograd.grad(scan(high, "portable", **LAST).sum(), high["W"])
    # A sum of 16000 products of single precision, whose errors grow like the root of that.
    torch.testing.assert_close(dw.double(), wanted, rtol=0, atol=2e-4 * float(wanted.abs().max()))
