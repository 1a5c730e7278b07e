"""Registry by itself; the registry of the schemes, and its claims as filters."""

from dataclasses import replace

import pytest

from unitary_zoo import Parametrization, UnknownSchemeError
from unitary_zoo.base import SCHEMES, Determinant, Group
from unitary_zoo.registry import Registry
from unitary_zoo.schemes import Cayley, Expm

MISSION = {
    "arjovsky", "cayley", "expm", "lie_exp", "svd_projection", "full_capacity", "eigenphase",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _undo_registrations():
    """A registration that ought to fail, and does not, must not reach the other tests."""
    with SCHEMES.override():
        yield


@pytest.fixture
def fruit():
    registry = Registry("fruit")
    for name in ("pear", "apple", "quince"):
        registry.register(name)(name.upper())
    return registry


# --------------------------------------------------------------------------- a registry by itself


def test_names_are_sorted_and_get_returns_the_entries(fruit):
    assert fruit.names() == ("apple", "pear", "quince")
    assert fruit.get("pear") == "PEAR"


def test_register_returns_the_object_itself():
    registry = Registry("thing")

    @registry.register("mine")
    class Mine:
        pass

    assert isinstance(Mine, type)
    assert registry.get("mine") is Mine


def test_register_accepts_the_same_object_twice(fruit):
    entry = fruit.get("pear")
    assert fruit.register("pear")(entry) is entry


def test_register_refuses_a_taken_name_and_names_its_owner(fruit):
    class First:
        pass

    class Second:
        pass

    fruit.register("fig")(First)
    with pytest.raises(ValueError, match=r"fruit name 'fig'.*First.*another name for.*Second") as e:
        fruit.register("fig")(Second)
    assert __name__ in str(e.value)  # the module of the owner
    assert fruit.get("fig") is First


@pytest.mark.parametrize(
    "bad", ["", "two words", "dash-ed", "dot.ted", "new\nline", None, 3, object]
)
def test_register_refuses_unfit_names(fruit, bad):
    with pytest.raises((ValueError, TypeError)):
        fruit.register(bad)
    assert fruit.names() == ("apple", "pear", "quince")


@pytest.mark.parametrize(
    ("asked", "near"),
    [("paer", "pear"), ("Apple", "apple"), ("quinc", "quince"), ("apple ", "apple")],
)
def test_get_suggests_the_nearest_name(fruit, asked, near):
    with pytest.raises(LookupError, match=f"unknown fruit {asked!r}; did you mean '{near}'"):
        fruit.get(asked)


def test_get_lists_the_known_names_if_none_is_near(fruit):
    with pytest.raises(LookupError, match="known: apple, pear, quince"):
        fruit.get("zzzzzz")


def test_get_says_none_if_the_registry_is_empty():
    with pytest.raises(LookupError, match="known: none"):
        Registry("thing").get("anything")


def test_get_raises_the_error_class_given():
    class UnknownThing(LookupError):
        pass

    with pytest.raises(UnknownThing):
        Registry("thing", error=UnknownThing).get("x")


@pytest.mark.parametrize("asked", [None, 3, ["pear"], Cayley])
def test_get_refuses_what_is_no_string(fruit, asked):
    with pytest.raises(LookupError, match="unknown fruit"):
        fruit.get(asked)


def test_registries_share_nothing(fruit):
    other = Registry("fruit")
    other.register("kiwi")("KIWI")
    assert other.names() == ("kiwi",)
    assert "kiwi" not in fruit.names()


def test_override_replaces_and_adds_and_restores(fruit):
    with fruit.override(pear="A PEAR", kiwi="KIWI"):
        fruit.register("fig")("FIG")
        assert fruit.names() == ("apple", "fig", "kiwi", "pear", "quince")
        assert fruit.get("pear") == "A PEAR"
    assert fruit.names() == ("apple", "pear", "quince")
    assert fruit.get("pear") == "PEAR"


def test_override_restores_after_an_error(fruit):
    with pytest.raises(ZeroDivisionError), fruit.override(kiwi="KIWI"):
        raise ZeroDivisionError
    assert "kiwi" not in fruit.names()


# ------------------------------------------------------------------------------ the schemes' own


def test_names_contain_every_scheme_of_the_mission():
    assert set(Parametrization.names()) >= MISSION
    assert Parametrization.names() == tuple(sorted(Parametrization.names()))


def test_create_builds_the_class_of_get_with_its_options():
    p = Parametrization.create("lie_exp", 5, field="complex", rebase_every=3)
    assert type(p) is Parametrization.get("lie_exp")
    assert (p.n, p.field, p.rebase_every) == (5, "complex", 3)


@pytest.mark.parametrize(
    "call", [Parametrization.get, lambda name: Parametrization.create(name, 3)]
)
def test_get_and_create_suggest_the_nearest_scheme(call):
    with pytest.raises(UnknownSchemeError, match=r"unknown scheme 'caylay'.*'cayley'"):
        call("caylay")
    assert issubclass(UnknownSchemeError, LookupError)


def test_scheme_with_a_taken_name_is_refused_and_the_owner_named():
    class Imitation(Cayley):
        pass

    with pytest.raises(
        ValueError, match=r"'cayley'.*unitary_zoo\.schemes\.cayley\.Cayley.*Imitation"
    ):
        Parametrization.register("cayley")(Imitation)
    assert Parametrization.get("cayley") is Cayley


@pytest.mark.parametrize(
    "thing", [object, 3, lambda n: n, dict], ids=["class", "int", "call", "dict"]
)
def test_scheme_must_be_a_parametrization(thing):
    before = Parametrization.names()
    with pytest.raises(TypeError, match="not a subclass of Parametrization"):
        Parametrization.register("impostor")(thing)
    assert Parametrization.names() == before


def test_scheme_without_info_is_refused_with_the_remedy():
    class Silent(Parametrization):
        pass

    with pytest.raises(TypeError, match=r"Silent states no info; set info = SchemeInfo"):
        Parametrization.register("silent")(Silent)
    assert "silent" not in Parametrization.names()


def test_scheme_under_another_name_than_its_info_is_refused():
    # Reports go by info.name and look-up by the registered name, so two names would part them.
    class Renamed(Cayley):
        info = replace(Cayley.info, name="renamed")

    before = Parametrization.names()
    with pytest.raises(ValueError, match="renamed"):
        Parametrization.register("another_name")(Renamed)
    assert Parametrization.names() == before


# ------------------------------------------------------------------------------- claims as filters


@pytest.mark.parametrize(
    ("claims", "some", "others"),
    [
        ({"field": "complex"}, {"arjovsky", "full_capacity", "eigenphase"}, {"cayley", "expm"}),
        ({"fields": "complex"}, {"arjovsky", "cayley", "lie_exp"}, set()),
        ({"fields": "real"}, {"cayley", "eigenphase", "svd_projection"}, {"arjovsky"}),
        ({"family": "static"}, {"cayley", "expm", "arjovsky", "eigenphase"}, {"lie_exp"}),
        ({"family": "rebased"}, {"lie_exp", "full_capacity"}, {"cayley", "svd_projection"}),
        ({"family": "projected"}, {"svd_projection"}, {"lie_exp", "expm"}),
        ({"group": Group.UNITARY}, {"full_capacity", "arjovsky"}, {"expm"}),
        ({"group": "U(n)", "whole": True}, {"full_capacity"}, {"arjovsky", "expm"}),
        ({"reach": "subset of U(n)"}, {"arjovsky"}, {"full_capacity", "expm"}),
        ({"determinant": Determinant.PLUS_ONE}, {"cayley", "expm"}, {"lie_exp", "svd_projection"}),
        ({"determinant": "+1"}, {"cayley", "expm"}, {"lie_exp", "svd_projection"}),
        ({"assignable": False}, {"arjovsky"}, {"cayley"}),
        ({"name": "expm"}, {"expm"}, MISSION - {"expm"}),
        ({"family": "static", "field": "complex"}, {"arjovsky", "eigenphase"}, {"full_capacity"}),
        ({"family": "static", "assignable": True, "field": "real"}, {"cayley"}, {"arjovsky"}),
        ({"family": "of another kind"}, set(), MISSION),
    ],
)
def test_names_are_filtered_by_claims(claims, some, others):
    found = Parametrization.names(**claims)
    assert found == tuple(sorted(found))
    assert set(found) >= some
    assert not set(found) & others


def test_names_by_family_agree_with_the_info_of_each_class():
    everything = Parametrization.names()
    for family in ("static", "rebased", "projected"):
        wanted = {name for name in everything if Parametrization.get(name).info.family == family}
        assert set(Parametrization.names(family=family)) == wanted


@pytest.mark.parametrize(
    "claim", ["colour", "dimension", "accepts", "claims", "_private", "__doc__"]
)
def test_names_refuse_an_unknown_claim_and_list_the_known(claim):
    with pytest.raises(TypeError, match=rf"no scheme claim '{claim}'.*'family'.*'field'"):
        Parametrization.names(**{claim: 1})


def test_names_by_field_follow_the_class_and_no_instance():
    p = Expm(3, field="complex")
    assert p.info.field == "complex"
    assert Expm.info.field == "real"
    assert "expm" not in Parametrization.names(field="complex")
