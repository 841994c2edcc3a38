"""Imports run one way: a stage knows those before it, and the runtime knows what the compiler offers."""

import ast
from collections.abc import Iterator
from pathlib import Path

import rbcc


ROOT = Path(rbcc.__path__[0])
COMPILER = (
    "util diagnostics source ir syntax primitives schema semantics analysis optimize backends driver tools".split()
)
RUNTIME = (
    "errors prng parallel actions economy policies rollout learners validation training storage verification session reports solve "
    "sweep results"
).split()
STAGES = [*(f"compiler.{stage}" for stage in COMPILER), *(f"runtime.{stage}" for stage in RUNTIME)]
"""Each may import those before it."""

OFFERED = {f"compiler.{stage}" for stage in ("util", "diagnostics", "source", "ir", "primitives", "driver")}
"""What the runtime may use of the compiler."""

NOT_YET = {
    ("compiler.semantics", "compiler.analysis"),  # flow tables, signs
    ("compiler.analysis", "compiler.optimize"),  # the randomized check of accounts
    ("compiler.analysis", "compiler.backends"),
    ("runtime.validation", "compiler.backends"),  # code of an expression
    ("runtime.validation", "compiler.analysis"),
    ("runtime.validation", "compiler.optimize"),
    ("runtime.validation", "runtime.training"),  # schedules
    ("runtime.reports", "compiler.backends"),  # pages
}
"""Imports against the rule, to be removed; none may be added."""


def stage_of(module: str) -> str:
    return ".".join(module.split(".")[1:3])


def imports() -> Iterator[tuple[str, str]]:
    for path in (path for top in ("compiler", "runtime") for path in (ROOT / top).rglob("*.py")):
        stage = stage_of(".".join(("rbcc", *path.relative_to(ROOT).with_suffix("").parts)))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("rbcc.compiler", "rbcc.runtime")):
                for name in node.names:
                    yield stage, stage_of(f"{node.module}.{name.name}")


def test_imports_run_one_way() -> None:
    found = {(stage, other) for stage, other in imports() if stage != other}
    assert {stage for edge in found for stage in edge} <= set(STAGES)
    place = STAGES.index
    against = {edge for edge in found if place(edge[0]) < place(edge[1])}
    against |= {
        edge for edge in found if edge[0][:7] == "runtime" and edge[1][:8] == "compiler" and edge[1] not in OFFERED
    }
    assert against == NOT_YET
