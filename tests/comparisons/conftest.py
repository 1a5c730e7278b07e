"""Small runs, results made up without training, and a small MNIST on disk."""

import gzip
import hashlib
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from comparisons import plugins
from comparisons.data import images
from comparisons.models import MODELS
from comparisons.papers import PAPERS
from comparisons.plan import PRESETS
from comparisons.records import Optimizer, Point, Result, Run, Setting
from comparisons.tasks import TASKS
from unitary_zoo.base.parametrization import SCHEMES

SETTING = Setting.of(
    hidden_size=8,
    batch_size=4,
    iterations=6,
    optimizer=Optimizer("rmsprop", lr=1e-3, alpha=0.9),
    unitary_optimizer=Optimizer("rmsprop", lr=1e-4, alpha=0.9),
    test_size=6,
    eval_every=3,
    source="a test's",
)


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """A run of a few iterations; keyword arguments replace fields of the run or its setting."""

    def make(model: str = "cayley", *, task="copying", length=5, seed=0, **setting) -> Run:
        return Run(task, model, length, seed, SETTING.changed(**setting))

    return make


@pytest.fixture(scope="session")
def make_result(make_run) -> Callable[..., Result]:
    """A finished run that never ran; ``losses`` are the test losses of its curve."""

    def make(model="cayley", *, losses=(2.0, 0.5, 0.01), defect=1e-7, **run) -> Result:
        run = make_run(model, **run)
        task = TASKS.get(run.task)(run.length)
        return Result(
            run=run,
            baseline=task.baseline,
            memoryless=task.memoryless,
            parameters=1234,
            recurrent_parameters=567,
            curve=tuple(
                Point(3 * i, 0.1 * i, loss if i else None, loss, 0.25)
                for i, loss in enumerate(losses)
            ),
            ms_per_step=1.5,
            seconds=2.0,
            peak_memory_mb=10.0,
            defect_start=defect,
            defect_end=defect,
            threads=1,
            versions={"python": "3", "torch": "2", "unitary_zoo": "0"},
            machine={"cpu": "Imaginary CPU 9000", "cores": 2, "platform": "test", "gpu": None},
            date="2026-01-02T03:04:05+00:00",
            command="python comparisons/run_all.py --preset imaginary",
        )

    return make


def idx(array: np.ndarray) -> bytes:
    """The array of bytes as an IDX file, as the format's description has it."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """The arrays of the four files, which stand in the folder of data with checksums of theirs."""
    draw = np.random.default_rng(0)
    arrays = {
        f"{part}-{name}": draw.integers(0, high, shape, dtype=np.uint8)
        for part, count in (("train", 30), ("t10k", 12))
        for name, high, shape in (
            (images.IMAGES, 256, (count, 28, 28)),
            (images.LABELS, 10, (count,)),
        )
    }
    checksums = {}
    (tmp_path / "mnist").mkdir()
    for name, array in arrays.items():
        checksums[name] = hashlib.sha256(idx(array)).hexdigest()
        (tmp_path / "mnist" / name).write_bytes(gzip.compress(idx(array)))
    monkeypatch.setattr(images, "MNIST", replace(images.MNIST, checksums=checksums))
    monkeypatch.setenv("UNITARY_ZOO_DATA", str(tmp_path))
    return arrays


@contextmanager
def forgotten_parts() -> Iterator[None]:
    """Undo at the end what plug-ins brought inside the block, as a process of its own would."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for registry in (SCHEMES, TASKS, MODELS, PRESETS, PAPERS._more):
            registry.names()  # installed plug-ins first
            stack.enter_context(registry.override())
        patch.setattr(plugins, "_LOADED", {})
        patch.setattr(PAPERS, "_loaded", dict(PAPERS._loaded))
        yield


@pytest.fixture
def apart() -> Callable[[], object]:
    """A context manager in which plug-ins are loaded as in a process of its own."""
    return forgotten_parts


@pytest.fixture
def own_parts() -> Iterator[None]:
    """Forget after the test what plug-ins brought."""
    with forgotten_parts():
        yield
