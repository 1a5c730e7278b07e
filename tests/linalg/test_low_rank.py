"""low_rank_factors against the best approximation and the distribution of its draws."""

import numpy as np
import torch

from tests.oracles import F64
from unitary_zoo import linalg


def test_low_rank_factors_lsi_are_near_the_best():
    n, k, ratios = 40, 4, []
    u, v = (np.linalg.qr(np.random.default_rng(s).standard_normal((n, n)))[0] for s in (0, 1))
    s = 0.5 ** np.arange(n)
    x = torch.from_numpy((u * s) @ v.T)
    best = np.linalg.norm(s[k:])
    for seed in range(20):
        a, b = linalg.low_rank_factors(x, k, "lsi", torch.Generator().manual_seed(seed))
        ratios.append(float((x - a @ b.T).norm()) / best)
    assert min(ratios) >= 1 - 1e-12
    # Without oversampling the expected squared error is infinite in theory, so the median.
    assert np.median(ratios) < 4


def test_low_rank_factors_draw_columns_by_squared_norms():
    norms = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=F64)
    x = torch.diag(norms)
    counts, draws = np.zeros(4), 2000
    generator = torch.Generator().manual_seed(0)
    for _ in range(draws):
        a, _ = linalg.low_rank_factors(x, 1, "column", generator)
        counts[int(a.abs().argmax())] += 1
    wanted = (norms**2 / (norms**2).sum()).numpy()
    assert counts[0] == 0
    spread = np.sqrt(wanted * (1 - wanted) / draws)
    assert (np.abs(counts / draws - wanted) <= 5 * spread).all()
