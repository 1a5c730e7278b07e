"""A server for the browser of this machine: the report of a folder and the files it links to."""

from __future__ import annotations

import errno
import json
import os
import re
import socketserver
import stat
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from comparisons.results.progress import read_progress

ADDRESS = "127.0.0.1"
"""The server listens here alone, where no other machine can connect."""

_HOSTS = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
# Any port: that of a tunnel (ssh -L) is another one.
_NAME = r"[^./\\:][^/\\:]*"
_FILES = re.compile(rf"report\.md|(?:runs|failures)/{_NAME}\.json|figures/{_NAME}\.(?:png|svg)")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_NOT_YET = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">'
    "<title>No report yet</title><p>The first report is being written; this page waits for it."
)


class ServingError(RuntimeError):
    """The server cannot be started; the message says what to change."""


class ReportServer(socketserver.ThreadingTCPServer):
    """A server on the loopback address for the files of one folder that its report links to.

    Beside the files, ``version.json`` names the version of the report that is there now, by which
    an open page knows when to load again, and how many runs have ended. Other paths, links that
    lead out of the folder, other methods than GET and HEAD, and requests under the name of another
    host (DNS rebinding) are refused.

    Args:
        folder: The results folder.
        port: The port; 0 takes a free one.

    Raises:
        ServingError: The port is taken or not allowed.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would share the port of another server

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self._asked = -float("inf")
        self._shown = ""
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
            raise ServingError(
                f"port {port} of {ADDRESS} {why}; give another one, or 0 for any that is free"
            ) from None

    @property
    def url(self) -> str:
        """The address of the report."""
        return f"http://{ADDRESS}:{self.server_address[1]}/report.html"

    def version(self) -> str:
        """The version of the report that is there now; "" if there is none."""
        try:
            facts = (self.folder / "report.html").stat()
        except OSError:
            return ""
        return f"{facts.st_mtime_ns:x}-{facts.st_size:x}"

    def status(self) -> Mapping[str, Any]:
        """The content of ``version.json``."""
        self._asked = time.monotonic()
        return {"version": self.version(), **vars(read_progress(self.folder, time.time()))}

    def read(self, path: str) -> bytes | None:
        """The content of a file that may be read, by its path in the folder; None of all others."""
        if not _FILES.fullmatch(path):
            return None
        return _read_inside(self.folder, path)

    def read_report(self) -> tuple[bytes | None, str]:
        """The report and its version; the version is the older one if it is replaced just now."""
        version = self.version()
        content = _read_inside(self.folder, "report.html")
        if content is not None:
            self._shown = version
        return content, version

    def wait_for_pages(self, seconds: float) -> None:
        """Wait until an open page has loaded the last report, or for that time at most."""
        now = time.monotonic()
        if now - self._asked > seconds:
            return  # no page is open
        while time.monotonic() < now + seconds and self._shown != self.version():
            time.sleep(0.1)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has closed its connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version, sys_version = "unitary_zoo", ""
    timeout = 10.0  # seconds for a request, or a silent connection would hold its thread

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the terminal belongs to the runs."""

    def _answer(self) -> None:
        if not _HOSTS.fullmatch(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "This server answers to localhost only")
            return
        path = unquote(urlsplit(self.path).path).removeprefix("/") or "report.html"
        if path == "report.html":
            self._answer_with_report()
        elif path == "version.json":
            self._send(HTTPStatus.OK, ".json", json.dumps(self.server.status()).encode())
        elif (content := self.server.read(path)) is not None:
            self._send(HTTPStatus.OK, Path(path).suffix, content)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer_with_report(self) -> None:
        content, version = self.server.read_report()
        if content is None:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, ".html", _NOT_YET.encode())
        else:
            # The one header that a page can read of itself: so it knows which version it is.
            self._send(
                HTTPStatus.OK, ".html", content, {"Server-Timing": f"version;desc={version}"}
            )

    def _send(
        self,
        status: HTTPStatus,
        suffix: str,
        content: bytes,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": _TYPES[suffix],
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": "frame-ancestors 'none'",
            "Referrer-Policy": "no-referrer",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _read_inside(folder: Path, path: str) -> bytes | None:
    """The content of a regular file of the folder; None if it is none, or lies outside."""
    try:
        root = folder.resolve(strict=True)
        real = (root / path).resolve(strict=True)
        if not real.is_relative_to(root):
            return None
        # Neither a link that has been put there since, nor a pipe that nobody writes to.
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(real, os.O_RDONLY | flags | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except (OSError, ValueError, RuntimeError):  # a loop of links is a RuntimeError before 3.13
        return None
