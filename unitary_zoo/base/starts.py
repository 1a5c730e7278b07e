"""Starting matrices and the parameters that belong to them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from unitary_zoo import linalg
from unitary_zoo.base.assignment import Assignable
from unitary_zoo.base.sharding import changed_whole, has_sharded_parameters
from unitary_zoo.base.updates import update
from unitary_zoo.errors import NotRepresentableError
from unitary_zoo.initializers import INITIALIZERS


class Startable(Assignable):
    """The part of :class:`Parametrization` that starts the parameters."""

    _own_init: str = ""  # name of a start that only this scheme knows, see _start_own

    @update
    def reset_parameters(
        self, init: str | Tensor | None = None, generator: torch.Generator | None = None
    ) -> None:
        """Start anew from an initialiser's matrix.

        Args:
            init: "haar", "henaff", "cayley", "torus", "identity", "dft", a matrix, or None for
                the scheme's own default, ``info.default_init``.
            generator: Source of randomness; None is torch's global one.

        Raises:
            NotRepresentableError: The scheme cannot represent the initialiser's matrix.
            ValueError: Unknown initialiser, or one not defined for the field; or the parameters
                are spread over processes (``fully_shard``), and no generator is given.
        """
        self._started = True
        if isinstance(init, Tensor):
            self.assign_(init)
            return
        if self.device.type == "meta":
            return  # nothing to fill in; to_empty() and a second reset do it
        if generator is None and has_sharded_parameters(self):
            raise ValueError(
                f"{self.info.name}: the parameters are spread over processes, which would draw "
                "different numbers; pass a generator that is seeded alike on all of them, or "
                "start the parameters before fully_shard"
            )
        init = init or self.info.default_init
        with changed_whole(self):
            if init == self._own_init:
                self._start_own(generator)
            else:
                self._initialize(init, generator)
            self._reset_state()

    def _start_own(self, generator: torch.Generator | None) -> None:
        """Start from the initialiser called ``_own_init``, which draws parameters, not a matrix."""

    def _initialize(self, init: str, generator: torch.Generator | None) -> None:
        """Start from the matrix of the initialiser called ``init``."""
        if not self.info.assignable:
            raise NotRepresentableError(
                f"{self.info.name} cannot start from init={init!r}: it represents no general "
                f"matrix; use init={self.info.default_init!r}, or assign_(W, nearest=True)",
                math.inf,
            )
        residual = self.assign_(self._sample(init, generator), nearest=True)
        # A start only has to be near: a random matrix with an angle within a hair of pi loses
        # digits in some coordinates, and a scheme that keeps half the digits of the others moves
        # that angle by pi sqrt(eps), .28 in bfloat16. A wrong component is off by order 1. A scheme
        # that reaches a subset may come near by chance, but not to half the digits.
        half = math.sqrt(linalg.eps(self.dtype))
        limit = max(0.1, 4 * half) if self.info.whole else min(0.1, half)
        if not residual <= limit:
            raise NotRepresentableError(
                f"{self.info.name} cannot start from init={init!r}: residual {residual:.3g}, "
                f"limit {limit:.3g}; use init={self.info.default_init!r}, or another scheme",
                residual,
            )

    def _random_source(self, generator: torch.Generator | None) -> dict[str, Any]:
        """Return the options ``generator`` and ``device`` of a draw, on the generator's device."""
        device = generator.device if generator is not None else self.device
        return {"generator": generator, "device": device}

    def _sample(self, init: str, generator: torch.Generator | None) -> Tensor:
        """Return a matrix of the initialiser called ``init``, double precision."""
        try:
            initializer = INITIALIZERS.get(init)
        except LookupError as error:
            raise ValueError(str(error)) from None
        w = initializer(
            self.n,
            self.field,
            determinant=self.initial_determinant,
            dtype=torch.float64,
            **self._random_source(generator),
        ).to(self.device)
        return linalg.with_unit_determinant(w) if self._is_special_unitary else w
