r"""What a recurrent network does to its states and gradients, measured step by step.

The network runs in a copy, one step at a time, so that the state after every step is a tensor to
differentiate by. Step t = 0..T-1 is the one that reads x[t], and :math:`h_t` is the state after it.

A state is what a step hands to the next one. That of an LSTM is the pair (h, c). States of complex
schemes count as vectors of 2n real numbers, whose norm is that of the complex vector.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unitary_zoo import linalg
from unitary_zoo.theory import _stepwise as stepwise
from unitary_zoo.theory._stepwise import Given, State, Steps


def jacobian_norms(
    rnn: nn.Module,
    x: Tensor,
    h_0: Given = None,
    *,
    vectors: int | None = None,
    double: bool = False,
) -> Tensor:
    r""":math:`\|\partial s_{T-1} / \partial s_t\|_2` for every step t: spectral norms.

    The state s is the joint one: of all layers, and (h, c) of an LSTM. See :func:`jacobians` for
    the arguments, errors and cost.

    With ``vectors=k`` it is the norm of Q J, for k random orthonormal rows Q of length N. That is
    never above the norm of J, it grows to it with k = N, and its mean square is at least k / N of
    the norm's square, the share of any one direction that Q keeps: on a scale of many decades a
    few vectors tell the story.

    Returns:
        Float64, shape (T, B), or (T) of an unbatched sequence; the last row is 1. Infinite or
        undefined where a Jacobian is.
    """
    found = jacobians(rnn, x, h_0, vectors=vectors, double=double)
    return torch.stack([_spectral_norm(jacobian) for jacobian in found]).flip(0)


def _spectral_norm(jacobian: Tensor) -> Tensor:
    """Of each (k, N), in float64."""
    j = linalg.double(jacobian)
    # An SVD refuses the overflow of an exploding network; the sum of squares hands it on.
    finite = j.isfinite().all(-1).all(-1)
    norms = torch.linalg.matrix_norm(torch.where(finite[..., None, None], j, 0.0), 2)
    return torch.where(finite, norms, torch.linalg.matrix_norm(j))


def jacobians(
    rnn: nn.Module,
    x: Tensor,
    h_0: Given = None,
    *,
    vectors: int | None = None,
    double: bool = False,
) -> Iterator[Tensor]:
    r""":math:`\partial s_{T-1} / \partial s_t` for t = T-1 down to 0, exact but for rounding.

    Each is the one before times the Jacobian of one step, by the backward pass of that step from N
    rows at once: a step costs what it costs for N B sequences. Entries under the smallest number of
    the dtype vanish, 1e-45 in float32.

    Args:
        rnn: ``nn.RNN``, ``nn.LSTM``, ``nn.GRU``, or a layer of this library, of one direction; or
            another module that maps (x, state) to (output, state) as these do and has one layer.
        x: (T, B, m), (B, T, m) if ``rnn.batch_first``, or (T, m).
        h_0: The initial state, as ``rnn`` takes it.
        vectors: Only that many random combinations of the rows, orthonormal, from a generator of
            their own with a fixed seed; None is all N rows.
        double: Compute in a copy in double precision.

    Yields:
        Shape (B, N, N), or (B, vectors, N), or the same without B of an unbatched sequence. N
        counts the real numbers of the joint state, layer by layer, a complex one as pairs of
        real and imaginary part.

    Raises:
        ValueError: Both directions, several layers of an unknown module, dropout between layers
            in training mode, x of a wrong shape, or ``vectors`` outside 1..N.
        TypeError: A PackedSequence.
    """
    steps = _steps(rnn, x, h_0, double)
    with torch.no_grad():
        found = steps.states()
        states = [_flat(state) for state in found]
    batch, n = states[0].shape
    rows = _rows(n, vectors, states[0])
    k = len(rows)
    product = rows.unsqueeze(1).expand(k, batch, n)
    yield steps.unbatched(product.transpose(0, 1), 0)
    for t in range(len(states) - 1, 0, -1):
        # Every row has a sequence of its own: no matter how a step is made, it can do batches.
        with torch.enable_grad():
            before = states[t - 1].expand(k, batch, n).reshape(k * batch, n).requires_grad_()
            inputs = steps.x[t].expand(k, *steps.x[t].shape).flatten(0, 1)
            after = _flat(steps.step(inputs, _unflat(before, found[0])))
            (pulled,) = torch.autograd.grad(after, before, product.reshape(k * batch, n))
        product = pulled.view(k, batch, n)
        yield steps.unbatched(product.transpose(0, 1), 0)


def _flat(states: Sequence[State]) -> Tensor:
    """The joint state as real numbers, (B, N)."""
    parts = [torch.view_as_real(p).flatten(1) if p.is_complex() else p for s in states for p in s]
    return torch.cat(parts, dim=-1)


def _unflat(flat: Tensor, like: Sequence[State]) -> list[State]:
    """The inverse of :func:`_flat` for states of the sizes and fields of ``like``."""
    sizes = [p.shape[-1] * (2 if p.is_complex() else 1) for state in like for p in state]
    parts = iter(flat.split(sizes, dim=-1))

    def part(of: Tensor) -> Tensor:
        x = next(parts)
        return torch.complex(x[..., 0::2], x[..., 1::2]) if of.is_complex() else x

    return [tuple(part(of) for of in state) for state in like]


def _rows(n: int, vectors: int | None, like: Tensor) -> Tensor:
    """The rows that are pulled back: all of I, or random orthonormal ones."""
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

    The whole derivative: by way of all later states, of the layers above and of whatever the model
    makes of the states. :math:`h_t` of an LSTM is h, with the c of the same step held fixed.
    What is differentiated is C itself. Where it is a mean over B sequences, each of these
    gradients is 1/B of that of the sequence's own loss; with a sum they are the same.

    Args:
        model: Contains one recurrent layer of those :func:`jacobians` takes, or is one.
        loss: Takes what ``model(x)`` returns to a scalar.
        x: What the model is called with.
        layer: Of which layer of the recurrent module; -1 is the top one.
        rnn: Name of the recurrent module, as in ``model.named_modules()``; needed where there are
            several, or one of another library. "" is the model itself.
        double: Compute in a copy in double precision, x included. Gradients of the size of 1e-38
            lose digits in float32, and under 1e-45 they vanish. Norms are taken in double precision
            always: the squares in them vanish from 1e-23 down.

    Returns:
        Float64, shape (T, B), or (T) of an unbatched sequence.

    Raises:
        ValueError: As :func:`jacobians`; also if no recurrent module is found, or several, if it
            is not called exactly once, the layer does not exist, or the loss is not a real scalar.
    """
    model = stepwise.frozen(model, double)
    name = _only_recurrent(model) if rnn is None else rnn
    found: list[tuple[Steps, list[list[State]]]] = []

    def replace(module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        if found:
            raise ValueError(f"the model calls {name!r} twice; pass one that calls it once")
        call = inspect.signature(module.forward).bind(*args, **kwargs)
        steps = Steps(module, *call.args)
        steps.check(layer)
        found.append((steps, steps.states(as_nodes=True)))
        return _as_output(*found[0], like=output)

    model.get_submodule(name).register_forward_hook(replace, with_kwargs=True)
    # A model with dropout draws; the caller's random state is left as it was.
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with torch.enable_grad(), torch.random.fork_rng(devices=list(devices)):
        c = loss(model(stepwise.as_double(x) if double else x))
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


def _only_recurrent(model: nn.Module) -> str:
    """The name of the one recurrent module of a model."""
    names = [name for name, module in model.named_modules() if stepwise.is_recurrent(module)]
    if len(names) != 1:
        raise ValueError(
            f"the model has {len(names)} recurrent modules that are known, {names}; pass the name "
            "of one of its modules as rnn="
        )
    return names[0]


def _as_output(steps: Steps, states: Sequence[Sequence[State]], like: Any) -> Any:
    """Output and last state in the form in which the module returned them."""
    output, last = like
    if output is not None:
        output = torch.stack([state[-1][0] for state in states])
        output = steps.unbatched(output.transpose(0, 1) if steps.batch_first else output, 1)
    parts = [torch.stack(part) for part in zip(*states[-1], strict=True)]
    parts = [steps.unbatched(part, 1) for part in parts]
    return output, tuple(parts) if isinstance(last, tuple) else parts[0]


def state_norms(
    rnn: nn.Module, x: Tensor, h_0: Given = None, *, layer: int = -1, double: bool = False
) -> Tensor:
    r""":math:`\|h_t\|_2` for every step t; of an LSTM, h alone.

    Args:
        rnn: As in :func:`jacobians`, as are ``x``, ``h_0``, ``double`` and the errors.
        x: (T, B, m), (B, T, m) if ``rnn.batch_first``, or (T, m).
        h_0: The initial state, as ``rnn`` takes it.
        layer: Which; -1 is the top one.
        double: Compute in a copy in double precision.

    Returns:
        Float64, shape (T, B), or (T) of an unbatched sequence.
    """
    return _norm(_sequence(rnn, x, h_0, layer, double))


def state_distances(
    rnn: nn.Module, x: Tensor, h_0: Given = None, *, layer: int = -1, double: bool = False
) -> Tensor:
    r""":math:`\|h_t - h_{T-1}\|_2`, the distance to the last state, as :func:`state_norms`."""
    states = _sequence(rnn, x, h_0, layer, double)
    return _norm(states - states[-1])


def _sequence(rnn: nn.Module, x: Tensor, h_0: Given, layer: int, double: bool) -> Tensor:
    """All h of a layer: (T, B, n), or (T, n)."""
    steps = _steps(rnn, x, h_0, double)
    steps.check(layer)
    with torch.no_grad():
        return steps.unbatched(torch.stack([state[layer][0] for state in steps.states()]), 1)


def _steps(rnn: nn.Module, x: Tensor, h_0: Given, double: bool) -> Steps:
    if double:
        x, h_0 = stepwise.as_double((x, h_0))
    return Steps(stepwise.frozen(rnn, double), x, h_0)


def _norm(h: Tensor) -> Tensor:
    return torch.linalg.vector_norm(linalg.double(h), dim=-1)
