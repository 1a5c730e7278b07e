"""Helpers of these tests that assert."""

import pytest

pytest.register_assert_rewrite(
    "tests.scan.gated_helpers", "tests.scan.loop", "tests.scan.recurrent_helpers",
    "tests.scan.native.helpers",
)  # fmt: skip
