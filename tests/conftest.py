import os
from collections.abc import Callable
from pathlib import Path

import pytest


# One thread pool a process is enough for tests that run side by side.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=true")

ROOT = Path(__file__).parent


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    """Writes a spec into a temporary folder and returns its path."""

    def write(text: str, name: str = "model.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
