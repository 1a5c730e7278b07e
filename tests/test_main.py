"""python -m unitary_zoo: the table of schemes, and checks of a class from anywhere."""

import io
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.testing.faults import FAULTS
from unitary_zoo import Parametrization
from unitary_zoo.__main__ import main
from unitary_zoo.testing import yield_checks
from unitary_zoo.testing.runner import CheckResult

SCHEME = """
from dataclasses import replace
import torch
from torch import nn
from unitary_zoo.base import (
    UNITARY, DenseMap, Parametrization, SchemeInfo, Static, Tolerance
)

class {name}(Static):
    info = SchemeInfo(
        name="{name}", title="W = diag(exp(i phi))", reference="@misc{{{name}, title = {{T}}}}",
        family="static", field="complex", tolerance=Tolerance(4.0, "one number an entry"),
        claims={{"complex": replace(UNITARY, dimension=lambda n: {dimension}, whole=False)}},
    )

    def __init__(self, n, *, scale=1.0, **options):
        super().__init__(n, **options)
        if scale <= 0:
            raise ValueError(f"scale={{scale}}; pass a number above 0")
        self.scale = scale
        self.phases = nn.Parameter(torch.zeros(n, **self._factory))
        self.reset_parameters()

    def _prepare(self):
        phases = self.scale * self._promoted(self.phases)
        return DenseMap(torch.diag(torch.polar(torch.ones_like(phases), phases)))

    def _assign(self, w):
        self.phases.copy_(w.diagonal().angle() / self.scale)

    def _initialize(self, init, generator):
        self._assign(torch.diag(torch.linalg.eigvals(self._sample(init, generator))))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a file and a package of schemes, forgotten afterwards."""
    # No other test may use these names, because modules stay in sys.modules.
    good = SCHEME.format(name="Phases", dimension="n")
    bad = SCHEME.format(name="Boastful", dimension="n - 1")
    (tmp_path / "uz_schemes.py").write_text(good + bad + "\nclass Plain: ...\n")
    (tmp_path / "uz_package").mkdir()
    (tmp_path / "uz_package" / "__init__.py").write_text("")
    (tmp_path / "uz_package" / "inner.py").write_text(good)
    (tmp_path / "uz_broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("uz_schemes", "uz_package", "uz_package.inner", "uz_broken"):
        sys.modules.pop(name, None)


def run(capsys, *arguments):
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def table(text):
    """The header and the rows of a table whose columns are two or more spaces apart."""
    header, *rows = text.splitlines()
    return re.split(r"\s{2,}", header), [re.split(r"\s{2,}", row) for row in rows]


# ---------------------------------------------------------------------------------------- list


@pytest.mark.parametrize("arguments", [(), ("list",), ("--n", "64"), ("list", "--n", "64")])
def test_list_has_a_row_for_each_scheme_and_field(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    n = 64 if arguments[-1:] == ("64",) else 128
    header, rows = table(out)
    assert header == [
        "scheme", "W", "family", "field", "group", f"dimension, n={n}", "cost", "unitary",
    ]  # fmt: skip
    wanted = [
        (name, field)
        for name in Parametrization.names()
        for field in Parametrization.get(name).info.fields
    ]
    assert sorted((row[0], row[3]) for row in rows) == sorted(wanted)
    for name, title, family, field, group, dimension, cost, unitary in rows:
        info = Parametrization.get(name).info
        claims = info.claims[field]
        assert (title, family, group, cost) == (info.title, info.family, claims.reach, claims.cost)
        assert unitary == (info.deviation or "yes")
        if info.accepts(n):
            assert dimension == str(claims.dimension(n))


def test_list_names_the_size_that_a_scheme_takes_instead(capsys, monkeypatch):
    scheme = Parametrization.get("expm")
    monkeypatch.setattr(scheme, "info", replace(scheme.info, accepts=lambda n: n % 4 == 0))
    _, out, _ = run(capsys, "--n", "6", "--field", "real")
    (row,) = [row for row in table(out)[1] if row[0] == "expm"]
    assert row[5] == "28 (n=8)"


@pytest.mark.parametrize("field", ["real", "complex"])
def test_list_filters(capsys, field):
    _, out, _ = run(capsys, "--field", field, "--family", "static")
    rows = table(out)[1]
    assert {row[2] for row in rows} == {"static"}
    assert {row[3] for row in rows} == {field}
    assert {row[0] for row in rows} == set(Parametrization.names(fields=field, family="static"))


@pytest.mark.parametrize(
    "arguments",
    [("--field", "quaternion"), ("--family", "free"), ("--n", "0"), ("--n", "x"), ("lost",)],
)
def test_main_refuses_bad_flags(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert arguments[-1] in capsys.readouterr().err


# --------------------------------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("uz_schemes.py:Phases", 0),
        ("uz_schemes:Phases", 0),
        ("uz_package.inner:Phases", 0),
        ("uz_schemes.py:Boastful", 1),
    ],
)
def test_check_prints_every_check_and_returns_its_code(folder, capsys, name, code):
    found, out, err = run(capsys, "check", name)
    assert (found, err) == (code, "")
    header, *lines = out.splitlines()
    assert header.split() == ["check", "status", "residual", "tolerance", "seconds"]
    # Messages are indented and stand below their row.
    rows = [line.split() for line in lines[:-1] if not line.startswith(" ")]
    scheme = vars(sys.modules[name.partition(":")[0].removesuffix(".py")])[name.rpartition(":")[2]]
    assert [row[0] for row in rows] == [check for check, _ in yield_checks(scheme)]
    failed = [row[0] for row in rows if row[1] == "failed"]
    assert failed == (["dimension"] if code else [])
    assert lines[-1] == f"{scheme.__name__}: {len(failed)} of {len(rows)} checks failed"
    if code:
        assert re.search(r"\n    .*rank 1, claimed 0\n", out)


def test_check_of_a_registered_name_with_options(capsys, monkeypatch):
    seen = []

    def checks(scheme, **options):
        seen.append((scheme, options))
        yield "one", lambda: CheckResult("one", "passed", 0.1, 0.0, 1.0, "")
        yield "two", lambda: CheckResult("two", "expected failure", 0.1, 2.0, 1.0, "the reason")

    monkeypatch.setattr("unitary_zoo.__main__.yield_checks", checks)
    code, out, _ = run(
        capsys, "check", "eigenphase", "--option", "basis=dft", "--option", "field='complex'"
    )
    # An expected failure is no failure, but its reason is shown.
    assert code == 0
    assert "the reason" in out
    assert seen == [(Parametrization.get("eigenphase"), {"basis": "dft", "field": "complex"})]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cayly",), "'cayley'"),
        (("uz_schemes:Phase",), r"'Phase'; it has Phases, Boastful"),
        (("uz_schemes.py:Plain",), "no Parametrization called 'Plain'"),
        (("no_such_module:Phases",), "no_such_module"),
        (("no_such_file.py:Phases",), r"no_such_file\.py"),
        (("uz_broken.py:Phases",), "nothing_of_that_name"),
        (("uz_schemes:Phases", "--option", "scale"), "'scale' is not KEY=VALUE"),
        (("uz_schemes:Phases", "--option", "scale=-1"), "pass a number above 0"),
        (("uz_schemes:Phases", "--option", "size=3"), "size"),
        (("unitary_zoo.base:Static",), "info"),
        ((":Static",), ""),
    ],
)
def test_check_of_something_missing_is_one_line_and_code_2(folder, capsys, arguments, message):
    code, out, err = run(capsys, "check", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(message, err)


def test_check_of_a_file_keeps_the_module_of_its_name(folder, capsys):
    import random

    (folder / "random.py").write_text(SCHEME.format(name="Phases", dimension="n"))
    assert run(capsys, "check", "random.py:Phases")[0] == 0
    assert sys.modules["random"] is random
    sys.modules.pop("checked_random")


def test_check_without_the_package_of_a_scheme_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "geotorch", None)
    code, out, err = run(capsys, "check", "geotorch_so")
    assert (code, out) == (2, "")
    assert "pip install geotorch" in err
    assert err.count("\n") == 1


def test_check_fails_a_faulty_class(capsys):
    scheme = dict(FAULTS)["info"]
    code, out, _ = run(capsys, "check", f"{scheme.__module__}:{scheme.__name__}")
    assert code == 1
    assert re.search(r"^info +failed", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--family", "projected"], 0, "svd_projection"),
        (["check", "uz_schemes.py:No"], 2, "Phases"),
    ],
)
def test_command_ends_with_its_code(folder, arguments, code, word):
    done = subprocess.run(
        [sys.executable, "-m", "unitary_zoo", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert word in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_list_marks_what_the_encoding_lacks(monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, "ascii"))
    assert main(["list"]) == 0
    sys.stdout.flush()
    assert b"singular values in 1 ? r" in buffer.getvalue()


def test_command_survives_a_closed_pipe(folder):
    with subprocess.Popen(
        [sys.executable, "-m", "unitary_zoo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()  # before the first line is there
        assert process.stderr.read() == b""
        assert process.wait(timeout=120) == 1
