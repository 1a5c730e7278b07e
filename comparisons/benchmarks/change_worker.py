"""Time maps and optimizer steps with the library of one source tree: a process of ``change``.

    python comparisons/benchmarks/change_worker.py TREE

It reads a request from each line of standard input and answers with a line of JSON. It runs with
the library of another commit, so it imports nothing of ``comparisons``, and of the library only
what old commits have.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

Step = Callable[[], object]

# How far two correct versions may differ in the checked numbers, of float64.
CHECKED_SIZE, CHECKED_STEPS = 16, 3


def import_library(tree: Path) -> None:
    """Import the library from a source tree, whatever else is installed.

    Raises:
        ImportError: The library comes from elsewhere.
    """
    sys.path[0] = str(tree)  # instead of the folder of this file
    # The finder of an editable install of another tree would come first.
    sys.meta_path.sort(key=lambda finder: finder is not PathFinder)
    import unitary_zoo

    found = Path(unitary_zoo.__file__).resolve()
    if tree.resolve() not in found.parents:
        raise ImportError(f"unitary_zoo comes from {found} and not from {tree}")


class Timed:
    """W of a scheme, its gradient and its steps.

    Args:
        scheme: Registered name.
        n: Size.
        dtype: Dtype of the parameters.
    """

    def __init__(self, scheme: str, n: int, dtype: str = "float32") -> None:
        import torch

        from unitary_zoo import Parametrization, attach

        torch.manual_seed(0)
        self.scheme = Parametrization.create(scheme, n, dtype=getattr(torch, dtype))
        self.learned = [p for p in self.scheme.parameters() if p.requires_grad]
        with torch.no_grad():
            self._place(torch.Generator().manual_seed(1))
        shape = (n, n)
        generator = torch.Generator().manual_seed(2)
        upstream = torch.randn(shape, dtype=torch.float64, generator=generator) / n
        self.upstream = upstream.to(self.scheme.dtype)
        self.optimizer = torch.optim.RMSprop(self.scheme.parameters(), lr=1e-4)
        attach(self.scheme, self.optimizer)

    def _place(self, generator: Any) -> None:
        """Put W where any version finds it, whatever start it draws."""
        import torch

        n = self.scheme.n
        if self.scheme.info.family == "static":
            for p in self.learned:
                x = torch.randn(p.shape, dtype=torch.float64, generator=generator)
                p.copy_(x / n**0.5)
        else:
            x = torch.randn((n, n), dtype=torch.float64, generator=generator) / n
            self.scheme.assign_(torch.matrix_exp(x - x.mT).to(self.scheme.dtype))

    def map(self) -> Any:
        """W(theta) and its gradient for a fixed functional."""
        import torch

        return torch.autograd.grad(self.scheme.matrix(), self.learned, self.upstream)

    def take_gradients(self) -> None:
        """Let the parameters have the gradients of the functional."""
        for p, gradient in zip(self.learned, self.map(), strict=True):
            p.grad = gradient

    def numbers(self) -> list[float]:
        """Numbers by which versions are compared: of W, of its gradient, and after some steps."""
        import torch

        found = []
        for _ in range(CHECKED_STEPS):
            w = self.scheme.matrix().detach()
            gradients = [g.real.square().sum().sqrt() for g in self.map()]
            found += [float((w * self.upstream.conj()).real.sum()), *map(float, gradients)]
            self.take_gradients()
            self.optimizer.step()
            for p in self.learned:
                p.grad = None
        assert all(map(torch.isfinite, map(torch.tensor, found)))
        return found


def answer(request: dict[str, Any], ready: dict[str, Step]) -> Any:
    """Carry out a request: "check", "prepare" or "time"."""
    what, scheme, n = request["what"], request["scheme"], request["n"]
    if request["do"] == "check":
        return Timed(scheme, CHECKED_SIZE, "float64").numbers()
    if request["do"] == "prepare":
        timed = Timed(scheme, n)
        timed.take_gradients()
        ready[what] = timed.map if what == "map" else timed.optimizer.step
        ready[what]()
        return None
    step, repeats = ready[what], request["repeats"]
    step()  # the other process had the caches
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats


def main() -> None:
    """Answer requests until the input ends."""
    import_library(Path(sys.argv[1]))
    import torch

    torch.set_num_threads(int(sys.argv[2]))
    ready: dict[str, Step] = {}
    for line in sys.stdin:
        try:
            reply = {"answer": answer(json.loads(line), ready)}
        except Exception as error:  # the other process goes on, and says what happened here
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
