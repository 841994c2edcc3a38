"""Files that are replaced whole or not at all."""

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


STALE_SECONDS = 3600.0
"""A draft older than this was left by a process that was killed: writing takes seconds."""


def write_file(path: Path, data: bytes) -> None:
    """Replaces a file so that at any moment either the old or the new content is there; makes the folder it is in.

    A file keeps its permissions, and a link to it stays one. A device or a pipe is written to. Drafts that killed
    processes left of it are removed. Raises OSError, which names `path`, and leaves what was there, if that cannot be.
    """
    with _naming(path):
        if _in_place(path):
            path.write_bytes(data)  # which says why not, of a folder and of a file that is write-protected
            return
        target = path.resolve()
        _make_folder(target.parent)
        remove_drafts(target)
        fresh = draft_of(target)
        try:
            with open(fresh, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, fresh)
            os.replace(fresh, target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise


def check_writable(path: Path) -> None:
    """Raises OSError, which names `path`, if `write_file` could not write even an empty file there.

    For work that takes long, before it begins; makes the folder of the file.
    """
    with _naming(path):
        if _in_place(path):
            with open(path, "ab"):
                return
        target = path.resolve()
        _make_folder(target.parent)
        fresh = draft_of(target)
        with open(fresh, "xb"):
            pass
        fresh.unlink()


def draft_of(path: Path) -> Path:
    """A name beside `path` under which it is written before it is renamed: two processes may write the same file."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def remove_drafts(path: Path) -> None:
    """Removes what processes that were killed while they wrote `path`, a file or a folder, have left beside it."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}")
    for draft in path.parent.iterdir():
        if name.fullmatch(draft.name):
            with suppress(OSError):  # another process removes it, or may and this one may not
                if time.time() - draft.lstat().st_mtime > STALE_SECONDS:
                    shutil.rmtree(draft) if draft.is_dir() else draft.unlink()


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # there is a file in place of it, which is not what this error says
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def _in_place(path: Path) -> bool:
    """Whether `path` is something other than a file, or one that may not be replaced."""
    return path.exists() and not (path.is_file() and os.access(path, os.W_OK))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Has an OSError name `path`, and neither a draft of it nor nothing."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
