import json

import pytest

from comparisons.experiments.__main__ import main


@pytest.fixture
def run(tmp_path):
    """Run an experiment by its command line, and return what it wrote."""

    def call(name, *argv):
        assert main([name, "--results", str(tmp_path), *argv]) == 0
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        return json.loads((tmp_path / f"{name}.json").read_text())

    return call
