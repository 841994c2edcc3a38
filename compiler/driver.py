"""The whole compiler as one readable function."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rbcc.compiler import ir
from rbcc.compiler.check import check
from rbcc.compiler.diagnostics import Diagnostic, Diagnostics
from rbcc.compiler.lint import lint
from rbcc.compiler.passes import optimise
from rbcc.compiler.silence import silence
from rbcc.compiler.source import Document, load
from rbcc.compiler.spec import read


@dataclass(frozen=True)
class Compiled:
    """What the front end makes of a spec: the resolved document, the typed IR and the warnings."""

    document: Document
    model: ir.Model
    warnings: tuple[Diagnostic, ...]

    def python(self, device: str = "cpu") -> str:
        """The text of the generated module, for a kind of device as JAX names it: "cpu", "gpu"."""
        from rbcc.compiler.emit.jax import emit

        return emit(optimise(self.model, device), device)


def compile_spec(path: str | Path, overrides: Mapping[str, object] | None = None) -> Compiled:
    """Reads, merges, checks and types the spec at `path`, without importing JAX.

    `overrides` maps dotted paths to values, such as `{"agents.seller.count": 7}`. Raises CompileError with every
    error found.
    """
    diagnostics = Diagnostics()
    document = load(path, overrides, diagnostics)
    reading = read(document, diagnostics) if document is not None else None
    model = check(*reading, diagnostics) if reading is not None else None
    if reading is not None:
        spec, document = reading
        if model is not None:
            lint(model, document, diagnostics)
        silence(spec, document, diagnostics)
    diagnostics.raise_if_failed()
    assert document is not None
    assert model is not None
    return Compiled(document, model, tuple(diagnostics.warnings))
