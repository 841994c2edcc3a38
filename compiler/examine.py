"""What can be said of a spec without running it: its mistakes, its flows, and what follows from its equations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbcc.compiler import ir
from rbcc.compiler.accounting import FlowTable, flow_table, proved
from rbcc.compiler.accounting.tables import text_table
from rbcc.compiler.diagnostics import CompileError, Diagnostic, to_data
from rbcc.compiler.driver import Compiled, compile_spec


@dataclass(frozen=True)
class Examination:
    """Findings on a spec; without `compiled` it has errors.

    `tables` has the flows of every account, `identities` every identity and whether it is proved.
    """

    diagnostics: tuple[Diagnostic, ...]
    compiled: Compiled | None = None
    tables: tuple[FlowTable, ...] = ()
    identities: tuple[tuple[ir.Identity, bool], ...] = ()


def examine(path: str | Path, overrides: Mapping[str, object] | None = None) -> Examination:
    """Examines the spec at `path`, without importing JAX."""
    try:
        compiled = compile_spec(path, overrides)
    except CompileError as error:
        return Examination(error.diagnostics)
    model = compiled.model
    tables = tuple(flow_table(model, account) for account in model.accounts)
    identities = tuple((identity, proved(model, identity)) for identity in model.identities)
    return Examination(compiled.warnings, compiled, tables, identities)


def report(examination: Examination) -> str:
    """Flow tables, and what is proved and what is left to tests, for a spec without errors."""
    assert examination.compiled is not None
    model = examination.compiled.model
    tables = [f"{text_table(model, table)}\n" for table in examination.tables if not table.gave_up]
    lines = [f"{what} {name}: {'proved' if known else 'tested only'}" for what, name, _, known in _claims(examination)]
    if not lines:
        lines = ["no accounts, identities or invariants are declared"]
    return "\n".join([f"{model.name}: {model.title}" if model.title else model.name, "", *tables, *lines])


def as_data(examination: Examination) -> dict[str, Any]:
    """The same and the diagnostics, as JSON can hold it."""
    model = examination.compiled.model if examination.compiled else None
    return {
        "model": model.name if model else None,
        "diagnostics": [to_data(diagnostic) for diagnostic in examination.diagnostics],
        "claims": [
            {
                "kind": what,
                "name": name,
                "file": place.file,
                "line": place.line,
                "column": place.column,
                "proved": known,
            }
            for what, name, place, known in _claims(examination)
        ],
        "flows": [
            {
                "account": table.account.name,
                "columns": list(table.columns),
                "rows": [
                    {"flow": row.name, "amount": row.amount, "gains": [str(gain) for gain in row.gains]}
                    for row in table.rows
                ],
            }
            for table in examination.tables
        ],
    }


def _claims(examination: Examination) -> Iterator[tuple[str, str, ir.Place, bool]]:
    """All that must hold in every step, with its place and whether it is proved to."""
    for table in examination.tables:
        yield "account", table.account.name, table.account.place, table.proved
    for identity, known in examination.identities:
        yield "identity", identity.name, identity.place, known
    for invariant in examination.compiled.model.invariants if examination.compiled else ():
        yield "invariant", invariant.name, invariant.place, False
