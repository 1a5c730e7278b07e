"""Claims and tolerances."""

import dataclasses

import pytest
import torch

from unitary_zoo import Parametrization
from unitary_zoo.base import Determinant, FieldClaims, Group


def test_info_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Parametrization.get("cayley").info.name = "mine"


def test_info_of_an_instance_follows_its_field():
    scheme = Parametrization.get("expm")
    real, complex_ = scheme(4), scheme(4, field="complex")
    assert (real.info.group, real.info.dimension(4)) == (Group.SPECIAL_ORTHOGONAL, 6)
    assert real.info.determinant is Determinant.PLUS_ONE
    assert (complex_.info.group, complex_.info.dimension(4)) == (Group.UNITARY, 16)
    assert complex_.info.determinant is Determinant.UNIT_CIRCLE
    assert complex_.info.fields == ("real", "complex")
    assert scheme.info.field == "real"
    assert scheme(4).info is scheme.info


def test_tolerance_follows_the_dtype_and_grows_with_n():
    tolerance = Parametrization.get("expm").info.tolerance
    single, double = tolerance(10, torch.float32), tolerance(10, torch.float64)
    assert single == pytest.approx(2**29 * double)
    assert tolerance(10, torch.complex64) == single
    assert tolerance(10, torch.complex128) == double
    assert 2**-52 < tolerance(1, torch.float64) < double < tolerance(100, torch.float64)


@pytest.mark.parametrize("determinant", [1, -1])
def test_determinant_option_changes_the_claims_of_the_instance_only(determinant):
    p = Parametrization.create("lie_exp", 4, determinant=determinant)
    assert p.determinant == determinant
    wanted = ("SO(n)", "+1") if determinant == 1 else ("O(n) with det -1", "-1")
    assert (p.info.reach, str(p.info.determinant), p.info.fields) == (*wanted, ("real",))
    assert Parametrization.get("lie_exp").info.reach == "O(n)"


@pytest.mark.parametrize(
    "wrong", [{"group": "subset of U(n)"}, {"determinant": "+1"}], ids=["group", "determinant"]
)
def test_field_claims_refuse_words_with_the_remedy(wrong):
    claims = {"group": Group.UNITARY, "determinant": Determinant.UNIT_CIRCLE, **wrong}
    with pytest.raises(TypeError, match=r"Determinant\.|Group\..*whole=False"):
        FieldClaims(dimension=lambda n: n, **claims)


def test_reach_is_the_group_or_a_subset_of_it():
    assert Parametrization.get("arjovsky").info.reach == "subset of U(n)"
    assert Parametrization.get("lie_exp").info.reach == str(Group.ORTHOGONAL) == "O(n)"
