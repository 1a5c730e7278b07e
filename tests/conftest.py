"""Settings for every test: seed, threads, Hypothesis profiles, and what needs a GPU."""

import os
import signal

import pytest
import torch
from hypothesis import settings

# No deadline: the first call of a torch function is far slower than the next, and would miss it.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
)

# The matrices are small, and threads that outnumber free cores (pytest-xdist, a busy machine) spin
# while they wait for one another: fifty times slower, measured on two cores.
torch.set_num_threads(1)

# A shell starts background commands with Ctrl-C ignored; all that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


pytest.register_assert_rewrite(  # helpers that assert, and are no test files
    "tests.recurrent", "tests.cells.rnn_helpers", "tests.cuda.helpers",
    "tests.layers.gru_helpers", "tests.layers.rnn_helpers", "tests.scan.native.helpers",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names that differ from run to run; skip what is marked `cuda` without a device."""
    # Workers of pytest-xdist that collect different names run no test at all.
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError(
            f"the name holds an address; give ids to parametrize: {unstable[0]}"
        )
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device, and torch.cuda.is_available() is False")
    for item in items:
        if item.get_closest_marker("cuda"):  # the folder's name is a keyword, too
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seed() -> None:
    """What a test draws without a seed of its own is the same in any order and any worker."""
    torch.manual_seed(0)
