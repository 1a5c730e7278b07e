"""Measure how unevenly the parameters of every scheme move W at a fresh start.

The condition is the largest by the least singular value of dW/dtheta at n = 16 in double precision,
of those above 1e-9 of the largest; 1 means that one learning rate moves W evenly. It depends on the
draw of the start, so there are several draws: the table has the median and the extremes. Of two
schemes whose ranges overlap, neither is the more even. A projected scheme stores W, so it is 1.

    python -m comparisons.benchmarks gradient_condition [--seeds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
from statistics import median

import torch

from comparisons.benchmarks.configurations import Configuration, configurations
from comparisons.benchmarks.timing import Row
from comparisons.cli.console import show

SIZE, CUT = 16, 1e-9


def gradient_condition(configuration: Configuration, n: int, seed: int) -> float:
    """Largest by least nonzero singular value of dW/dtheta at a fresh start."""
    p = configuration.build(n, torch.float64, seed)
    leaves = list(p.learnable_parameters())
    w = p.matrix()
    entries = (torch.view_as_real(w) if w.is_complex() else w).flatten()
    rows = torch.autograd.grad(
        entries, leaves, torch.eye(len(entries)).to(entries), is_grads_batched=True
    )
    jacobian = torch.cat([x.flatten(1) for x in rows], dim=1)
    values = torch.linalg.svdvals(jacobian)
    return float(values[0] / values[values > CUT * values[0]][-1])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.add_argument("--seeds", type=int, default=5, help="draws of the start")
    parser.add_argument("--only", default="", help="the schemes whose title holds this text")


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Measure every configuration at every seed."""
    n, seeds = (8, 2) if options.tiny else (SIZE, options.seeds)
    rows: list[Row] = []
    for configuration in configurations(options.only):
        found = [gradient_condition(configuration, n, seed) for seed in range(seeds)]
        rows.append(
            {
                "scheme": configuration.title,
                "field": configuration.field,
                "median": median(found),
                "least": min(found),
                "most": max(found),
                "starts": seeds,
            }
        )
    show(f"condition of dW/dtheta at fresh starts, n = {n}", rows)
    return {"conditions": rows}
