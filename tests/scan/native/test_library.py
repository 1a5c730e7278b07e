"""Finding and refusing the library, and its instruction sets."""

import ctypes

import pytest

from tests.scan.native.helpers import ISAS, assert_equal, inputs, results
from unitary_zoo.scan import backends, recurrent_scan
from unitary_zoo.scan.native import library


def test_environment_chooses_the_instruction_set(monkeypatch):
    for isa in ISAS:
        monkeypatch.setenv(library.ENVIRONMENT, isa)
        assert backends()["native"].reason.count(f"instruction set {isa},") == 1


@pytest.mark.parametrize("isa", ["sse9", "AVX2", "avx 2"])
def test_environment_with_an_unknown_instruction_set_names_the_choices(isa, monkeypatch):
    """It is no request for the slow path: scans and the list of backends refuse it."""
    monkeypatch.setenv(library.ENVIRONMENT, isa)
    tensors = inputs(3, 2, 4, "tanh")
    message = f"UNITARY_ZOO_ISA='{isa}' .* choose one of .*{ISAS[0]}"
    for backend in ("auto", "native"):
        with pytest.raises(ValueError, match=message):
            recurrent_scan(**tensors, nonlinearity="tanh", backend=backend)
    with pytest.raises(ValueError, match=message):
        backends()


def test_environment_with_another_machines_instruction_set_names_the_choices(monkeypatch):
    (missing, *_) = set(library.ISAS) - set(ISAS)  # no processor has both NEON and AVX2
    monkeypatch.setenv(library.ENVIRONMENT, missing)
    with pytest.raises(ValueError, match=f"{missing}.*of this machine; choose one of {ISAS[0]}"):
        recurrent_scan(**inputs(3, 2, 4, "tanh"), nonlinearity="tanh")


def test_environment_is_checked_without_a_library(tmp_path, monkeypatch, fresh_library):
    monkeypatch.setattr(library, "_LIBRARY", tmp_path / "_kernel.so")
    tensors = inputs(3, 2, 4, "tanh")
    monkeypatch.setenv(library.ENVIRONMENT, "sse9")
    with pytest.raises(ValueError, match=r"sse9.*choose one of generic"):
        recurrent_scan(**tensors, nonlinearity="tanh")
    monkeypatch.setenv(library.ENVIRONMENT, "generic")
    recurrent_scan(**tensors, nonlinearity="tanh")  # the portable path serves


@pytest.fixture
def fresh_library():
    """Looks for the library anew, before and after."""
    caches = (library._library, library.available)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_missing_or_broken_library_leaves_the_portable_backend(
    tmp_path, monkeypatch, fresh_library
):
    tensors = inputs(3, 2, 4, "tanh")
    wanted = results(tensors, "tanh", backend="portable")
    monkeypatch.setattr(library, "_LIBRARY", tmp_path / "_kernel.so")
    assert "without a C++ compiler" in backends()["native"].reason
    assert_equal(results(tensors, "tanh"), wanted, 0.0)
    (tmp_path / "_kernel.so").write_text("not a library")
    assert "does not load" in backends()["native"].reason
    assert_equal(results(tensors, "tanh"), wanted, 0.0)


def test_library_of_another_version_is_refused(monkeypatch, fresh_library):
    monkeypatch.setattr(library, "_VERSION", library._VERSION + 1)
    status = backends()["native"]
    assert not status.available
    assert "install again" in status.reason


def test_structures_have_eight_bytes_per_field():
    """Sizes of the C structures as this platform lays them out: 8 bytes a field, no gap."""
    assert ctypes.sizeof(library.RecurrenceArgs) == 8 * len(library.RecurrenceArgs._fields_)
    assert ctypes.sizeof(library.Sums) == 8 * len(library.Sums._fields_)
