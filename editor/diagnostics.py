"""What the compiler says of a spec, as an editor shows it in the file that is open."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rbcc.compiler.diagnostics import Diagnostic, Label, Span, details
from rbcc.editor.workspace import Analysis, entry_at


@dataclass(frozen=True)
class Finding:
    """A diagnostic with a place in the open file, its whole text, and the places that explain it."""

    diagnostic: Diagnostic
    span: Span
    text: str
    labels: tuple[Label, ...]


def findings(analysis: Analysis) -> Iterator[Finding]:
    """All findings; what lies in a spec that is extended is shown where it is named, with a link to its place."""
    for found in analysis.reading.diagnostics.sorted():
        span, labels, text = found.span, found.labels, "\n".join([found.message, *details(found)])
        if span is None:
            span = Span(analysis.source, 0, len(analysis.source.line(1)))
        elif span.source.name != analysis.source.name:
            labels = (Label(span, found.message), *labels)
            text = f"in {Path(span.source.name).name}: {text}"
            named = entry_at(analysis.tree, ("extends",)) if analysis.tree is not None else None
            span = named.node.span if named is not None else Span(analysis.source, 0, 0)
        yield Finding(found, replace(span, end=max(span.end, span.start + 1)), text, labels)
