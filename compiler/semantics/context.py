"""What the stages of checking share: the spec, its places, and the names found so far."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from rbcc.compiler import ir, syntax
from rbcc.compiler.analysis.accounting import FlowTable
from rbcc.compiler.diagnostics import Diagnostics, Label, Span, suggest
from rbcc.compiler.ir.units import ONE, Unit
from rbcc.compiler.schema.spec import Spec
from rbcc.compiler.semantics.expressions import Names
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.source import Document, KeyPath


@dataclass(frozen=True)
class Chain:
    """A Markov chain: its values, rising, and for each of them the chances of every value in the next step."""

    values: tuple[Fraction, ...]
    transitions: tuple[tuple[Fraction, ...], ...]


@dataclass
class Context:
    spec: Spec
    document: Document
    diagnostics: Diagnostics
    names: Names = field(init=False)
    chains: dict[str, Chain] = field(default_factory=dict)  # by the name of the state
    tables: tuple[FlowTable, ...] = ()  # of accounts, when they were checked

    def __post_init__(self) -> None:
        units = (*self.spec.units, "util") if self.spec.units else ()
        self.names = Names(self.diagnostics, self.spec.horizon, units)

    def key(self, *path: str | int) -> Span:
        return self.document.key(path)

    def define(self, what: What, name: str, *path: str | int) -> None:
        """Notes that the key at `path` defines `name`."""
        self.names.mention(what, name, self.document.key(path), self.document.extent(path))

    def expression(self, *path: str | int) -> syntax.Expression | None:
        return syntax.parse_expression(self.document.scalar(path), self.diagnostics)

    def unit(self, text: str | None, *path: str | int) -> Unit | None:
        """The unit declared at `path`; without one a pure number, and unknown in a model without units."""
        if text is None:
            return ONE if self.names.units else None
        scalar = self.document.scalar((*path, "unit"))
        unit = syntax.parse_unit(scalar, self.diagnostics)
        return self.known_unit(unit, scalar.span)

    def known_unit(self, unit: Unit | None, span: Span) -> Unit | None:
        known = [*self.spec.units, "util"]
        for word in re.finditer(r"[^\W\d]\w*", span.source.text[span.start : span.end]):
            at = Span(span.source, span.start + word.start(), span.start + word.end())
            self.names.mention(What.UNIT, word.group(), at)
        for base, _ in unit.powers if unit else ():
            if base not in known:
                close = suggest(base, known)
                help = (
                    f"did you mean '{close}'?"
                    if close
                    else f"declare it: 'units: [{', '.join([*self.spec.units, base])}]'"
                )
                self.diagnostics.missing(base, "RB502", f"'{base}' is not a unit of this model", span, help=help)
                return None
            self.names.used_units.add(base)
        return unit

    def sets(self, owner: str | None, over: str | None, path: KeyPath) -> tuple[str, ...]:
        found = [owner] if owner and self.names.agents[owner].indices else []
        if over is not None:
            if over not in self.names.agents:
                self.no_agent_type(over, self.document.span(path))
            elif not self.names.agents[over].indices:
                self.diagnostics.error(
                    "RB305",
                    f"'{over}' has no index to go over",
                    self.document.span(path),
                    help="leave out 'over': there is one agent of this type"
                    if self.names.agents[over].count == 1
                    else "give it one: 'index: k'",
                )
            elif over == owner and len(self.names.agents[over].indices) == 1:
                self.diagnostics.error(
                    "RB305",
                    f"pairs of '{over}' need two index names, it has one",
                    self.document.span(path),
                    help=f"add a second: 'index: [{self.names.agents[over].indices[0]}, ...]'",
                    labels=(Label(self.key("agents", over, "index"), "its index at"),),
                )
            else:
                found.append(over)
                self.names.mention(What.AGENT, over, self.document.span(path))
        return tuple(found)

    def no_agent_type(self, name: str, span: Span) -> None:
        if name not in self.diagnostics.broken:
            close = suggest(name, self.names.agents)
            help = f"did you mean '{close}'?" if close else f"agent types are: {', '.join(self.names.agents)}"
            self.diagnostics.missing(name, "RB202", f"there is no agent type '{name}'", span, help=help)

    def known_choices(self, owner: str) -> frozenset[str]:
        """The choices of this step that agents of a type know when they choose."""
        before = self.spec.agents[owner].precedents
        return frozenset(f"{other}.{name}" for other in before for name in self.spec.agents[other].actions)

    def default_axes(self, sets: Iterable[str], own: str | None = None) -> tuple[str, ...]:
        """Index names for `sets`: the first of each type, or the next one where a type comes again."""
        axes: list[str] = [own] if own else []
        result = []
        for name in sets:
            if own and self.names.indices[own] == name and own not in result:
                result.append(own)
                continue
            free = [index for index in self.names.agents[name].indices if index not in axes]
            result.append(free[0] if free else self.names.agents[name].indices[0])
            axes.append(result[-1])
        return tuple(result)

    def free_indices(self, node: syntax.Expression, bound: tuple[str, ...] = ()) -> list[str]:
        """Index names that `node` uses outside any sum over them."""
        if isinstance(node, syntax.Reference) and node.indices is None and node.name in self.names.indices:
            return [] if node.name in bound else [node.name]
        if isinstance(node, syntax.Call) and node.function in ir.REDUCTIONS:
            over = node.arguments[: len(node.arguments) - ir.REDUCTIONS[node.function]]
            names = [a.value.name for a in over if isinstance(a.value, syntax.Reference) and a.value.indices is None]
            bound = (*bound, *(name for name in names if name in self.names.indices))
        return list(dict.fromkeys(i for child in syntax.children(node) for i in self.free_indices(child, bound)))


def place_of(span: Span) -> ir.Place:
    """The one-based place of a span, for the IR."""
    return ir.Place(span.source.name, *span.source.position(span.start))
