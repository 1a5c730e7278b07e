"""The scheme that CONTRIBUTING.md shows passes the conformance checks."""

import re
import subprocess
import sys
from pathlib import Path

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def test_example_scheme_conforms(tmp_path):
    text = CONTRIBUTING.read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    # A module and a process of its own: it can be pickled, and registers nothing in this one.
    (tmp_path / "diagonal.py").write_text(example, encoding="utf-8")
    code = (
        "import diagonal; from unitary_zoo.testing import check_parametrization; "
        "print(len(check_parametrization('diagonal')))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 10
