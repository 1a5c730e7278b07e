"""The checks of layers are tested themselves: each must find the faults planted for it."""

from dataclasses import replace

import pytest

from tests.testing.layers.faults import FAULTS, Cayley, Once, Plain
from unitary_zoo import Parametrization
from unitary_zoo.testing import (
    ConformanceError,
    check_orthogonal_layer,
    parametrize_with_checks,
    runner,
    yield_checks,
    yield_layer_checks,
)
from unitary_zoo.testing.checks import CHECKS
from unitary_zoo.testing.layers import LAYER_CHECKS, LayerCheck, SchemeLayers, registry
from unitary_zoo.testing.layers.measures import MemoryMeasure
from unitary_zoo.testing.layers.registry import PREFIX, expected_failure, layers_of
from unitary_zoo.testing.layers.subject import SHAPES, serves_thin_weights
from unitary_zoo.testing.subject import Measure, Subject

BY_NAME = {check.name: check for check in LAYER_CHECKS.values()}
# A subject with a fault may warn before it fails.
pytestmark = pytest.mark.filterwarnings("ignore")


def result(check, subject, shape):
    """ "passed", "failed" (a measure does not hold), or "error" (the check raises)."""
    try:
        return "passed" if all(m.holds for m in check.measures(subject, shape)) else "failed"
    except Exception:  # what a planted fault raises is up to the fault
        return "error"


# --------------------------------------------------------------------------- planted faults


@pytest.mark.parametrize(
    ("name", "subject", "shape"), FAULTS, ids=[f"{name}-{s.label}" for name, s, _ in FAULTS]
)
def test_layer_check_finds_the_planted_fault(name, subject, shape):
    check = BY_NAME[name]
    assert check.applies(subject)
    assert result(check, subject, shape) != "passed"


@pytest.mark.parametrize("check", BY_NAME.values(), ids=BY_NAME)
def test_layer_check_passes_a_sound_scheme(check):
    scheme = Parametrization.get("householder" if check.name == "thin_embedding" else "cayley")
    subject = SchemeLayers("sound", scheme=scheme)
    assert check.applies_to(subject)
    assert result(check, subject, check.shapes[0]) == "passed"


def test_every_layer_check_has_a_planted_fault():
    assert {name for name, _, _ in FAULTS} == set(BY_NAME)


# An ordinary layer passes these: its weight is what it stores.
UNCONSTRAINED = {
    "frozen", "cached_step", "cached_fused_step", "cached_two_backwards", "one_small_matrix",
    "plain_export", "plain_checkpoint", "lstm_forward", "gru_forward", "meta_device", "ensemble",
    "written_in_place", "functional_call", "parameter_assigned",
}  # fmt: skip
# These raise on it: it has no parametrization, and its parameter takes no tensor.
PARAMETRIZED = {
    "cached_no_grad", "copy_made_plain", "made_plain", "assigned", "assigned_off_the_group",
    "cached_assignment", "determinant_assigned",
}  # fmt: skip


@pytest.mark.parametrize("check", BY_NAME.values(), ids=BY_NAME)
def test_layer_check_on_a_layer_without_scheme(check):
    subject = Plain("plain")
    if not check.applies_to(subject) or check.slow:
        pytest.skip("not for a layer without scheme")
    results = {result(check, subject, shape) for shape in check.shapes}
    if check.name in UNCONSTRAINED:
        assert results == {"passed"}
    elif check.name in PARAMETRIZED:
        assert results == {"error"}
    else:
        assert results == {"failed"}


@pytest.mark.parametrize(
    "name", ["adamw_step", "sgd_weight_decay", "muon_weight_decay", "moving_average", "autocast"]
)
def test_layer_check_fails_after_a_sound_start(name):
    *_, last = BY_NAME[name].measures(Once("once"), "square")
    assert not last.holds
    assert "at the start" not in last.where


def test_thin_embedding_measures_memory():
    (subject,) = (s for name, s, _ in FAULTS if name == "thin_embedding")
    *_, last = BY_NAME["thin_embedding"].measures(subject, "tall")
    assert isinstance(last, MemoryMeasure)
    assert not last.holds


# ------------------------------------------------------------------------------- the registry


def test_layer_checks_say_what_must_not_happen():
    for check in LAYER_CHECKS.values():
        assert check.meaning.endswith("."), check.name
        assert 30 < len(check.meaning) < 120, check.name
        assert set(check.scheme_shapes) <= set(check.shapes) <= set(SHAPES)


def test_layer_check_names_differ_from_those_of_scheme_checks():
    assert LAYER_CHECKS.keys() == {PREFIX + name for name in BY_NAME}
    assert not LAYER_CHECKS.keys() & CHECKS.keys()


@pytest.mark.parametrize("name", Parametrization.names())
def test_layer_shapes_have_sizes_that_the_scheme_accepts(name):
    for subject in layers_of(Subject(Parametrization.get(name))):
        for shape in SHAPES:
            rows, columns = subject.shape(shape)
            assert subject.accepts(max(rows, columns))
            assert (rows > columns, rows < columns) == (shape == "tall", shape == "wide")


def test_serves_thin_weights_where_for_columns_is_defined():
    class Thin(Cayley):
        @classmethod
        def for_columns(cls, n, k, **options):
            return cls(n, **options)

    assert serves_thin_weights(Thin)
    assert not serves_thin_weights(Cayley)
    assert serves_thin_weights(Parametrization.get("householder"))


def refuse(subject, shape):
    yield from ()
    raise ValueError("no such matrix")


@pytest.mark.parametrize(
    ("scheme", "shape", "wanted"),
    [
        ("arjovsky", "square", "passed"),
        ("cayley", "tall", "error"),
        ("eigenphase", "square", "error"),
        ("eigenphase", "tall", "passed"),
    ],
)
def test_layer_check_passes_a_refusal_that_the_info_states(scheme, shape, wanted):
    subject = SchemeLayers("", "complex", scheme=Parametrization.get(scheme))
    check = LayerCheck("refuse", "", refuse, SHAPES, SHAPES, may_refuse=True)
    assert result(check, subject, shape) == wanted
    assert result(LayerCheck("refuse", "", refuse, SHAPES, SHAPES), subject, shape) == "error"


def test_expected_failure_depends_on_the_options():
    check = PREFIX + "one_small_matrix"
    scheme = Parametrization.get("torch_orthogonal")
    assert "matrix_exp" in expected_failure(Subject(scheme), check)
    assert expected_failure(Subject(scheme, {"orthogonal_map": "cayley"}), check) is None
    assert expected_failure(Subject(Cayley), check) is None


# --------------------------------------------------------------------------------- front ends


class LeavesTheGroup(Cayley):
    def _prepare(self):
        return type(super()._prepare())(1.01 * super()._prepare().matrix())


def test_check_orthogonal_layer_lists_every_failure(monkeypatch):
    kept = ("layer_adamw_step", "layer_frozen", "layer_complex_weight")
    monkeypatch.setattr(runner, "LAYER_CHECKS", {name: LAYER_CHECKS[name] for name in kept})
    results = {r.check: r for r in check_orthogonal_layer(LeavesTheGroup, on_fail=None)}
    assert results["layer_adamw_step"].status == "failed"
    assert "after one step: defect" in results["layer_adamw_step"].message
    assert results["layer_frozen"].status == "passed"
    with pytest.raises(ConformanceError, match="LeavesTheGroup fails 2 of 3 checks"):
        check_orthogonal_layer(LeavesTheGroup)


def test_check_orthogonal_layer_passes_options():
    names = {name for name, _ in yield_layer_checks("lie_exp", determinant=1, field="real")}
    assert "layer_determinant_chosen" not in names
    assert "layer_adamw_step" in names


def test_expected_failures_of_layers_are_strict(monkeypatch):
    (run,) = (run for name, run in yield_layer_checks("geotorch_so") if "one_small" in name)
    assert run().status == "expected failure"
    wrong = {("cayley", "layer_frozen"): ("option", "value", "a reason")}
    monkeypatch.setattr(registry, "_EXPECTED_FAILURES", wrong)
    (run,) = (run for name, run in yield_layer_checks("cayley") if "frozen" in name)
    assert run().status == "failed"
    assert "passes, but is claimed to fail: a reason" in run().message


@pytest.mark.parametrize(("name", "known"), [("layer_frozen", True), ("layer_frozn", False)])
def test_expected_failures_name_checks_of_layers(name, known, monkeypatch):
    info = replace(Cayley.info, expected_failures={name: "a reason"})
    monkeypatch.setattr(Cayley, "info", info)
    (run,) = (run for check, run in yield_checks(Cayley) if check == "info")
    assert (run().status == "passed") == known


def test_layer_check_reports_an_exception_with_its_case():
    check = LayerCheck("refuse", "", refuse, ("tall",), ("tall",))
    assert [m.where for m in check.check(Subject(Cayley))] == [
        f"{field}, tall: ValueError: no such matrix" for field in Cayley.info.fields
    ]


def test_layer_check_stops_at_the_first_failure():
    def function(subject, shape):
        yield Measure(1.0, 0.0, "first")
        raise AssertionError("not reached")

    check = LayerCheck("stops", "", function, SHAPES, SHAPES)
    assert [m.where for m in check.measures(Plain("plain"), "square")] == ["first"]


def test_parametrize_with_checks_includes_the_layers():
    ids = {case.id for case in parametrize_with_checks(["cayley"]).mark.args[1]}
    assert {"cayley-check_unitary", "cayley-check_layer_adamw_step"} <= ids


# test_conformance.py runs the checks of every scheme, without the cases that a scheme cannot
# influence. Here one scheme of each family is checked on those.
@pytest.mark.parametrize("scheme", ["cayley", "lie_exp", "svd_projection"])
@pytest.mark.parametrize(
    "check", [c for c in BY_NAME.values() if c.scheme_shapes != c.shapes], ids=lambda c: c.name
)
def test_layer_check_on_the_shapes_left_out(scheme, check):
    for subject in filter(check.applies_to, layers_of(Subject(Parametrization.get(scheme)))):
        for shape in set(check.shapes) - set(check.scheme_shapes):
            assert result(check, subject, shape) == "passed"
