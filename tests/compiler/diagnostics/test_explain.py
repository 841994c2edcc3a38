"""Every code has a page, and the examples of the pages are true."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from rbcc.compiler.diagnostics import CODES, WARNINGS, CompileError
from rbcc.compiler.diagnostics.explain import explanation
from rbcc.compiler.driver import compile_spec


MARKET = Path(__file__).parents[2] / "specs" / "market.yaml"


def section(code: str, title: str) -> str:
    found = re.search(rf"\n## {title}\n(.*?)(?=\n## |\Z)", explanation(code), re.DOTALL)
    assert found, f"{code} has no '{title}'"
    return found.group(1)


def codes_of(text: str, folder: Path) -> set[str]:
    """The codes that the blocks of a section give: a spec, or a part that extends the market, or a command."""
    blocks = dict(re.findall(r"```(yaml|sh|python|csv)\n(.*?)```", text, re.DOTALL))
    if "python" in blocks:
        (folder / "mine.py").write_text(blocks["python"], encoding="utf-8")
    if "csv" in blocks:
        (folder / "sellers.csv").write_text(blocks["csv"], encoding="utf-8")
    if "sh" in blocks:
        command = [sys.executable, "-m", "rbcc.cli", *shlex.split(blocks["sh"])[1:], "--emit", "ir"]
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        return set(re.findall(r"(?:error|warning)\[(RB\d+)\]", result.stderr))
    spec = blocks["yaml"]
    if not spec.startswith("rbcc:"):
        shutil.copy(MARKET, folder / "market.yaml")
        spec = f"rbcc: 1\nextends: market.yaml\nmodel: page\n{spec}"
    (folder / "model.yaml").write_text(spec, encoding="utf-8")
    try:
        return {d.code for d in compile_spec(folder / "model.yaml").warnings}
    except CompileError as error:
        return {d.code for d in error.diagnostics}


@pytest.mark.parametrize("code", CODES)
def test_page(code: str, tmp_path: Path) -> None:
    lines = explanation(code).splitlines()
    assert lines[0] == f"# {code}: {CODES[code]}"
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    assert code in codes_of(section(code, "Example"), tmp_path)
    assert not codes_of(section(code, "Fix"), tmp_path) - WARNINGS
    assert code not in codes_of(section(code, "Fix"), tmp_path)


def test_no_page_without_a_code() -> None:
    names = {path.name for path in files("rbcc.compiler.diagnostics").joinpath("pages").iterdir()}
    assert names == {f"{code}.md" for code in CODES}


def test_codes_as_people_write_them() -> None:
    assert explanation("RB202") == explanation("rb202") == explanation(" 202 ")


def test_list_of_codes() -> None:
    lines = explanation(None).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("RB")] == list(CODES)
    assert {line.split()[0] for line in lines if line.endswith("warning")} == WARNINGS


@pytest.mark.parametrize(("code", "near"), [("RB2002", "RB202"), ("RB208x", "RB208"), ("hello", None)])
def test_unknown_codes(code: str, near: str | None) -> None:
    with pytest.raises(LookupError, match=f"there is no code '{code}'") as caught:
        explanation(code)
    assert near is None or near in str(caught.value)
