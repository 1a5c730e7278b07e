"""Files and standard output in bad conditions."""

import errno
import io
import os
import sys

import pytest

from comparisons import output
from comparisons.output import check_writable, tolerate_encoding, write_file


def test_write_file_replaces_the_whole_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file.json"
    write_file(path, "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]


def test_write_file_writes_devices_and_links_in_place(tmp_path):
    write_file(tmp_path / "file", b"\x00\xff")
    (tmp_path / "link").symlink_to("file")
    write_file(tmp_path / "link", "é\udce9")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\\udce9"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_file(tmp_path / "pipe", "text")
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)


def test_check_writable_leaves_no_file(tmp_path):
    check_writable(tmp_path / "new" / "file.json")
    assert list((tmp_path / "new").iterdir()) == []


def test_check_writable_finds_a_full_disk(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        check_writable(tmp_path / "file.json")


@pytest.mark.parametrize("path", ["file/under/file.json", "folder"])
def test_check_writable_finds_what_is_in_the_way(tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"file|folder"):
        check_writable(tmp_path / path)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_tolerate_encoding_prints_a_mark_for_what_is_lacking(monkeypatch, encoding):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding))
    tolerate_encoding()
    print("W ∈ U(n)", flush=True)
    assert buffer.getvalue() == b"W ? U(n)\n"


def test_tolerate_encoding_leaves_other_streams_alone(monkeypatch):
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        tolerate_encoding()
        assert sys.stdout is stream
