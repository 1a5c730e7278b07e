"""The checks of a scheme are tested themselves: each must find the faults planted for it."""

import functools

import pytest

from tests.testing.faults import FAULTS
from unitary_zoo.testing import yield_checks
from unitary_zoo.testing.checks import CHECKS

# A scheme with a fault may warn before it fails.
pytestmark = pytest.mark.filterwarnings("ignore")


@functools.cache
def sound_status(check, scheme):
    """The status of a check of a sound scheme; computed once for all faults of that scheme."""
    return dict(yield_checks(scheme))[check]().status


@pytest.mark.parametrize(
    ("check", "scheme"), FAULTS, ids=[f"{check}-{scheme.__name__}" for check, scheme in FAULTS]
)
def test_check_finds_the_planted_fault(check, scheme):
    result = dict(yield_checks(scheme))[check]()
    assert result.status == "failed", result
    assert result.message
    sound = scheme.__mro__[1]
    assert sound_status(check, sound) == "passed", "the fault is the only cause"


def test_every_check_has_a_planted_fault():
    assert {check for check, _ in FAULTS} == set(CHECKS)
