import gzip
import hashlib
import http.server
import threading
from functools import partial

import pytest

from comparisons.data import DataError, files
from comparisons.data.files import DataSet

CONTENT = b"what the file holds" * 100


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNITARY_ZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "data" / "some"


def dataset(name: str, url: str = "http://127.0.0.1:9/") -> DataSet:
    return DataSet("some", "Some data", url, {name: hashlib.sha256(CONTENT).hexdigest()})


@pytest.fixture
def server(tmp_path):
    """A web server of this test's own, with one packed and one plain file."""
    root = tmp_path / "web"
    root.mkdir()
    (root / "a.gz").write_bytes(gzip.compress(CONTENT))
    (root / "bad.gz").write_bytes(gzip.compress(CONTENT[:-1]))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root)) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}/"
        web.shutdown()


@pytest.mark.parametrize("level", [1, 9])
def test_find_verifies_unpacked_content(folder, level):
    folder.mkdir(parents=True)
    (folder / "a.gz").write_bytes(gzip.compress(CONTENT, level))
    assert files.find(dataset("a.gz")) == {"a.gz": folder / "a.gz"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", CONTENT + b"!"),
        ("a.gz", gzip.compress(CONTENT[:-1], mtime=0)),
        ("a.gz", gzip.compress(CONTENT, mtime=0)[:-4]),
        ("a.gz", CONTENT),  # not packed, though its name says so
    ],
    ids=["other text", "other content", "cut off", "not packed"],
)
def test_find_names_damaged_file(folder, name, content):
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match="damaged") as caught:
        files.find(dataset(name))
    assert str(folder / name) in str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_find_refuses_unreadable_file(folder, name):
    (folder / name).mkdir(parents=True)
    with pytest.raises(DataError, match="damaged") as caught:
        files.find(dataset(name))
    assert str(folder / name) in str(caught.value)


def test_find_names_address_of_missing_file(folder):
    with pytest.raises(DataError, match="add --download") as caught:
        files.find(dataset("a.gz"))
    assert "http://127.0.0.1:9/a.gz" in str(caught.value)


def test_find_without_folder_names_flag(monkeypatch):
    monkeypatch.delenv("UNITARY_ZOO_DATA", raising=False)
    with pytest.raises(DataError, match="--data-dir"):
        files.find(dataset("a.gz"))


def test_find_downloads_once(folder, server):
    path = files.find(dataset("a.gz", server), download=True)["a.gz"]
    assert gzip.decompress(path.read_bytes()) == CONTENT
    files.find(dataset("a.gz"), download=True)  # is there: nothing is asked of any server


def test_find_discards_damaged_download(folder, server):
    with pytest.raises(DataError, match="damaged"):
        files.find(dataset("bad.gz", server), download=True)
    assert not (folder / "bad.gz").exists()


def test_find_failed_download_names_place_for_copy(folder):
    with pytest.raises(DataError, match="could not be fetched") as caught:
        files.find(dataset("a.gz"), download=True)
    assert str(folder / "a.gz") in str(caught.value)
