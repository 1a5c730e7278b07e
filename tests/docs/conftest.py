"""Results made up without training: the fixtures of the comparisons' tests."""

import runpy
from pathlib import Path

_fixtures = runpy.run_path(str(Path(__file__).parents[1] / "comparisons" / "conftest.py"))
make_run, make_result = _fixtures["make_run"], _fixtures["make_result"]
