"""Results made up without training, and the modules of the pages' hooks."""

import runpy
import sys
from pathlib import Path

import pytest

_fixtures = runpy.run_path(str(Path(__file__).parents[1] / "comparisons" / "conftest.py"))
make_run, make_result = _fixtures["make_run"], _fixtures["make_result"]

# The hooks import each other in this way, too.
sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))


@pytest.fixture
def undrawn(monkeypatch):
    """Figures whose names alone stand in the page; to draw them takes most of the time."""
    import drawing

    def names(figure, label):
        labels = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
        return f'<svg role="img" aria-label="{label}">{" ".join(labels)}</svg>'

    monkeypatch.setattr(drawing, "_svg", names)
