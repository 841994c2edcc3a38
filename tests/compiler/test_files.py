"""Files that are replaced whole or not at all."""

import os
import threading
from pathlib import Path

import pytest

from rbcc.compiler.driver import compile_spec
from rbcc.compiler.files import write_file
from rbcc.compiler.summary import write_module


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "new.txt"
    write_file(path, b"new")
    (tmp_path / "usual.txt").write_bytes(b"")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode == (tmp_path / "usual.txt").stat().st_mode
    assert list(path.parent.iterdir()) == [path]


def test_a_file_keeps_its_permissions_and_its_links(tmp_path: Path) -> None:
    path, link = tmp_path / "old.txt", tmp_path / "link.txt"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_file(link, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)


@pytest.mark.parametrize("what", ["fsync", "replace"])
def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    path = tmp_path / "module.py"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, what, full)
    with pytest.raises(OSError, match="no space"):
        write_file(path, b"new")
    with pytest.raises(OSError, match="no space"):
        write_module(compile_spec("cournot"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_to_and_a_folder_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, b"new")
    reader.join()
    assert read == [b"new"]
    assert pipe.is_fifo()
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path, b"new")


def test_a_protected_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(b"old")
    path.chmod(0o444)
    if os.access(path, os.W_OK):
        pytest.skip("root may write everything")
    with pytest.raises(PermissionError):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
