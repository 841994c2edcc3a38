from rbcc.compiler.diagnostics import CODES, WARNINGS, Diagnostics, messages
from rbcc.compiler.schema.spec import Spec
from rbcc.compiler.source import Document


def silence(spec: Spec, document: Document, diagnostics: Diagnostics) -> None:
    """Takes out the warnings that a spec silences. A code that does not exist, or is that of an error, is reported."""
    for position, code in enumerate(spec.silence):
        path = ("silence", code if isinstance(spec.silence, dict) else position)
        span = document.key(path) if isinstance(spec.silence, dict) else document.span(path)
        if code not in CODES:
            diagnostics.add(messages.schema.no_code(code, span))
        elif code not in WARNINGS:
            diagnostics.add(messages.schema.not_a_warning(code, span))
    diagnostics.found = [d for d in diagnostics.found if d.code not in spec.silence or d.code not in WARNINGS]
