"""Checks of batched gradients: several backward passes at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch

from unitary_zoo.scan import recurrent_scan
from unitary_zoo.testing.checks.registry import FLOAT64, check, rounding
from unitary_zoo.testing.subject import Measure, Subject, distance, normal


@check()
def check_batched_gradients(subject: Subject) -> Iterator[Measure]:
    """A batch of gradients through W h, and through a recurrence, equals one after the other."""
    for where, p in subject.cases(3, dtypes=FLOAT64):
        parameters = [q for q in p.learnable_parameters() if q.numel()]
        if not parameters:
            continue
        h = normal(2, p.n, dtype=p.dtype)
        x = normal(2, 2, p.n, dtype=p.dtype, seed=1)
        outputs = {
            "W h": p(h),
            "recurrence": recurrent_scan(x, p.prepare(), h, "modrelu"),
        }
        for name, out in outputs.items():
            real = torch.view_as_real(out) if out.is_complex() else out
            weights = normal(3, *real.shape, dtype=torch.float64, seed=2)
            each = [torch.autograd.grad(real, parameters, w, retain_graph=True) for w in weights]
            with warnings.catch_warnings():
                # PyTorch takes one member after the other where it has no rule for a batch.
                warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
                together = torch.autograd.grad(real, parameters, weights, is_grads_batched=True)
            for grads, batch in zip(zip(*each, strict=True), together, strict=True):
                wanted = torch.stack(grads)
                scale = max(1.0, float(wanted.abs().max()))
                limit = 100 * rounding(p.n, p.dtype) * scale
                yield Measure(distance(batch, wanted), limit, f"{where}: {name}")
