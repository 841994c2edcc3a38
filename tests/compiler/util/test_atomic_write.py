"""Files that are replaced whole or not at all."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from rbcc.compiler.driver import compile_spec
from rbcc.compiler.tools.summary import write_module
from rbcc.compiler.util.atomic_write import STALE_SECONDS, check_writable, draft_of, write_file


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


def test_an_error_names_the_file_and_not_its_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_file(tmp_path / "new.txt", b"new")
    assert caught.value.filename == str(tmp_path / "new.txt")
    assert list(tmp_path.iterdir()) == []


def test_whether_a_file_can_be_written_is_asked_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "old.txt"
    check_writable(path)
    assert list(path.parent.iterdir()) == []
    path.write_bytes(b"old")
    check_writable(path)
    assert path.read_bytes() == b"old"
    check_writable(Path(os.devnull))
    with pytest.raises(IsADirectoryError):
        check_writable(path.parent)
    with pytest.raises(NotADirectoryError, match="below"):
        check_writable(path / "below")


def test_drafts_of_killed_processes_are_removed(tmp_path: Path) -> None:
    """Those of other files, of other programs, and those that may still be written stay."""
    path = tmp_path / "a.txt"
    old, fresh, other, foreign = draft_of(path), draft_of(path), draft_of(tmp_path / "b.txt"), tmp_path / ".a.txt.swp"
    for draft in (old, fresh, other, foreign):
        draft.write_bytes(b"half")
        if draft is not fresh:
            os.utime(draft, (0, time.time() - 2 * STALE_SECONDS))
    write_file(path, b"new")
    assert {one.name for one in tmp_path.iterdir()} == {one.name for one in (path, fresh, other, foreign)}
