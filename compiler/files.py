"""Files that are replaced whole or not at all."""

import os
import secrets
import shutil
from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Replaces a file so that at any moment either the old or the new content is there; makes the folder it is in.

    A file keeps its permissions, and a link to it stays one. What is no file, such as a device or a pipe, is written
    to. Raises OSError, and leaves what was there, if that cannot be.
    """
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        path.write_bytes(data)  # which says why not, of a folder and of what is write-protected
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # two processes may write the same file
    try:
        with open(fresh, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, fresh)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
