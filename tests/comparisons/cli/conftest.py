"""Consoles of a given width."""

import pytest

from comparisons.cli import console


@pytest.fixture
def narrow(monkeypatch):
    """A console of 50 columns and no terminal."""
    monkeypatch.setenv("COLUMNS", "50")
    console.get_console.cache_clear()
    yield
    console.get_console.cache_clear()


@pytest.fixture
def wide(monkeypatch):
    """A console of 200 columns and no terminal."""
    monkeypatch.setenv("COLUMNS", "200")
    console.get_console.cache_clear()
    yield
    console.get_console.cache_clear()
