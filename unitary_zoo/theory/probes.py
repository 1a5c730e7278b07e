r"""Norms of the states, gradients and Jacobians of a recurrent network, step by step.

A copy of the network runs one step at a time, so that the state after every step is a tensor by
which the result can be differentiated. Step t = 0..T-1 reads x[t], and :math:`h_t` is the state
after it.

A state is what one step passes to the next; for an LSTM it is the pair (h, c). States of complex
schemes count as vectors of 2n real numbers, whose norm is that of the complex vector.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.cells.calls import read_layer_call
from unitary_zoo.layers import RecurrentLayers
from unitary_zoo.theory import _stepwise
from unitary_zoo.theory._stepwise import InitialState, State, Steps


def jacobian_norms(
    rnn: nn.Module,
    x: Tensor,
    h_0: InitialState = None,
    *,
    vectors: int | None = None,
    double: bool = False,
) -> Tensor:
    r""":math:`\|\partial s_{T-1} / \partial s_t\|_2` for every step t: spectral norms.

    The state s is the joint state of all layers, with (h, c) for an LSTM. See :func:`jacobians` for
    the arguments, errors and cost.

    With ``vectors=k`` the result is the norm of Q J, for k random orthonormal rows Q of length N.
    It never exceeds the norm of J and reaches it for k = N. Its mean square is at least k / N times
    the square of the norm, because Q keeps that share of any one direction. If norms vary over many
    decades, a few vectors are enough.

    Returns:
        Float64, shape (T, B), or (T) for an unbatched sequence; the last row is 1. Infinite or
        undefined where a Jacobian is.
    """
    found = jacobians(rnn, x, h_0, vectors=vectors, double=double)
    return torch.stack([_spectral_norm(jacobian) for jacobian in found]).flip(0)


def _spectral_norm(jacobian: Tensor) -> Tensor:
    """The spectral norm of each (k, N) matrix of a batch, in float64."""
    j = linalg.double(jacobian)
    # An SVD raises if an exploding network overflowed; the Frobenius norm passes infinities on.
    finite = j.isfinite().all(-1).all(-1)
    norms = torch.linalg.matrix_norm(torch.where(finite[..., None, None], j, 0.0), 2)
    return torch.where(finite, norms, torch.linalg.matrix_norm(j))


def jacobians(
    rnn: nn.Module,
    x: Tensor,
    h_0: InitialState = None,
    *,
    vectors: int | None = None,
    double: bool = False,
) -> Iterator[Tensor]:
    r""":math:`\partial s_{T-1} / \partial s_t` for t = T-1 down to 0, exact up to rounding.

    Each one is the one before times the Jacobian of one step, computed by one backward pass of that
    step from N rows at once. So a step costs as much as for N B sequences. Entries below the
    smallest number of the dtype, 1e-45 in float32, vanish.

    Args:
        rnn: An ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` or a layer of this library, with one direction;
            or another module with one layer that maps (x, state) to (output, state) as these do.
        x: (T, B, m), (B, T, m) if ``rnn.batch_first``, or (T, m).
        h_0: The initial state, as ``rnn`` takes it.
        vectors: Number of random orthonormal combinations of the rows to compute instead of all N
            rows. They are drawn from a separate generator with a fixed seed. None means all rows.
        double: Compute in a copy in double precision.

    Yields:
        Shape (B, N, N), or (B, vectors, N); without B for an unbatched sequence. N is the number
        of real numbers in the joint state, layer by layer; a complex number counts as the pair of
        its real and imaginary part.

    Raises:
        ValueError: The network is bidirectional, an unknown module has several layers, dropout
            between layers is active in training mode, x has a wrong shape, or ``vectors`` is
            outside 1..N.
        TypeError: A PackedSequence.
    """
    steps = _make_steps(rnn, x, h_0, double)
    with torch.no_grad():
        found = steps.states()
        states = [_flatten(state) for state in found]
    batch, n = states[0].shape
    rows = _rows_to_pull_back(n, vectors, states[0])
    k = len(rows)
    product = rows.unsqueeze(1).expand(k, batch, n)
    yield steps.unbatched(product.transpose(0, 1), 0)
    for t in range(len(states) - 1, 0, -1):
        # Each row is pulled back through a copy of the batch: every kind of step supports batches.
        with torch.enable_grad():
            before = states[t - 1].expand(k, batch, n).reshape(k * batch, n).requires_grad_()
            inputs = steps.x[t].expand(k, *steps.x[t].shape).flatten(0, 1)
            after = _flatten(steps.step(inputs, _unflatten(before, found[0])))
            (pulled,) = torch.autograd.grad(after, before, product.reshape(k * batch, n))
        product = pulled.view(k, batch, n)
        yield steps.unbatched(product.transpose(0, 1), 0)


def _flatten(states: Sequence[State]) -> Tensor:
    """The joint state as real numbers, (B, N)."""
    parts = [torch.view_as_real(p).flatten(1) if p.is_complex() else p for s in states for p in s]
    return torch.cat(parts, dim=-1)


def _unflatten(flat: Tensor, like: Sequence[State]) -> list[State]:
    """The inverse of :func:`_flatten` for states of the sizes and fields of ``like``."""
    sizes = [p.shape[-1] * (2 if p.is_complex() else 1) for state in like for p in state]
    parts = iter(flat.split(sizes, dim=-1))

    def part(of: Tensor) -> Tensor:
        x = next(parts)
        return torch.complex(x[..., 0::2], x[..., 1::2]) if of.is_complex() else x

    return [tuple(part(of) for of in state) for state in like]


def _rows_to_pull_back(n: int, vectors: int | None, like: Tensor) -> Tensor:
    """The rows to pull back: those of the identity, or random orthonormal ones."""
    if vectors is None:
        return torch.eye(n, dtype=like.dtype, device=like.device)
    if not 1 <= vectors <= n:
        raise ValueError(f"vectors={vectors}, and the joint state has {n} numbers; pass 1 to {n}")
    generator = torch.Generator(like.device).manual_seed(0)
    draw = torch.randn(n, vectors, generator=generator, dtype=like.dtype, device=like.device)
    return torch.linalg.qr(draw).Q.mT


def gradient_norms(
    model: nn.Module,
    loss: Callable[[Any], Tensor],
    x: Any,
    *,
    layer: int = -1,
    rnn: str | None = None,
    double: bool = False,
) -> Tensor:
    r""":math:`\|\partial C / \partial h_t\|_2` for every step t and sequence, of the loss C.

    This is the whole derivative: through all later states, through the layers above and through all
    that the model computes from the states. For an LSTM :math:`h_t` is h, and the c of the same
    step is held fixed. C is the value of ``loss``. If it is a mean over B sequences, each gradient
    is 1/B of the gradient of that sequence's own loss; if it is a sum, they are equal.

    Args:
        model: A module that contains one recurrent layer as :func:`jacobians` takes it, or is one.
        loss: Function from the result of ``model(x)`` to a scalar.
        x: The argument of the model.
        layer: Index of the layer of the recurrent module; -1 is the top one.
        rnn: Name of the recurrent module, as in ``model.named_modules()``, with "" for the model
            itself. It is needed if there are several, or if it is of another library.
        double: Compute in a copy in double precision, x included. In float32, gradients of the size
            of 1e-38 lose digits, and those below 1e-45 vanish. Norms are always computed in double
            precision, because their squares would vanish from 1e-23 down.

    Returns:
        Float64, shape (T, B), or (T) for an unbatched sequence.

    Raises:
        ValueError: As :func:`jacobians`. Also: there is no recurrent module or more than one, it is
            not called exactly once, the layer does not exist, or the loss is not a real scalar.
    """
    model = _stepwise.frozen(model, double)
    name = _only_recurrent_name(model) if rnn is None else rnn
    found: list[tuple[Steps, list[list[State]]]] = []

    def replace(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        if found:
            raise ValueError(f"the model calls {name!r} twice; pass one that calls it once")
        if isinstance(module, RecurrentLayers):
            steps = Steps(module, *read_layer_call(args, kwargs))
        else:
            call = inspect.signature(module.forward).bind(*args, **kwargs)
            steps = Steps(module, *call.args)
        steps.check(layer)
        found.append((steps, steps.states(as_nodes=True)))
        return _as_output(*found[0], like=output)

    model.get_submodule(name).register_forward_hook(replace, with_kwargs=True)
    # The model may draw random numbers for dropout; the caller's random state is kept.
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.enable_grad(), torch.random.fork_rng(devices=list(devices)):
        c = loss(model(_stepwise.as_double(x) if double else x))
    if not found:
        raise ValueError(f"the model does not call {name!r}; pass the name of the one it calls")
    if not isinstance(c, Tensor) or c.numel() != 1 or c.is_complex():
        shown = f"{c.dtype} of shape {tuple(c.shape)}" if isinstance(c, Tensor) else repr(c)
        raise ValueError(f"the loss is {shown}; return a tensor of one real number")
    ((steps, states),) = found
    nodes = [state[layer][0] for state in states]
    if not c.requires_grad:
        raise ValueError("the loss depends on no state; return one that is made from the output")
    gradients = torch.autograd.grad(
        c, nodes, torch.ones_like(c), allow_unused=True, materialize_grads=True
    )
    return steps.unbatched(torch.stack([_norm(gradient) for gradient in gradients]), 1)


def _only_recurrent_name(model: nn.Module) -> str:
    """The name of the only recurrent module of a model."""
    names = [name for name, module in model.named_modules() if _stepwise.is_recurrent(module)]
    if len(names) != 1:
        raise ValueError(
            f"the model has {len(names)} recurrent modules of a known kind, {names}; pass "
            "the name of one of its modules as rnn="
        )
    return names[0]


def _as_output(steps: Steps, states: Sequence[Sequence[State]], like: Any) -> Any:
    """Output and last state in the form of ``like``, the result of the module."""
    output, last = like
    if output is not None:
        output = torch.stack([state[-1][0] for state in states])
        output = steps.unbatched(output.transpose(0, 1) if steps.batch_first else output, 1)
    parts = [torch.stack(part) for part in zip(*states[-1], strict=True)]
    parts = [steps.unbatched(part, 1) for part in parts]
    return output, tuple(parts) if isinstance(last, tuple) else parts[0]


def state_norms(
    rnn: nn.Module, x: Tensor, h_0: InitialState = None, *, layer: int = -1, double: bool = False
) -> Tensor:
    r""":math:`\|h_t\|_2` for every step t; for an LSTM of h alone.

    Args:
        rnn: As in :func:`jacobians`, which raises the same errors.
        x: (T, B, m), (B, T, m) if ``rnn.batch_first``, or (T, m).
        h_0: The initial state, as ``rnn`` takes it.
        layer: Index of the layer; -1 is the top one.
        double: Compute in a copy in double precision.

    Returns:
        Float64, shape (T, B), or (T) for an unbatched sequence.
    """
    return _norm(_layer_states(rnn, x, h_0, layer, double))


def state_distances(
    rnn: nn.Module, x: Tensor, h_0: InitialState = None, *, layer: int = -1, double: bool = False
) -> Tensor:
    r""":math:`\|h_t - h_{T-1}\|_2`, the distance to the last state.

    Arguments, result and errors are those of :func:`state_norms`.
    """
    states = _layer_states(rnn, x, h_0, layer, double)
    return _norm(states - states[-1])


def _layer_states(rnn: nn.Module, x: Tensor, h_0: InitialState, layer: int, double: bool) -> Tensor:
    """The states h of a layer: (T, B, n), or (T, n)."""
    steps = _make_steps(rnn, x, h_0, double)
    steps.check(layer)
    with torch.no_grad():
        return steps.unbatched(torch.stack([state[layer][0] for state in steps.states()]), 1)


def _make_steps(rnn: nn.Module, x: Tensor, h_0: InitialState, double: bool) -> Steps:
    if double:
        x, h_0 = _stepwise.as_double((x, h_0))
    return Steps(_stepwise.frozen(rnn, double), x, h_0)


def _norm(h: Tensor) -> Tensor:
    return torch.linalg.vector_norm(linalg.double(h), dim=-1)
