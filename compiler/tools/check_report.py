"""What can be said of a spec without running it: its mistakes, its flows, and what follows from its equations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting import proofs
from rbcc.compiler.analysis.accounting.render import text_table
from rbcc.compiler.diagnostics import CompileError, Diagnostic, to_data
from rbcc.compiler.driver import Compiled, compile_spec


@dataclass(frozen=True)
class Report:
    """Findings on a spec; without `compiled` it has errors. Proofs are looked for when they are asked for."""

    diagnostics: tuple[Diagnostic, ...]
    compiled: Compiled | None = None

    @cached_property
    def proved(self) -> tuple[bool, ...]:
        """Which identities are proved."""
        return proofs(self.compiled.model) if self.compiled else ()

    def text(self) -> str:
        """Flow tables, and what is proved and what is left to tests, for a spec without errors."""
        assert self.compiled is not None
        model = self.compiled.model
        tables = [f"{text_table(model, table)}\n" for table in self.compiled.proved_tables]
        lines = [f"{what} {name}: {'proved' if known else 'tested only'}" for what, name, _, known in self.claims()]
        if not lines:
            lines = ["no accounts, identities or invariants are declared"]
        return "\n".join([f"{model.name}: {model.title}" if model.title else model.name, "", *tables, *lines])

    def as_data(self) -> dict[str, Any]:
        """The same and the diagnostics, as JSON can hold it."""
        return {
            "model": self.compiled.model.name if self.compiled else None,
            "diagnostics": [to_data(diagnostic) for diagnostic in self.diagnostics],
            "claims": [
                {"kind": what, "name": name, "file": at.file, "line": at.line, "column": at.column, "proved": known}
                for what, name, at, known in self.claims()
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
                for table in (self.compiled.proved_tables if self.compiled else ())
            ],
        }

    def claims(self) -> Iterator[tuple[str, str, ir.Place, bool]]:
        """All that must hold in every step, with its place and whether it is proved to."""
        if self.compiled is None:
            return
        model = self.compiled.model
        for table in self.compiled.tables:
            yield "account", table.account.name, table.account.place, table.proved
        for identity, known in zip(model.identities, self.proved, strict=True):
            yield "identity", identity.name, identity.place, known
        for invariant in model.invariants:
            yield "invariant", invariant.name, invariant.place, False
        for action in model.actions:
            if action.where is not None:  # that it always leaves a choice
                yield "choices", action.symbol, action.place, action.always is not None


def report_on(path: str | Path, overrides: Mapping[str, object] | None = None) -> Report:
    """What there is to say of the spec at `path`, without importing JAX."""
    try:
        compiled = compile_spec(path, overrides)
    except CompileError as error:
        return Report(error.diagnostics)
    return Report(compiled.warnings, compiled)
