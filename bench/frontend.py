"""How long an author waits: from Enter to the first diagnostics, and what of that is reading equations.

    python3 bench/frontend.py [--repeats 15]

Processes are measured from their start to the first line that `rbcc check` prints, or to their end, beside one that
only imports the libraries of the command line and of the spec's keys (typer and pydantic). Bytecode and the tables of
the parser are kept, as in daily use; cold means an empty cache folder.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


sys.path.insert(0, str(Path(__file__).parent))
from timing import Row, arguments, report

from rbcc.compiler.diagnostics import Diagnostics, Source, Span
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.source import Scalar
from rbcc.compiler.syntax import parse_equations


EQUATIONS = 200
LIBRARIES = "import typer; from pydantic import BaseModel, Field, TypeAdapter; TypeAdapter(int)"
WRONG = """rbcc: 1
extends: open_rbc
model: wrong
parameters:
  export_price: {value: 1_000, unit: money/goods}
equations:
  exports: |
    exported[j] = max(0, min(inventory[j] - sold[i], export_quantities)) if price[j] >= export_price else 0
"""


def process(*command: str, cache: Path | None = None, first: str = "") -> float:
    """Milliseconds from start to end of a process, or to a first line that has `first` in it; then it is stopped."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"XDG_CACHE_HOME": str(cache)} if cache else {}
    began = time.perf_counter()
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as running:
        assert running.stdout is not None
        printed = running.stdout.readline() if first else running.stdout.read()
        spent = 1e3 * (time.perf_counter() - began)
        running.kill()
    if "Traceback" in printed or first not in printed:
        raise RuntimeError(printed)
    return spent


def parsing(turn: int) -> float:
    """Milliseconds for the equations of open_rbc, repeated to 200, each with a left side of its own.

    What was parsed before is kept, so no two may be equal, within a turn or in different ones.
    """
    lines = [definition.text for definition in compile_spec("open_rbc").model.equations if definition.group]
    lines = [re.sub(r"^\w+", rf"\g<0>_{turn}_{n}", lines[n % len(lines)]) for n in range(EQUATIONS)]
    block = "\n".join(lines) + "\n"
    scalar = Scalar(block, block, Span(Source("equations", block), 0, len(block)))
    began = time.perf_counter()
    equations, broken = parse_equations(scalar, Diagnostics())
    spent = 1e3 * (time.perf_counter() - began)
    assert len(equations) == EQUATIONS
    assert not broken
    return spent


def compiling() -> float:
    began = time.perf_counter()
    compile_spec("open_rbc")
    return 1e3 * (time.perf_counter() - began)


def measure(repeats: int = 15) -> list[Row]:
    """All rows of this benchmark; the processes take turns."""
    rbcc = (sys.executable, "-c", "from rbcc.cli import main; main()")  # as the installed script
    times: dict[str, list[float]] = {"wrong": [], "cold": [], "right": [], "whole": [], "ir": [], "libraries": []}
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "wrong.yaml"
        wrong.write_text(WRONG, encoding="utf-8")
        for turn in range(repeats + 1):
            spent = {
                "wrong": process(*rbcc, "check", str(wrong), first="error"),
                "cold": process(*rbcc, "check", str(wrong), cache=Path(folder) / f"cache{turn}", first="error"),
                "right": process(*rbcc, "check", "open_rbc", first="open_rbc"),
                "whole": process(*rbcc, "check", "--fast", "open_rbc"),
                "ir": process(*rbcc, "compile", "open_rbc", "--emit", "ir"),
                "libraries": process(sys.executable, "-c", LIBRARIES),
            }
            for name in times if turn else ():  # the first turn writes bytecode and tables
                times[name].append(spent[name])
    values = {name: tuple(numbers) for name, numbers in times.items()}
    titles = {
        "wrong": "check of a wrong open_rbc, to the first diagnostics",
        "cold": "the same without tables of the parser",
        "right": "check of open_rbc, to the first line; flows and tests follow",
        "whole": "check --fast of open_rbc, to the end",
        "ir": "compile --emit ir of open_rbc, to the end",
    }
    return [
        *(Row(title, "ms", values[name], "libraries alone", values["libraries"]) for name, title in titles.items()),
        Row("open_rbc checked again, in process", "ms", tuple(compiling() for _ in range(repeats))),
        Row(f"{EQUATIONS} equations parsed, in process", "ms", tuple(parsing(turn) for turn in range(repeats))),
    ]


def main() -> None:
    options = arguments(__doc__, repeats=15).parse_args()
    report(measure(options.repeats), options.out)


if __name__ == "__main__":
    main()
