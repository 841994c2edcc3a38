from collections.abc import Iterable

from rbcc.compiler.diagnostics.diagnostic import MAX_ERRORS, Diagnostic, Severity, Span


WIDTH = 120
LONGEST = 600  # characters of one message; names can be as long as a file


def render_text(diagnostics: Iterable[Diagnostic]) -> str:
    """Findings as a person reads them in a terminal, with a closing line that counts them and leads further."""
    diagnostics = tuple(diagnostics)
    blocks = [_block(diagnostic) for diagnostic in diagnostics]
    counts = [
        f"{number} {severity}{'s' if number > 1 else ''}"
        for severity in Severity
        if (number := sum(d.severity is severity for d in diagnostics))
    ]
    if not blocks:
        return ""
    first = min(diagnostics, key=lambda diagnostic: diagnostic.severity is not Severity.ERROR)
    if sum(d.severity is Severity.ERROR for d in diagnostics) >= MAX_ERRORS:
        counts.append("the rest of the spec was not looked at")
    return "\n\n".join([*blocks, f"{', '.join(counts)}; `rbcc explain {first.code}` says more"])


def _block(diagnostic: Diagnostic) -> str:
    place = f"{diagnostic.span.place}: " if diagnostic.span else ""
    lines = [f"{place}{diagnostic.severity}[{diagnostic.code}]: {_printable(diagnostic.message)}"]
    if diagnostic.span:
        lines += _excerpt(diagnostic.span)
    lines += [
        f"  {title}: {_printable(text)}"
        for title, text in (
            ("expected", diagnostic.expected),
            ("found", diagnostic.found),
            ("help", diagnostic.help),
        )
        if text
    ]
    for label in diagnostic.labels:
        lines.append(f"  {label.text}: {label.span.place}")
    return "\n".join(lines)


def _printable(text: str) -> str:
    """`text` with line breaks and other control characters, which a spec may bring in, escaped, and of bounded length."""
    shown = text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _excerpt(span: Span) -> list[str]:
    """The line of the span with carets under it; a long line is cut around the span."""
    number, column = span.source.position(span.start)
    text = span.source.line(number).rstrip()
    length = max(1, min(span.end - span.start, len(text) - column + 1))
    cut = max(0, column - 1 - WIDTH // 2) if len(text) > WIDTH else 0
    shown = text[cut : cut + WIDTH]
    lead, tail = "…" if cut else "", "…" if cut + WIDTH < len(text) else ""
    start = column - 1 - cut
    # Tabs are kept in the line, so that the caret stands under the same column in any terminal.
    pad = "".join("\t" if character == "\t" else " " for character in shown[:start])
    carets = "^" * max(1, min(length, len(shown) - start))
    gutter = f"{number:>5} | "
    return [f"{gutter}{lead}{shown}{tail}", f"      | {' ' * len(lead)}{pad}{carets}"]
