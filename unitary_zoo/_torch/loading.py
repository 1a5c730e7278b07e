"""Take part in ``load_state_dict``: before a module's tensors are read, and after."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from torch import nn


class LoadingHook(nn.Module, ABC):
    """A module that refuses what ``load_state_dict`` is to read, or repairs what it has read."""

    @abstractmethod
    def _before_loading(
        self, state: MutableMapping[str, Any], prefix: str, errors: list[str]
    ) -> None:
        """Refuse the state before this module reads anything, or rewrite its entries.

        The children load what is left in ``state`` afterwards.

        Args:
            state: What is to be loaded; this module's entries are those with ``prefix``.
            prefix: The module's place in the state.
            errors: Messages that ``load_state_dict`` will raise; append one to refuse.
        """

    @abstractmethod
    def _after_loading(self, state: Mapping[str, Any], prefix: str, errors: list[str]) -> None:
        """Repair or refuse what ``load_state_dict`` has read.

        Args:
            state: What was loaded; this module's entries are those with ``prefix``.
            prefix: The module's place in the state.
            errors: Messages that ``load_state_dict`` will raise; append one to refuse.
        """

    def _load_from_state_dict(
        self, state_dict: MutableMapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        errors = args[-1]
        known = len(errors)
        self._before_loading(state_dict, prefix, errors)
        if len(errors) == known:
            super()._load_from_state_dict(state_dict, prefix, *args, **options)
            self._after_loading(state_dict, prefix, errors)


def before_loading(
    base: type[nn.Module], prepare: Callable[[nn.Module, dict[str, Any], str, list[str]], None]
) -> dict[str, Any]:
    """Members of a subclass of ``base`` that calls ``prepare`` before it loads its own tensors.

    Args:
        base: The class whose loading is extended.
        prepare: Takes the module, the ``state_dict`` to load, which it may change, the prefix of
            the module's keys, and the list that takes messages about errors.
    """

    def _load_from_state_dict(
        self: nn.Module,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing: list[str],
        unexpected: list[str],
        errors: list[str],
    ) -> None:
        prepare(self, state_dict, prefix, errors)
        base._load_from_state_dict(
            self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors
        )

    return {"_load_from_state_dict": _load_from_state_dict}
