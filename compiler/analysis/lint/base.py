import re
from dataclasses import dataclass

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import Diagnostics, Label, Span
from rbcc.compiler.source import Document


@dataclass(frozen=True)
class Report:
    """Takes findings about places of the model."""

    document: Document
    diagnostics: Diagnostics

    def warning(self, code: str, message: str, span: Span, help: str, labels: tuple[Label, ...] = ()) -> None:
        self.diagnostics.warning(code, message, span, help=help, labels=labels)

    def span(self, place: ir.Place) -> Span:
        """The word at a place."""
        sources = (*self.document.sources, *(override.span.source for override in self.document.overrides))
        source = next(source for source in sources if source.name == place.file)
        start = source.offset(place.line - 1, place.column - 1)
        word = re.compile(r"[\w.]+|\S").match(source.text, start)
        return Span(source, start, word.end() if word else start + 1)


def rounded(value: float) -> str:
    """A number as people say it."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
