"""Wrong specs, under tests/specs/bad, and strange ones, under tests/specs/warn, give exactly the texts beside them.

After a change of messages, `RBCC_ACCEPT=1 python3 -m pytest tests/compiler/diagnostics/test_bad_specs.py` writes the
new texts; read the difference before committing it. A first line `# --set path=value` is added to the command.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbcc import cli
from rbcc.compiler.diagnostics import CODES, WARNINGS


SPECS = Path(__file__).parents[2] / "specs"
BAD = sorted(path.name for path in (SPECS / "bad").glob("*.yaml"))
STRANGE = sorted(path.name for path in (SPECS / "warn").glob("*.yaml"))


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def arguments(path: Path) -> list[str]:
    """The command for a spec; stages are printed rather than written to the user's folder."""
    first = path.read_bytes().partition(b"\n")[0].decode("utf-8", "replace")
    more = shlex.split(first.removeprefix("#")) if first.startswith("# --set") else []
    return ["compile", path.name, *more, "--emit", "ir"]


def in_process(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Result:
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr(sys, "argv", ["rbcc", *arguments(path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    captured = capsys.readouterr()
    return Result(int(ended.value.code or 0), captured.out, captured.err)


def compare(text: str, spec: Path) -> None:
    expected = spec.with_suffix(".txt")
    if os.environ.get("RBCC_ACCEPT"):
        expected.write_text(text, encoding="utf-8")
    assert text == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = in_process(SPECS / "bad" / name, monkeypatch, capsys)
    compare(result.err, SPECS / "bad" / name)
    assert (result.code, result.out) == (1, "")


@pytest.mark.parametrize("name", STRANGE)
def test_strange(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = in_process(SPECS / "warn" / name, monkeypatch, capsys)
    compare(result.err, SPECS / "warn" / name)
    assert result.code == 0
    assert result.out.startswith("model ")
    assert "error[" not in result.err


@pytest.mark.parametrize("name", BAD[:: len(BAD) // 5])
def test_the_command_itself(name: str) -> None:
    path = SPECS / "bad" / name
    command = [sys.executable, "-m", "rbcc.cli", *arguments(path)]
    result = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_code_has_a_spec() -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in SPECS.glob("*/*.txt")}
    found = {code for text in texts.values() for code in re.findall(r"(?:error|warning)\[(RB\d+)\]", text)}
    assert found == set(CODES)
    warned = {code for text in texts.values() for code in re.findall(r"warning\[(RB\d+)\]", text)}
    assert warned == WARNINGS


def test_there_are_many() -> None:
    assert len(BAD) >= 120
    assert {path.stem for path in SPECS.glob("*/*.txt")} == {path.stem for path in SPECS.glob("*/*.yaml")}


def test_the_spec_they_were_made_from_is_good(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = in_process(SPECS / "market.yaml", monkeypatch, capsys)
    assert (result.code, result.err) == (0, "")
