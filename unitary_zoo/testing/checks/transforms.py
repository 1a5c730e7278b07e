"""Checks of what PyTorch does to modules: transforms, compilers, export, the meta device."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from unitary_zoo._torch import reset_compiler
from unitary_zoo.base import Parametrization, Projected
from unitary_zoo.testing.checks.registry import FLOAT64, check, holds, rounding
from unitary_zoo.testing.subject import Measure, Subject, defect, distance, flat_gradient, normal


def _scale(*x: Tensor) -> float:
    return max(1.0, *(float(y.detach().abs().amax()) for y in x if y.numel()))


@check(lambda info: info.supports_vmap)
def check_transforms(subject: Subject) -> Iterator[Measure]:
    """torch.func: an ensemble by vmap, and its gradients, equal one member after the other."""
    for where, p in subject.cases(4, dtypes=FLOAT64):
        members = [p, *(subject.build(p.n, p.field, seed=seed) for seed in (1, 2))]
        h = normal(2, p.n, dtype=p.dtype)
        weight = normal(2, p.n, dtype=p.dtype, seed=3)
        parameters, buffers = torch.func.stack_module_state(members)
        base = copy.deepcopy(p).to("meta")

        def value(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], base: Parametrization = base,
            h: Tensor = h, weight: Tensor = weight,
        ) -> Tensor:  # fmt: skip
            out = torch.func.functional_call(base, (parameters, buffers), (h,))
            return (out * weight).real.sum()

        each = torch.stack([(q(h) * weight).real.sum() for q in members])
        limit = 10 * rounding(p.n, p.dtype) * _scale(each) * p.n
        with warnings.catch_warnings():
            # PyTorch takes one member after the other where it has no rule for a batch.
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            together = torch.vmap(value)(parameters, buffers)
            yield Measure(distance(together, each), limit, f"{where}: vmap")
            if not any(q.numel() for q in p.learnable_parameters()):
                continue
            grads = torch.vmap(torch.func.grad(value))(parameters, buffers)
        for i, q in enumerate(members):
            alone = torch.autograd.grad(each[i], list(q.learnable_parameters()))
            names = (name for name, x in q.named_parameters() if x.requires_grad)
            for name, grad in zip(names, alone, strict=True):
                bound = limit * _scale(grad)
                yield Measure(distance(grads[name][i], grad), bound, f"{where}: grad of {name}")


@check()
def check_compiled(subject: Subject) -> Iterator[Measure]:
    """torch.compile (as one graph) and torch.export of W h give equal values and gradients."""
    for where, p in subject.cases(4, dtypes=FLOAT64):
        h = normal(2, p.n, dtype=p.dtype)
        limit = rounding(p.n, p.dtype)
        reset_compiler()
        compiled = torch.compile(p, backend="aot_eager", fullgraph=True)
        yield Measure(distance(compiled(h), p(h)), limit * _scale(h), f"{where}: compiled")
        if any(q.numel() for q in p.learnable_parameters()):
            plain = flat_gradient(p(h), p)
            found = flat_gradient(compiled(h), p)
            bound = 10 * limit * _scale(plain)
            yield Measure(distance(found, plain), bound, f"{where}: gradient of compiled")
        with torch.no_grad():  # other numbers through the same graph
            for q in p.learnable_parameters():
                q.add_(0.1 * normal(*q.shape, dtype=q.dtype, seed=6))
        if isinstance(p, Projected):
            p.retract_()
        yield Measure(distance(compiled(h), p(h)), limit * _scale(h), f"{where}: other numbers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of its own code
            exported = torch.export.export(p, (h,)).module()
        yield Measure(distance(exported(h), p(h)), limit * _scale(h), f"{where}: exported")


@check()
def check_meta(subject: Subject) -> Iterator[Measure]:
    """On the meta device W has a shape; given memory, it starts as any other."""
    for where, p in subject.cases(3, dtypes=FLOAT64):
        options = {**subject.options, "field": p.field, "dtype": torch.float64, "device": "meta"}
        late = subject.scheme(p.n, **options)
        out = late(normal(2, p.n, dtype=p.dtype).to("meta"))
        yield holds(out.is_meta and out.shape == (2, p.n), f"{where}: shape")
        late = late.to_empty(device="cpu")
        with torch.no_grad():
            for x in (*late.parameters(), *late.buffers()):
                x.zero_()  # the memory may hold anything
        late.reset_parameters(generator=torch.Generator().manual_seed(4))
        yield holds(bool(torch.isfinite(late.matrix()).all()), f"{where}: finite")
        if p.info.exact:
            yield Measure(defect(late), p.info.tolerance(p.n, p.dtype), f"{where}: start")
