"""What lies in a folder, told without JAX."""

import os
from pathlib import Path


def is_run(path: str | Path) -> bool:
    """Whether `path` is a run directory."""
    return os.path.isfile(os.path.join(path, "manifest.json"))  # pathlib raises an error for names that are too long
