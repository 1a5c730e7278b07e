"""Helpers of these tests that assert."""

import pytest

pytest.register_assert_rewrite("tests.layers.gru_helpers", "tests.layers.rnn_helpers")
