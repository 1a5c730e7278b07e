"""The server of a report: what it gives, and what it refuses."""

import http.client
import json
import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from comparisons.cli.serving import ADDRESS, ReportServer, ServingError
from comparisons.records import Failure
from comparisons.results.claims import Claims
from comparisons.results.store import Store


@contextmanager
def served(folder):
    with ReportServer(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path, make_result):
    """A folder with a report, a result, a figure and secrets beside and inside it."""
    folder = tmp_path / "results"
    Store(folder).save(make_result())
    (tmp_path / "secret.json").write_text("secret")
    (folder / "plan.json").write_text("secret")
    (folder / "report.html").write_text("<p>report")
    (folder / "figures").mkdir()
    (folder / "figures" / "a.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def server(folder):
    with served(folder) as server:
        yield server


def ask(server, path, method="GET", host=None):
    """Status, headers and content of the answer; the path goes out as it is."""
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        if host != "":
            connection.putheader("Host", host or "localhost")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/report.html", "text/html"),
        ("/report.html?a=../b#c", "text/html"),
        ("/figures/a.svg", "image/svg"),
        ("/version.json", "application/json"),
    ],
)
def test_server_gives_the_report_and_its_files(server, path, kind):
    status, headers, content = ask(server, path)
    assert status == 200
    assert headers["Content-Type"].startswith(kind)
    assert headers["Cache-Control"] == "no-store"
    assert content
    assert int(headers["Content-Length"]) == len(content)


def test_server_names_the_version_that_it_gives(server, folder):
    version = json.loads(ask(server, "/version.json")[2])["version"]
    assert ask(server, "/report.html")[1]["Server-Timing"] == f"version;desc={version}"


def test_server_gives_raw_results(server, make_result):
    run = make_result().run
    status, _, content = ask(server, f"/runs/{run.id}.json")
    assert status == 200
    assert json.loads(content)["run"]["model"] == run.model


def test_server_gives_no_body_to_head(server):
    status, headers, content = ask(server, "/report.html", "HEAD")
    assert (status, content) == (200, b"")
    assert headers["Content-Length"] == "9"


@pytest.mark.parametrize(
    "path",
    [
        "/plan.json", "/runs", "/runs/", "/figures/", "/runs/none.json", "/runs/.hidden.json",
        "/../secret.json", "/runs/../../secret.json", "/runs/%2e%2e/%2e%2e/secret.json",
        "/runs/..%2f..%2fsecret.json", "/runs/..\\..\\secret.json", "//secret.json",
        "/runs/link.json", "/runs/pipe.json", "/runs/folder.json", "/figures/out/secret.json",
        "/failures/secret.json", "/runs/a%00.json", "/report.html/x", "/claims/x.lease",
    ],
)  # fmt: skip
def test_server_refuses_other_paths(server, folder, path):
    (folder / "runs" / "link.json").symlink_to(folder.parent / "secret.json")
    (folder / "runs" / ".hidden.json").write_text("secret")
    (folder / "runs" / "folder.json").mkdir()
    (folder / "failures").symlink_to(folder.parent)
    (folder / "figures" / "out").symlink_to(folder.parent)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "runs" / "pipe.json")
    status, _, content = ask(server, path)
    assert status == 404
    assert b"secret</" not in content
    assert b"runs/" not in content.replace(path.encode(), b"")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_server_refuses_the_names_of_other_hosts(server, host):
    status, _, content = ask(server, "/report.html", host=host)
    assert status == 421
    assert b"<p>report" not in content


@pytest.mark.parametrize("host", ["127.0.0.1:1234", "LOCALHOST", "[::1]:9"])
def test_server_answers_to_this_machine_through_a_tunnel(server, host):
    assert ask(server, "/report.html", host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_server_refuses_other_methods(server, method):
    assert ask(server, "/report.html", method)[0] == 501


def test_server_listens_on_loopback_alone(server):
    assert ADDRESS == server.server_address[0] == "127.0.0.1"


def test_server_tells_a_new_version_and_the_progress(server, folder, make_run, make_result):
    def version():
        return json.loads(ask(server, "/version.json")[2])

    store = Store(folder)
    runs = [make_result().run, *(make_run(seed=seed) for seed in (1, 2, 3))]
    store.save_plan("command", runs)
    store.save_failure(Failure(runs[1], "ValueError: no", "", "2026-01-02"))
    with Claims(folder) as claims:
        claims.take(runs[2].id)
        first = version()
        assert version() == first
    before = first.pop("version")
    assert before
    assert first == {"finished": 1, "failed": 1, "running": 1, "left": 1}
    (folder / "report.html").write_text("<p>longer report")
    assert version()["version"] not in ("", before)
    assert version()["left"] == 2


def test_server_lets_a_page_wait_for_the_first_report(tmp_path):
    with served(tmp_path / "nothing yet") as server:
        status, _, content = ask(server, "/")
        assert status == 503
        assert b'http-equiv="refresh"' in content
        assert json.loads(ask(server, "/version.json")[2])["version"] == ""


def test_wait_for_pages_ends_when_an_open_page_has_the_last_report(server, folder):
    begun = time.monotonic()
    server.wait_for_pages(60.0)  # no page is open
    ask(server, "/report.html")
    ask(server, "/version.json")
    server.wait_for_pages(60.0)  # it has the last report
    (folder / "report.html").write_text("<p>longer report")
    timer = threading.Timer(0.2, ask, (server, "/report.html"))
    timer.start()
    server.wait_for_pages(60.0)
    assert 0.2 < time.monotonic() - begun < 30
    timer.join()


def test_wait_for_pages_does_not_wait_for_long(server, folder):
    ask(server, "/version.json")
    server.wait_for_pages(0.2)


def test_server_names_a_port_in_use():
    with socket.create_server((ADDRESS, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServingError, match=f"port {port} of 127.0.0.1 is in use; give another"):
            ReportServer(None, port)
