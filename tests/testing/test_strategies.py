"""Random instances of schemes, for property-based tests."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unitary_zoo import Parametrization
from unitary_zoo.testing.strategies import parametrizations


@pytest.mark.parametrize("name", Parametrization.names(family="rebased"))
@given(data=st.data())
@settings(max_examples=10)
def test_random_point_of_a_rebased_scheme_is_in_its_group(name, data):
    p = data.draw(parametrizations(name, 6))
    found = p.describe()
    assert found.defect <= found.tolerance
    if p.field == "real":  # such schemes start with determinant 1 and keep it
        assert found.determinant.real > 0
