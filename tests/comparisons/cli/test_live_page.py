"""The page that follows the runs of a command."""

import json
import time
import urllib.request

import pytest

from comparisons.cli import live_page
from comparisons.cli.live_page import LivePage
from comparisons.cli.serving import ServingError
from comparisons.results.store import Store


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live_page, "LOOK_SECONDS", 0.05)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(live_page.console, "say", lines.append)
    return lines


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_live_page_is_written_again_when_a_run_has_ended(tmp_path, make_result, quick, said):
    store, report = Store(tmp_path), tmp_path / "report.html"
    store.save_plan("command", [make_result(seed=seed).run for seed in (0, 1)])
    with LivePage(0, tmp_path) as page:
        time.sleep(0.3)
        assert not report.exists()  # nothing has changed
        store.save(make_result())
        wait_until(report.exists)
        url = said[0].rpartition(" ")[2]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b"1 runs finished" in answer.read()
    page.close()
    assert len(said) == 1


def write_nothing(monkeypatch, page, words):
    """Let the process of a page do what the words say in the place of writing a report."""
    monkeypatch.setattr(page._writer, "_command", [live_page.sys.executable, "-c", words])


def test_live_page_says_once_why_it_cannot_be_written(tmp_path, monkeypatch, quick, said):
    page = LivePage(0, tmp_path)
    monkeypatch.setattr(live_page, "REST", 0.0)
    write_nothing(monkeypatch, page, f"open({str(tmp_path / 'tried')!r}, 'a').write('x'); 1 / 0")
    with page:
        for tries in (1, 2):
            (tmp_path / "plan.json").write_text("x" * tries)
            wait_until(lambda: len((tmp_path / "tried").read_text()) >= tries
                       if (tmp_path / "tried").exists() else False)  # fmt: skip
            time.sleep(0.3)
    page.close()
    assert said[1:] == ["the page could not be written again: ZeroDivisionError: division by zero"]


def test_live_page_rests_after_it_was_written(tmp_path, monkeypatch, quick, said):
    page, tried = LivePage(0, tmp_path), tmp_path / "tried"
    write_nothing(monkeypatch, page, f"open({str(tried)!r}, 'a').write('x')")
    monkeypatch.setattr(live_page, "REST", 50.0)
    with page:
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            (tmp_path / "plan.json").write_text("x")
            time.sleep(0.01)
    page.close()
    # A process that does nothing takes 10 ms at least, and so a turn half a second.
    assert 1 <= len(tried.read_text()) <= 4


def test_live_page_ends_the_process_that_writes(tmp_path, monkeypatch, quick, said):
    page, started = LivePage(0, tmp_path), tmp_path / "started"
    write_nothing(
        monkeypatch, page, f"open({str(started)!r}, 'w').close(); import time; time.sleep(300)"
    )
    with page:
        (tmp_path / "plan.json").write_text("x")
        wait_until(started.exists)
        begun = time.monotonic()
    page.close()
    assert time.monotonic() - begun < 30
    assert len(said) == 1


def test_live_page_without_a_port_does_nothing(tmp_path, quick, said):
    with LivePage(None, tmp_path) as page:
        (tmp_path / "plan.json").write_text("x")
    page.close()
    assert said == []
    assert not page._writer.is_alive()


def test_live_page_tells_an_open_page_of_the_last_report(tmp_path, quick, said):
    (tmp_path / "report.html").write_text("first")
    with LivePage(0, tmp_path) as page:
        url = said[0].rpartition(" ")[2]
        urllib.request.urlopen(url, timeout=30).close()
        version = url.replace("report.html", "version.json")
        with urllib.request.urlopen(version, timeout=30) as answer:
            assert json.load(answer)["version"]
    page.close()


def test_live_page_refuses_a_port_in_use(tmp_path, said):
    with LivePage(0, tmp_path) as page:
        port = int(said[0].rpartition(":")[2].partition("/")[0])
        with pytest.raises(ServingError, match=f"port {port} "):
            LivePage(port, tmp_path)
    page.close()
