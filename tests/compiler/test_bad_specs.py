"""Every broken spec under tests/specs/bad gives exactly the text beside it, through the command.

After a change of messages, `RBCC_ACCEPT=1 python3 -m pytest tests/compiler/test_bad_specs.py` writes the new texts;
read the difference before committing it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest


FOLDER = Path(__file__).parent.parent / "specs" / "bad"
SPECS = sorted(path.name for path in FOLDER.glob("*.yaml"))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rbcc.cli", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", SPECS)
def test_message(name: str) -> None:
    result = command("compile", name)
    expected = FOLDER / name.replace(".yaml", ".txt")
    if os.environ.get("RBCC_ACCEPT"):
        expected.write_text(result.stderr, encoding="utf-8")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == expected.read_text(encoding="utf-8")
    assert "Traceback" not in result.stderr


def test_there_are_specs() -> None:
    assert len(SPECS) >= 20


def test_the_spec_they_were_made_from_is_good(tmp_path: Path) -> None:
    result = command("compile", "../market.yaml", "--out", str(tmp_path / "module.py"))
    assert (result.returncode, result.stderr) == (0, "")
