"""The registry: misses are explained, names are owned, claims are filters."""

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


def test_names_are_sorted_and_get_returns_what_was_entered(fruit):
    assert fruit.names() == ("apple", "pear", "quince")
    assert fruit.get("pear") == "PEAR"


def test_register_returns_the_object_itself():
    registry = Registry("thing")

    @registry.register("mine")
    class Mine:
        pass

    assert isinstance(Mine, type)
    assert registry.get("mine") is Mine


def test_the_same_object_may_be_entered_twice_under_its_name(fruit):
    entry = fruit.get("pear")
    assert fruit.register("pear")(entry) is entry


def test_a_second_object_under_a_name_is_refused_and_the_owner_named(fruit):
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
def test_bad_names_are_refused(fruit, bad):
    with pytest.raises((ValueError, TypeError)):
        fruit.register(bad)
    assert fruit.names() == ("apple", "pear", "quince")


@pytest.mark.parametrize(
    ("asked", "near"),
    [("paer", "pear"), ("Apple", "apple"), ("quinc", "quince"), ("apple ", "apple")],
)
def test_a_miss_suggests_the_nearest_name(fruit, asked, near):
    with pytest.raises(LookupError, match=f"unknown fruit {asked!r}; did you mean '{near}'"):
        fruit.get(asked)


def test_a_miss_far_from_everything_lists_what_is_there(fruit):
    with pytest.raises(LookupError, match="known: apple, pear, quince"):
        fruit.get("zzzzzz")


def test_a_miss_in_an_empty_registry_says_so():
    with pytest.raises(LookupError, match="known: none"):
        Registry("thing").get("anything")


def test_the_error_is_the_class_given():
    class UnknownThing(LookupError):
        pass

    with pytest.raises(UnknownThing):
        Registry("thing", error=UnknownThing).get("x")


@pytest.mark.parametrize("asked", [None, 3, ["pear"], Cayley])
def test_asking_for_what_is_no_name_is_a_miss(fruit, asked):
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


def test_every_scheme_of_the_mission_is_registered():
    assert set(Parametrization.names()) >= MISSION
    assert Parametrization.names() == tuple(sorted(Parametrization.names()))


def test_create_builds_what_get_finds_with_its_options():
    p = Parametrization.create("lie_exp", 5, field="complex", rebase_every=3)
    assert type(p) is Parametrization.get("lie_exp")
    assert (p.n, p.field, p.rebase_every) == (5, "complex", 3)


@pytest.mark.parametrize(
    "call", [Parametrization.get, lambda name: Parametrization.create(name, 3)]
)
def test_unknown_scheme_is_named_with_the_nearest(call):
    with pytest.raises(UnknownSchemeError, match=r"unknown scheme 'caylay'.*'cayley'"):
        call("caylay")
    assert issubclass(UnknownSchemeError, LookupError)


def test_a_taken_name_is_refused_and_its_owner_named():
    class Twin(Cayley):
        pass

    with pytest.raises(ValueError, match=r"'cayley'.*unitary_zoo\.schemes\.cayley\.Cayley.*Twin"):
        Parametrization.register("cayley")(Twin)
    assert Parametrization.get("cayley") is Cayley


@pytest.mark.parametrize(
    "thing", [object, 3, lambda n: n, dict], ids=["class", "int", "call", "dict"]
)
def test_only_parametrizations_are_registered(thing):
    before = Parametrization.names()
    with pytest.raises(TypeError, match="not a subclass of Parametrization"):
        Parametrization.register("impostor")(thing)
    assert Parametrization.names() == before


def test_a_scheme_without_info_is_refused_with_the_remedy():
    class Silent(Parametrization):
        pass

    with pytest.raises(TypeError, match=r"Silent states no info; set info = SchemeInfo"):
        Parametrization.register("silent")(Silent)
    assert "silent" not in Parametrization.names()


def test_a_name_other_than_that_of_the_info_is_refused():
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
def test_filters(claims, some, others):
    found = Parametrization.names(**claims)
    assert found == tuple(sorted(found))
    assert set(found) >= some
    assert not set(found) & others


def test_filters_agree_with_the_info_of_each_class():
    everything = Parametrization.names()
    for family in ("static", "rebased", "projected"):
        wanted = {name for name in everything if Parametrization.get(name).info.family == family}
        assert set(Parametrization.names(family=family)) == wanted


@pytest.mark.parametrize(
    "claim", ["colour", "dimension", "accepts", "claims", "_private", "__doc__"]
)
def test_an_unknown_filter_is_an_error_that_lists_the_known(claim):
    with pytest.raises(TypeError, match=rf"no scheme claim '{claim}'.*'family'.*'field'"):
        Parametrization.names(**{claim: 1})


def test_filters_look_at_the_class_and_not_at_what_an_instance_chose():
    p = Expm(3, field="complex")
    assert p.info.field == "complex"
    assert Expm.info.field == "real"
    assert "expm" not in Parametrization.names(field="complex")
