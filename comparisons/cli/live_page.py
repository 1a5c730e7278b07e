"""The page of a comparison in a browser while its runs go on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from comparisons.cli import console
from comparisons.cli.serving import ReportServer

DEFAULT_PORT = 8765

LOOK_SECONDS = 2.0
"""Time between two looks whether runs have ended."""

REST = 9.0
"""Rest after a report was written, as a multiple of the CPU time that this took."""

LAST_SECONDS = 10.0
"""Time at the end in which an open page can load the last report."""

ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("runs", "failures", "plan.json", "searches.json")


class LivePage:
    """A server for the report, which is written again whenever runs have ended.

    In the ``with`` block it is written by a process of its own at the lowest priority, which takes
    a tenth of a CPU at most. After the block the server goes on with what the folder holds, until
    it is closed.

    Args:
        port: Port of the server; 0 takes a free one, and with None nothing is served or written.
        folder: The results folder.
        plugins: What brings its tasks, models and papers.

    Raises:
        ServingError: The port is taken or not allowed.
    """

    def __init__(self, port: int | None, folder: Path, plugins: Iterable[str] = ()) -> None:
        self._server = None if port is None else ReportServer(folder, port)
        self._writer = _Writer(folder, plugins)

    def __enter__(self) -> LivePage:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
            console.say(f"the page, which follows the runs: {self._server.url}")
            self._writer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._writer.stop()
            if kind is not None:
                self._end()

    def close(self) -> None:
        """End the server, once an open page has loaded the last report."""
        if self._server is not None:
            with contextlib.suppress(KeyboardInterrupt):  # which ends the waiting
                self._server.wait_for_pages(LAST_SECONDS)
            self._end()

    def _end(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


class _Writer(threading.Thread):
    """Writes the report again when runs have ended, until it is stopped."""

    def __init__(self, folder: Path, plugins: Iterable[str]) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._command = [sys.executable, "-m", "comparisons", "report", "--no-figures"]
        self._command.append(str(folder.absolute()))
        if named := list(plugins):
            self._command += ["--plugin", *named]
        self._stopped = threading.Event()
        self._written = _changed(folder)
        self._refusal = ""

    def stop(self) -> None:
        """Stop, and end a process that is at work."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Look at the folder from time to time."""
        rest = 0.0
        while not self._stopped.wait(max(rest, LOOK_SECONDS)):
            now = _changed(self._folder)  # before the report reads: what ends meanwhile is new
            rest = 0.0
            if now != self._written:
                begun, used = time.monotonic(), _used_by_children()
                self._tell(self._write())
                taken, used = time.monotonic() - begun, _used_by_children() - used
                # On a busy machine it waits for most of the time; not every platform tells.
                self._written, rest = now, REST * min(taken, used or taken)

    def _tell(self, refusal: str) -> None:
        """Say why the report could not be written, once and not every few seconds."""
        if refusal not in ("", self._refusal) and not self._stopped.is_set():
            console.say(f"the page could not be written again: {refusal}")
        self._refusal = refusal

    def _write(self) -> str:
        """Write the report in a process that Ctrl-C does not reach; return why it was not."""
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        # What this process can import, a plug-in by the name of its module, that one can, too.
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path)
        try:
            process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return str(error)
        with process:
            if hasattr(os, "setpriority"):
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, 19)
            errors = self._wait(process)
        if not process.returncode:
            return ""
        return (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]

    def _wait(self, process: subprocess.Popen[str]) -> str:
        """Wait for the process, and end it when this thread is stopped; return its errors."""
        while True:
            try:
                return process.communicate(timeout=0.2)[1]
            except subprocess.TimeoutExpired:
                if self._stopped.is_set():
                    process.terminate()


def _used_by_children() -> float:
    """CPU seconds of the processes that this one has started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _changed(folder: Path) -> tuple[int, ...]:
    """When the results, failures, plan and searches of a folder changed last."""
    return tuple(_changed_at(folder / name) for name in _SOURCES)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns  # of a folder, that of its last new or deleted file
    except OSError:
        return 0
