from collections.abc import Iterable
from typing import Any

from rbcc.compiler.diagnostics.diagnostic import MAX_ERRORS, MAX_PLACES, Diagnostic, Severity, Span
from rbcc.compiler.util.text import counted


WIDTH = 120
LONGEST = 600  # characters of one message; names can be as long as a file


def render_text(diagnostics: Iterable[Diagnostic]) -> str:
    """Findings as a person reads them in a terminal, with a closing line that counts them and leads further."""
    diagnostics = tuple(diagnostics)
    blocks = [_block(diagnostic) for diagnostic in diagnostics]
    counts = [
        counted(number, str(severity))
        for severity in Severity
        if (number := sum(d.severity is severity for d in diagnostics))
    ]
    if not blocks:
        return ""
    first = min(diagnostics, key=lambda diagnostic: diagnostic.severity is not Severity.ERROR)
    if sum(d.severity is Severity.ERROR for d in diagnostics) >= MAX_ERRORS:
        counts.append("the rest of the spec was not looked at")
    return "\n\n".join([*blocks, f"{', '.join(counts)}; `rbcc explain {first.code}` says more"])


def to_data(diagnostic: Diagnostic) -> dict[str, Any]:
    """A finding as JSON can hold it; `end` is the place behind its last character."""
    return {
        "code": diagnostic.code,
        "severity": str(diagnostic.severity),
        **_places(diagnostic.span),
        "message": diagnostic.message,
        "expected": diagnostic.expected,
        "found": diagnostic.found,
        "help": diagnostic.help,
        "labels": [{"text": label.text, **_places(label.span)} for label in diagnostic.labels],
    }


def _places(span: Span | None) -> dict[str, Any]:
    if span is None:
        return {"file": None, "line": None, "column": None, "end": None}
    (line, column), (last, behind) = map(span.source.position, (span.start, span.end))
    return {"file": span.source.name, "line": line, "column": column, "end": {"line": last, "column": behind}}


def _block(diagnostic: Diagnostic) -> str:
    place = f"{diagnostic.span.place}: " if diagnostic.span else ""
    lines = [f"{place}{diagnostic.severity}[{diagnostic.code}]: {_printable(diagnostic.message)}"]
    if diagnostic.span:
        lines += _excerpt(diagnostic.span)
    lines += [f"  {line}" for line in details(diagnostic)]
    for label in diagnostic.labels[:MAX_PLACES]:
        lines.append(f"  {label.text}: {label.span.place}")
    return "\n".join(lines)


def details(diagnostic: Diagnostic) -> list[str]:
    """What a finding says below its message: expected, found, help."""
    titled = (("expected", diagnostic.expected), ("found", diagnostic.found), ("help", diagnostic.help))
    return [f"{title}: {_printable(text)}" for title, text in titled if text]


def _printable(text: str) -> str:
    """`text` with line breaks and other control characters that a spec may bring in escaped, and of bounded length."""
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _excerpt(span: Span) -> list[str]:
    """The line of the span with carets under it; a long line is cut around the span."""
    number, column = span.source.position(span.start)
    text = span.source.line(number).rstrip()
    length = max(1, min(span.end - span.start, len(text) - column + 1))
    cut = max(0, column - 1 - WIDTH // 2) if len(text) > WIDTH else 0
    # Nothing that a spec brings in moves the cursor of a terminal or changes its colours.
    shown = "".join(c if c.isprintable() or c == "\t" else "�" for c in text[cut : cut + WIDTH])
    lead, tail = "…" if cut else "", "…" if cut + WIDTH < len(text) else ""
    start = column - 1 - cut
    # Tabs are kept in the line, so that the caret stands under the same column in any terminal.
    pad = "".join("\t" if character == "\t" else " " for character in shown[:start])
    carets = "^" * max(1, min(length, len(shown) - start))
    gutter = f"{number:>5} | "
    return [f"{gutter}{lead}{shown}{tail}", f"      | {' ' * len(lead)}{pad}{carets}"]
