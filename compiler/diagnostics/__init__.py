"""Diagnostics as data: what is wrong, where, what was expected, the likely fix."""

from rbcc.compiler.diagnostics.codes import CODES as CODES, WARNINGS as WARNINGS
from rbcc.compiler.diagnostics.collector import CompileError as CompileError, Diagnostics as Diagnostics
from rbcc.compiler.diagnostics.diagnostic import (
    Diagnostic as Diagnostic,
    Label as Label,
    Severity as Severity,
    Source as Source,
    Span as Span,
    suggest as suggest,
)
from rbcc.compiler.diagnostics.render import (
    details as details,
    render_text as render_text,
    to_data as to_data,
)
