"""How long an author waits: from Enter to the first diagnostics, and what of that is reading equations.

    python3 bench/frontend.py [--repeats 15]

Whole processes are measured, beside one that only imports the libraries of the command line and of the spec's keys
(typer and pydantic). Bytecode and the tables of the parser are kept, as in daily use; cold means an empty cache folder.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path


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


def process(*command: str, cache: Path | None = None) -> float:
    """Milliseconds from start to end of a process."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"XDG_CACHE_HOME": str(cache)} if cache else {}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    spent = 1e3 * (time.perf_counter() - began)
    if "Traceback" in done.stderr:
        raise RuntimeError(done.stderr)
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
    rbcc = (sys.executable, "-c", "from rbcc.cli import main; main()", "compile")  # as the installed script
    times: dict[str, list[float]] = {"right": [], "wrong": [], "cold": [], "libraries": []}
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "wrong.yaml"
        wrong.write_text(WRONG, encoding="utf-8")
        for turn in range(repeats + 1):
            spent = {
                "right": process(*rbcc, "open_rbc", "--emit", "ir"),
                "wrong": process(*rbcc, str(wrong)),
                "cold": process(*rbcc, str(wrong), cache=Path(folder) / f"cache{turn}"),
                "libraries": process(sys.executable, "-c", LIBRARIES),
            }
            for name in times if turn else ():  # the first turn writes bytecode and tables
                times[name].append(spent[name])
    values = {name: tuple(numbers) for name, numbers in times.items()}
    return [
        Row(
            "Enter to the first diagnostics of a wrong open_rbc",
            "ms",
            values["wrong"],
            "libraries alone",
            values["libraries"],
        ),
        Row("the same without tables of the parser", "ms", values["cold"], "libraries alone", values["libraries"]),
        Row("Enter to the IR of open_rbc", "ms", values["right"], "libraries alone", values["libraries"]),
        Row("open_rbc checked again, in process", "ms", tuple(compiling() for _ in range(repeats))),
        Row(f"{EQUATIONS} equations parsed, in process", "ms", tuple(parsing(turn) for turn in range(repeats))),
    ]


def main() -> None:
    options = arguments(__doc__, repeats=15).parse_args()
    report(measure(options.repeats), options.out)


if __name__ == "__main__":
    main()
