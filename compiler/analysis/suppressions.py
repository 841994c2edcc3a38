from rbcc.compiler.diagnostics import CODES, WARNINGS, Diagnostics, suggest
from rbcc.compiler.schema.spec import Spec
from rbcc.compiler.source import Document


def silence(spec: Spec, document: Document, diagnostics: Diagnostics) -> None:
    """Takes out the warnings that a spec silences. A code that is none, or one of an error, is an error."""
    for position, code in enumerate(spec.silence):
        path = ("silence", code if isinstance(spec.silence, dict) else position)
        span = document.key(path) if isinstance(spec.silence, dict) else document.span(path)
        if code not in CODES:
            close = suggest(code, CODES)
            diagnostics.error(
                "RB106",
                f"there is no code '{code}'",
                span,
                expected=f"codes of warnings: {', '.join(sorted(WARNINGS))}",
                help=f"did you mean {close} ({CODES[close]})?" if close else None,
            )
        elif code not in WARNINGS:
            diagnostics.error(
                "RB106",
                f"{code} is an error ({CODES[code]}): it cannot be silenced",
                span,
                expected=f"codes of warnings: {', '.join(sorted(WARNINGS))}",
            )
    diagnostics.found = [d for d in diagnostics.found if d.code not in spec.silence or d.code not in WARNINGS]
