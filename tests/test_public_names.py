"""The names of the two packages."""

import importlib
import pkgutil
import sys
import types

import pytest

import comparisons
import unitary_zoo


@pytest.mark.parametrize("package", [unitary_zoo, comparisons], ids=lambda p: p.__name__)
def test_package_attributes_hide_no_submodule(package):
    hidden = []
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError:  # an optional dependency is missing
            continue
        parent, name = module.name.rsplit(".", 1)
        if not isinstance(getattr(sys.modules[parent], name), types.ModuleType):
            hidden.append(module.name)
    assert hidden == []


def test_every_public_name_exists():
    assert [name for name in unitary_zoo.__all__ if not hasattr(unitary_zoo, name)] == []
