"""Skip these tests where the kernel is not built; fixtures."""

import pytest
import torch

from unitary_zoo.scan import backends


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    status = backends()["native"]
    if not status.available:
        for item in items:
            if "tests/scan/native" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason=status.reason))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)
