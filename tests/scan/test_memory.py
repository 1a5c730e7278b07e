"""What a scan keeps in memory, what it builds once, and that it reads nothing unwritten."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from tests.scan.memory import poison, saved_bytes
from tests.torch_internals import TorchDispatchMode, tree_leaves
from unitary_zoo import Parametrization, UnitaryRNN, UnitaryRNNCell
from unitary_zoo.scan import autograd, recurrent_scan
from unitary_zoo.testing.subject import haar, normal, usable_backends

STEPS, BATCH, N = 60, 2, 16
REAL = ["modrelu", "relu", "leaky_relu", "abs", "tanh", "sigmoid", "identity"]
ACTIVATIONS = [(name, torch.float64) for name in REAL]
ACTIVATIONS += [("modrelu", torch.complex128), ("identity", torch.complex128)]


class Watch(TorchDispatchMode):
    """Records the storage of every tensor that an operation returns."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self._known = {StorageWeakRef(t.untyped_storage()).cdata for t in known}
        self.seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                reference = StorageWeakRef(storage)
                if reference.cdata not in self._known:
                    self.seen[reference.cdata] = (reference, storage.nbytes())
        return out

    def largest(self) -> int:
        """Bytes of the largest new storage."""
        return max(nbytes for _, nbytes in self.seen.values())

    def alive(self) -> int:
        """Bytes of the new storages that something still holds."""
        return sum(nbytes for reference, nbytes in self.seen.values() if not reference.expired())


@pytest.fixture(autouse=True)
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scans take the way that they take without a dispatch mode, such as ``Watch``."""
    monkeypatch.setattr(autograd, "is_watched", lambda: False)


def inputs(name: str, dtype: torch.dtype, *, steps: int = STEPS) -> dict[str, Tensor]:
    real = dtype.to_real() if dtype.is_complex else dtype
    threshold = {"threshold": 0.1 * normal(N, dtype=real, seed=6)} if name == "modrelu" else {}
    tensors = {
        "x": normal(steps, BATCH, 1, dtype=dtype, seed=1),
        "W": haar(N, dtype),
        "h0": normal(BATCH, N, dtype=dtype, seed=3),
        "weight_ih": normal(N, 1, dtype=dtype, seed=4),
        "bias": normal(N, dtype=dtype, seed=5),
        **threshold,
    }
    return {key: tensor.requires_grad_() for key, tensor in tensors.items()}


def test_watch_counts_only_living_storages():
    x = torch.ones(10, dtype=torch.float64, requires_grad=True)
    with Watch(x) as watch:
        y = (x * 2).exp()
        z = y.sum()
        del y
    assert watch.largest() == 80
    assert watch.alive() == 80 + 8  # exp keeps its result
    del z
    assert watch.alive() == 0


# ------------------------------------------------------------------------------ without gradients


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("backend", usable_backends())
@pytest.mark.parametrize(("name", "dtype"), ACTIVATIONS)
def test_scan_without_gradients_keeps_no_sequence(name, dtype, backend, mode):
    tensors = inputs(name, dtype)
    with mode(), Watch(*tensors.values()) as watch:
        h = recurrent_scan(**tensors, nonlinearity=name, return_sequence=False, backend=backend)
    assert h.shape == (BATCH, N)
    # At most a copy of W, twice its size if complex and embedded in real numbers, or of the
    # inputs, whose feature is one: far below T B n numbers.
    item = tensors["W"].element_size()
    assert watch.largest() <= max(2 * N * N, STEPS * BATCH) * item < STEPS * BATCH * N * item


def test_scan_keeps_no_sequence_if_nothing_requires_gradients():
    tensors = {key: t.detach() for key, t in inputs("tanh", torch.float64).items()}
    with Watch(*tensors.values()) as watch:
        recurrent_scan(**tensors, nonlinearity="tanh", return_sequence=False)
    assert watch.largest() <= N * N * 8


@pytest.mark.parametrize("checkpoint", [None, 7])
@pytest.mark.parametrize(("scheme", "nonlinearity"), [("expm", "relu"), ("arjovsky", "modrelu")])
def test_layer_in_inference_keeps_no_sequence(scheme, nonlinearity, checkpoint):
    rnn = UnitaryRNN(
        1, N, scheme=scheme, nonlinearity=nonlinearity, return_sequence=False, learn_h0=True,
        checkpoint=checkpoint,
    )  # fmt: skip
    x = torch.randn(STEPS, BATCH, 1)
    with torch.no_grad(), Watch(x, *rnn.parameters()) as watch:
        rnn(x)
    item = rnn.cells[0].weight_ih.element_size()
    # Single precision; the scheme may hold W, or 8 byte indices of its entries, and the native
    # kernel a complex W embedded in real numbers.
    assert watch.largest() <= N * N * 16 < STEPS * BATCH * N * item


# --------------------------------------------------------------------------------- for the backward


@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize(("name", "dtype"), ACTIVATIONS)
def test_portable_saves_the_states_and_nothing_else(name, dtype, return_sequence):
    tensors = inputs(name, dtype)
    with Watch(*tensors.values()) as watch:
        out, saved = saved_bytes(
            lambda: recurrent_scan(
                **tensors, nonlinearity=name, return_sequence=return_sequence, backend="portable"
            ),
            tensors.values(),
        )
    item = tensors["W"].element_size()
    states = STEPS * BATCH * N * item
    # |x| alone needs the sign of its argument, a byte each.
    signs = STEPS * BATCH * N if name == "abs" else 0
    assert saved == states + signs
    # Beside them only the result is alive, and a sequence is a part of the states.
    assert watch.alive() <= states + signs + BATCH * N * item
    assert out.requires_grad


@pytest.mark.parametrize("backend", ["portable", "reference"])
@pytest.mark.parametrize("every", [5, 10, 20])
def test_scan_with_checkpoints_keeps_a_state_of_each_segment(every, backend):
    n, batch, steps = 64, 8, 100
    x = normal(steps, batch, 1, dtype=torch.float64).requires_grad_()
    w, v = haar(n, torch.float64), normal(n, 1, dtype=torch.float64)
    h0 = torch.zeros(batch, n, dtype=torch.float64)

    def memory(checkpoint: int | None) -> tuple[int, int]:
        with Watch(x, w, v, h0) as forward:
            h = recurrent_scan(
                x, w, h0, "tanh", weight_ih=v, return_sequence=False, backend=backend,
                checkpoint=checkpoint,
            )  # fmt: skip
        kept = forward.alive()
        with Watch(x, w, v, h0) as backward:
            torch.autograd.grad(h.sum(), x)
        return kept, backward.largest()

    state = batch * n * 8
    kept, _ = memory(None)
    assert kept >= steps * state
    kept, largest = memory(every)
    # A state at each border. Beside it each segment may keep the state of the random generator,
    # which torch's own checkpointing does by default.
    generator = torch.get_rng_state().numel()
    assert kept <= (math.ceil(steps / every) + 1) * (state + generator)
    # And the backward pass recomputes one segment at a time.
    assert largest <= max((every + 1) * state, n * n * 8)


# ------------------------------------------------------------------------------------- built once


class Counting(Parametrization.get("expm")):
    """expm that counts how often W is built."""

    built = 0

    def _prepare(self):
        self.built += 1
        return super()._prepare()


@pytest.mark.parametrize("checkpoint", [None, 4])
@pytest.mark.parametrize("return_sequence", [True, False])
def test_layer_builds_w_once_per_forward(return_sequence, checkpoint):
    rnn = UnitaryRNN(
        3, 5, num_layers=2, scheme=Counting, bidirectional=True, checkpoint=checkpoint,
        return_sequence=return_sequence,
    )  # fmt: skip
    for cell in rnn.cells:
        cell.recurrent.built = 0
    output, h_n = rnn(torch.randn(10, 2, 3))
    assert [cell.recurrent.built for cell in rnn.cells] == [1] * 4
    (h_n.sum() if output is None else output.sum()).backward()
    assert [cell.recurrent.built for cell in rnn.cells] == [1] * 4
    packed = torch.nn.utils.rnn.pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])
    rnn(packed)
    assert [cell.recurrent.built for cell in rnn.cells] == [2] * 4


def test_cell_with_a_prepared_map_builds_nothing():
    cell = UnitaryRNNCell(3, 5, Counting)
    cell.recurrent.built = 0
    w, h = cell.recurrent.prepare(), None
    for _ in range(6):
        h = cell(torch.randn(2, 3), h, w)
    h.sum().backward()
    assert cell.recurrent.built == 1
    assert float(cell.recurrent.theta.grad.abs().max()) > 0


# ------------------------------------------------------------------------------ poisoned memory


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
@pytest.mark.parametrize("return_sequence", [True, False])
@pytest.mark.parametrize("backend", usable_backends())
@pytest.mark.parametrize(("name", "dtype"), ACTIVATIONS)
def test_scan_reads_no_unwritten_memory(name, dtype, backend, return_sequence, mode, monkeypatch):
    def run() -> list[Tensor]:
        tensors = inputs(name, dtype, steps=5)
        with mode():
            out = recurrent_scan(
                **tensors, nonlinearity=name, backend=backend, return_sequence=return_sequence
            )
        if not out.requires_grad:
            return [out]
        weight = normal(*out.shape, dtype=out.dtype, seed=8)
        loss = (weight.conj() * out).real.sum()
        return [out.detach(), *torch.autograd.grad(loss, list(tensors.values()))]

    wanted = run()
    count = poison(monkeypatch)
    got = run()
    # The same operations on the same numbers: no bit may differ.
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))
    assert count[0] > 0 or backend == "reference"  # the loop allocates nothing by hand
