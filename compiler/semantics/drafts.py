"""Definitions as they are written, before inference."""

from dataclasses import dataclass

from rbcc.compiler import syntax
from rbcc.compiler.diagnostics import Span
from rbcc.compiler.ir.units import Unit


@dataclass(frozen=True)
class Draft:
    """A definition before inference; `home` is the agent type whose names come first in it."""

    symbol: str
    indices: tuple[str, ...]
    node: syntax.Expression
    unit: Unit | None
    text: str
    group: str | None
    doc: str | None
    span: Span
    home: str | None
