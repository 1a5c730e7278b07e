"""The structure of the classes: no method is overridden twice in a chain."""

import inspect

import pytest

from unitary_zoo import Parametrization
from unitary_zoo.base import ProjectedFromBase, Rebased

ALLOWED = {"__init__"}  # constructors call each other


def definitions(scheme):
    """The library's classes that define each method of ``scheme``, abstract ones left out."""
    found = {}
    for cls in scheme.__mro__:
        if cls.__module__.startswith("unitary_zoo."):
            for name, value in vars(cls).items():
                value = getattr(value, "__func__", value)
                method = inspect.isfunction(value) or isinstance(value, property)
                if method and not getattr(value, "__isabstractmethod__", False):
                    found.setdefault(name, []).append(cls.__name__)
    return found


@pytest.mark.parametrize("name", Parametrization.names())
def test_no_method_is_overridden_twice(name):
    chains = definitions(Parametrization.get(name))
    twice = {key: chain for key, chain in chains.items() if len(chain) > 2 and key not in ALLOWED}
    assert not twice


@pytest.mark.parametrize("name", Parametrization.names())
def test_classes_are_abstract_or_final(name):
    first, *parents = Parametrization.get(name).__mro__
    assert not inspect.isabstract(first)
    for parent in parents:
        if parent.__module__.startswith("unitary_zoo.base"):
            assert inspect.isabstract(parent)


def test_anchored_is_the_former_name_of_projected_from_base():
    from unitary_zoo.base import Anchored

    assert Anchored is ProjectedFromBase
    assert not issubclass(Anchored, Rebased)
