"""The whole compiler as one readable function."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting import FlowTable
from rbcc.compiler.analysis.suppressions import silence
from rbcc.compiler.diagnostics import CompileError, Diagnostic, Diagnostics
from rbcc.compiler.optimize import optimise
from rbcc.compiler.schema.spec import read
from rbcc.compiler.semantics.context import Context
from rbcc.compiler.semantics.elaborate import check
from rbcc.compiler.source import Document, load


@dataclass(frozen=True)
class Compiled:
    """What the front end makes of a spec: the resolved document, the typed IR, the warnings, the flows of accounts."""

    document: Document
    model: ir.Model
    warnings: tuple[Diagnostic, ...]
    tables: tuple[FlowTable, ...]

    @property
    def proved_tables(self) -> tuple[FlowTable, ...]:
        """The tables whose flows are known; those of other accounts are empty."""
        return tuple(table for table in self.tables if not table.gave_up)

    def python(self, device: str = "cpu") -> str:
        """The text of the generated module, for a kind of device as JAX names it: "cpu", "gpu"."""
        from rbcc.compiler.backends.jax.module import emit

        return emit(optimise(self.model, device), device)


@dataclass(frozen=True)
class Reading:
    """What could be found out about a spec, right or wrong; None stands for what a mistake kept from being made."""

    diagnostics: Diagnostics
    document: Document | None = None
    context: Context | None = None
    model: ir.Model | None = None


def examine(
    path: str | Path, overrides: Mapping[str, object] | None = None, texts: Mapping[Path, str] | None = None
) -> Reading:
    """Reads, merges, checks and types the spec at `path`, without importing JAX, as far as its mistakes allow.

    `overrides` maps dotted paths to values, such as `{"agents.seller.count": 7}`; `texts` maps absolute paths of specs
    to texts that are read in place of the files.
    """
    diagnostics, document, context, model = Diagnostics(), None, None, None
    with suppress(CompileError):  # more errors than are looked for
        document = load(path, overrides, diagnostics, texts)
        reading = read(document, diagnostics) if document is not None else None
        if reading is not None:
            spec, document = reading
            context = Context(spec, document, diagnostics)
            model = check(context)
            if model is not None:
                from rbcc.compiler.analysis.lint import lint

                lint(model, document, diagnostics)
            silence(spec, document, diagnostics)
    return Reading(diagnostics, document, context, model)


def compile_spec(path: str | Path, overrides: Mapping[str, object] | None = None) -> Compiled:
    """The compiled spec at `path`; see `examine`. Raises CompileError with every error found."""
    reading = examine(path, overrides)
    reading.diagnostics.raise_if_failed()
    assert reading.document is not None
    assert reading.context is not None
    assert reading.model is not None
    warnings = tuple(reading.diagnostics.warnings)
    return Compiled(reading.document, reading.model, warnings, reading.context.tables)
