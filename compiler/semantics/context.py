"""What the stages of checking share: the spec, its places, and the names found so far."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from rbcc.compiler import ir, syntax
from rbcc.compiler.analysis.accounting import FlowTable
from rbcc.compiler.diagnostics import Diagnostics, Span, messages
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
                self.diagnostics.add_missing(base, messages.units.unknown(base, span, self.spec.units))
                return None
            self.names.used_units.add(base)
        return unit

    def sets(self, owner: str | None, over: str | None, path: KeyPath) -> tuple[str, ...]:
        sets = [owner] if owner and self.names.agents[owner].indices else []
        if over is not None:
            if over not in self.names.agents:
                self.no_agent_type(over, self.document.span(path))
            elif not self.names.agents[over].indices:
                self.diagnostics.add(
                    messages.declarations.nothing_to_go_over(
                        over, self.names.agents[over].count == 1, self.document.span(path)
                    )
                )
            elif over == owner and len(self.names.agents[over].indices) == 1:
                self.diagnostics.add(
                    messages.declarations.pairs_need_two_indices(
                        over,
                        self.names.agents[over].indices[0],
                        self.document.span(path),
                        self.key("agents", over, "index"),
                    )
                )
            else:
                sets.append(over)
                self.names.mention(What.AGENT, over, self.document.span(path))
        return tuple(sets)

    def no_agent_type(self, name: str, span: Span) -> None:
        if name not in self.diagnostics.broken:
            self.diagnostics.add_missing(name, messages.names.no_agent_type(name, span, list(self.names.agents)))

    def known_choices(self, owner: str) -> frozenset[str]:
        """The choices of this step that agents of a type know when they choose."""
        before = self.spec.agents[owner].precedents
        return frozenset(f"{earlier}.{name}" for earlier in before for name in self.spec.agents[earlier].actions)

    def default_axes(self, sets: Iterable[str], agent: str | None = None) -> tuple[str, ...]:
        """Index names for `sets`: the first of each type, or the next one where a type comes again.

        An array that an agent sees is indexed by `agent`, its index, where this is one of the type.
        """
        axes: list[str] = [agent] if agent else []
        result = []
        for name in sets:
            if agent and self.names.indices[agent] == name and agent not in result:
                result.append(agent)
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
