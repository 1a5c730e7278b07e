"""The connection to a Ray cluster, which is found or started."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import signal
import socket
import threading
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import unitary_zoo
from comparisons.execution.executor import ExecutorError
from comparisons.training.machine import usable_cpus

CONNECT_SECONDS = 10.0
"""Time in which something has to answer at the address of a cluster."""
THIS_MACHINE = "local"
"""The address that starts a cluster of this machine alone, as Ray calls it."""
ANY = "auto"
"""The address of the cluster that Ray finds on this machine, or by ``RAY_ADDRESS``."""


def connect(ray: Any, address: str | None, plugins: Sequence[str]) -> bool:
    """Connect this process to a cluster, unless it is connected; return whether that was done.

    The library, this package and plug-ins that are modules are sent to the workers.

    Args:
        ray: The module.
        address: Address of the cluster; None takes the one that Ray finds, or starts one here.
        plugins: Files and modules of the user's own.

    Raises:
        ExecutorError: There is no cluster at the address, or it cannot be used from here.
    """
    if ray.is_initialized():
        return False
    packages = [Path(unitary_zoo.__file__).parent, Path(__file__).parents[1]]
    modules = [*map(str, packages), *_plugin_packages(plugins)]
    options = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"py_modules": modules, "excludes": ["__pycache__"]},
    }
    try:
        if address not in (None, ANY, THIS_MACHINE):
            _check_listens(address)
        with _own_sigterm():
            if address != THIS_MACHINE:
                try:
                    ray.init(address=address or ANY, **options)
                except ConnectionError:
                    if address is not None:
                        raise
            if not ray.is_initialized():
                with _on_loopback():
                    ray.init(
                        address=THIS_MACHINE,
                        num_cpus=usable_cpus(),
                        include_dashboard=False,
                        **options,
                    )
    except Exception as error:
        # Ray raises whatever went wrong: OSError, RuntimeError, ImportError, its own errors.
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ExecutorError(
            f"no Ray cluster can be used at {address or ANY} ({line}); give the address that "
            "'ray start --head' printed, ray://HOST:10001 from a machine outside of the cluster, "
            f"or {THIS_MACHINE!r} for this machine alone"
        ) from error
    return True


def _plugin_packages(plugins: Sequence[str]) -> list[str]:
    """The paths of the packages and files of plug-ins that are modules."""
    paths = []
    for name in plugins:
        if name.endswith(".py"):
            continue
        spec = importlib.util.find_spec(name.partition(".")[0])
        if spec is not None and spec.submodule_search_locations:
            paths += list(spec.submodule_search_locations)
        elif spec is not None and spec.origin is not None:
            paths.append(spec.origin)
    return paths


def _check_listens(address: str | None) -> None:
    """Raise an OSError if nothing listens at the address, for which Ray itself would wait long."""
    assert address is not None
    url = urllib.parse.urlsplit(address if "://" in address else f"//{address}")
    if url.hostname and url.port:
        with socket.create_connection((url.hostname, url.port), CONNECT_SECONDS):
            pass


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, in the place of which Ray sets its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let what Ray starts listen on this machine alone, as it does on macOS and Windows."""
    # Ray replaces a loopback address that it is given by the address of the machine. This constant
    # of its own decides; without it, Ray works as before, and listens to the network.
    constants = importlib.import_module("ray._private.ray_constants")
    name = "ENABLE_RAY_CLUSTER"
    before = getattr(constants, name, None)
    setattr(constants, name, False)
    try:
        yield
    finally:
        setattr(constants, name, before)
