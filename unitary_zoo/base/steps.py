"""The training hooks: what happens around a step of an optimizer, and when it is undone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from unitary_zoo._torch import has_values, is_transformed, named_parameters, named_tensors
from unitary_zoo.base.sharding import has_sharded_parameters
from unitary_zoo.base.starts import Startable
from unitary_zoo.base.updates import update
from unitary_zoo.errors import MissedStepWarning, NotFiniteError

_REMEDY = (
    "lower the learning rate, clip gradients, or in half precision use torch.amp.GradScaler, and "
    "load a good state into the optimizer if it has stored such numbers"
)


class Steppable(Startable):
    """The part of :class:`Parametrization` that an optimizer's hooks call.

    The public hooks are final: they turn autocast off, refuse numbers that are not finite, and
    restore what was stored where a step fails. A family or a scheme defines ``_begin_step``,
    ``_step`` and ``_retract``.
    """

    _stepping: bool = False  # between begin_step_ and step_
    # Whether a step refuses numbers that are not finite. A static scheme shows them in W.
    _guarded: bool = False
    # Whether a change without a step is to be noticed; a projected weight finds it out by itself.
    _watched: bool = False
    # Constants that are parameters so that averages of a model include them; never learned.
    _frozen: tuple[str, ...] = ()

    # What belongs to one module in one training loop. Copies and pickles do without it.
    _attachments: int = 0
    _spread: bool = False  # over processes, by fully_shard
    _attached_as: str = ""
    _before: dict[str, Tensor] | None = None  # the state at begin_step_
    _left: tuple[tuple[Tensor, Tensor], ...] | None = None  # the parameters, and their last values
    _TRANSIENT = ("_attachments", "_spread", "_attached_as", "_before", "_left")

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without what belongs to this module's own training loop."""
        return {key: x for key, x in self.__dict__.items() if key not in self._TRANSIENT}

    def learnable_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that training changes: all but constants such as a base."""
        return (p for _, p in self._learnable())

    def _learnable(self) -> Iterator[tuple[str, nn.Parameter]]:
        own = cast(Iterable[tuple[str, nn.Parameter]], named_parameters(self))
        return ((key, p) for key, p in own if key not in self._frozen)

    # ----------------------------------------------------------------------------------- hooks

    @final
    def expect_steps_(self, expected: bool, name: str = "") -> None:
        """Say that an attached optimizer takes the steps, or that it does so no longer.

        While steps are expected, a rebased scheme warns when its parameters have changed without
        one, unless its parameters are spread over processes.

        Args:
            expected: Whether an attachment begins or ends.
            name: The name of the scheme in its model, for messages.
        """
        self._attachments = max(0, self._attachments + (1 if expected else -1))
        self._attached_as = name if expected else self._attached_as
        self._spread = has_sharded_parameters(self)
        for key in self._frozen:  # all parameters may have been unfrozen at once
            self.get_parameter(key).requires_grad_(False)
        self._note_state()

    @final
    @update
    def check_gradients(self) -> None:
        """Refuse gradients that are not finite, before an optimizer uses them.

        Raises:
            NotFiniteError: The scheme is rebased or projected, and a gradient has such an entry.
        """
        if self._guarded:
            for key, p in self._learnable():
                if p.grad is not None:
                    self._check_finite(f"the gradient of {key}", p.grad)

    @final
    @update
    def begin_step_(self) -> None:
        """Prepare for a step of the optimizer."""
        self._stepping = True
        self._before = self._state_copy()
        self._begin_step()

    @final
    def cancel_step_(self) -> None:
        """End a step that raised an error, and leave what is stored as it is."""
        self._stepping, self._before = False, None
        self._note_state()

    @final
    @update
    def step_(self) -> None:
        """Retract or rebase; the optimizer hook calls it after a step.

        Raises:
            NotFiniteError: The scheme is rebased or projected, and the optimizer has stored, or
                the step has led to, numbers that are not finite. What was stored at
                ``begin_step_`` is restored, as after any other error.
        """
        before, self._left = self._before, None
        kept = (
            "call begin_step_() before the step of the optimizer, which keeps the last weight"
            if before is None
            else "the weight is as before the step"
        )
        try:
            with self._restored_after_an_error(before):
                self._check_state("after the step of the optimizer", f"{kept}; {_REMEDY}")
                self._step()
                self._check_state("after the step of the scheme", f"{kept}; {_REMEDY}")
        finally:
            self._stepping, self._before = False, None
            self._note_state()

    @final
    @update
    def retract_(self) -> None:
        """Return to the group after a change that was no optimizer step, such as an average.

        Raises:
            NotFiniteError: The scheme is rebased or projected, and what is stored is not finite.
                It stays as it is.
        """
        remedy = "nothing was changed; load a finite state, or assign_ a matrix"
        before, self._left = self._state_copy(), None
        try:
            with self._restored_after_an_error(before):
                self._check_state("before the retraction", remedy)
                self._retract()
                self._check_state("after the retraction", remedy)
        finally:
            self._note_state()

    def _begin_step(self) -> None:
        """Prepare for a step of the optimizer; does nothing for most schemes."""

    def _step(self) -> None:
        """Retract or rebase; does nothing for most static schemes."""

    def _retract(self) -> None:
        """Return to the group from parameters of any origin."""

    # ---------------------------------------------------------------------------------- guards

    def _state_copy(self) -> dict[str, Tensor] | None:
        return (
            {key: x.detach().clone() for key, x in named_tensors(self)} if self._guarded else None
        )

    @contextmanager
    def _restored_after_an_error(self, before: dict[str, Tensor] | None) -> Iterator[None]:
        """Restore the state ``before``, if it is known, where the body raises an error."""
        try:
            yield
        except BaseException:
            for key, x in named_tensors(self):
                if before is not None and key in before:
                    x.copy_(before[key])
            raise

    def _check_state(self, when: str, remedy: str) -> None:
        if self._guarded:
            for key, x in named_tensors(self):
                self._check_finite(f"{key} {when}", x, remedy)

    def _check_finite(
        self, what: str, x: Tensor, remedy: str = f"the step is refused; {_REMEDY}"
    ) -> None:
        if not (x.is_floating_point() or x.is_complex()) or not x.numel() or not has_values(x):
            return
        # The sum, a fast pass over x, is not finite where an entry is not. It may overflow, too.
        if math.isfinite(abs(x.sum().item())):
            return
        largest = float(torch.linalg.vector_norm(x, math.inf))
        if not math.isfinite(largest):
            count = int((~x.isfinite()).sum())
            raise NotFiniteError(
                f"{self._title()}: {what} has {count} of {x.numel()} entries that are not finite "
                f"(the largest is {largest}); {remedy}"
            )

    def _title(self) -> str:
        where = f" at {self._attached_as!r}" if self._attached_as else ""
        return f"{self.info.name}{where}"

    # --------------------------------------------------------------------------- missed steps

    def _note_state(self) -> None:
        """Note the parameters as they are, so that a change without a step is found."""
        self._left = None
        noted = self._attachments and self._watched and not self._spread
        if noted and has_values(self._reference_parameter):
            self._left = tuple((p, p.detach().clone()) for p in self.learnable_parameters())

    def warn_of_a_missed_step(self) -> None:
        """Warn once if the parameters have changed since they were noted.

        Reading W does so, except under a transform, which reads no values.
        """
        if not has_values(self._reference_parameter) or is_transformed():
            return
        if self._left is None or self._stepping:
            return
        # Other tensors in the place of the parameters are those of torch.func.functional_call.
        now = zip(self.learnable_parameters(), self._left, strict=True)
        if all(p is noted for p, (noted, _) in now) and not all(
            torch.equal(noted, value) for noted, value in self._left
        ):
            self._left = None  # once until the next step
            warnings.warn(
                f"{self._title()}: the parameters have changed since the last step, but step_() "
                "was not called, so the hooks of attach did not run; attach the optimizer that "
                "takes the steps (inside a wrapper, the one that it wraps), or call step_() after "
                "each of its steps; after a change of your own, call "
                "unitary_zoo.retract_(model)",
                MissedStepWarning,
                stacklevel=4,
            )
