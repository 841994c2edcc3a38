"""Equations that are solved for unknowns within a step: which there are, and what follows from the unknowns in them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import messages
from rbcc.compiler.ir.constants import literal_value
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.semantics.context import Context, place_of
from rbcc.compiler.semantics.drafts import Draft
from rbcc.compiler.semantics.expressions import Scope, a_kind, infer
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.semantics.reserved import DISTRIBUTIONS
from rbcc.compiler.source import KeyPath
from rbcc.compiler.util.toposort import reached, reversed_edges


@dataclass
class _System:
    """A system while it is read: its unknowns, its equations, and what follows from the unknowns in these."""

    name: str
    unknowns: tuple[str, ...]
    equations: tuple[syntax.Equality, ...]
    whole: bool  # whether all of it could be read
    inner: tuple[str, ...] = ()  # the definitions between unknowns and equations


class Systems:
    """The systems of a spec. They are read before its equations, and built when these are inferred."""

    def __init__(self, context: Context):
        self.context = context
        self.spec, self.document = context.spec, context.document
        self.diagnostics, self.names = context.diagnostics, context.names
        self.systems: list[_System] = []
        self.of: dict[str, _System] = {}  # by unknown
        self.bounds: dict[str, tuple[ir.Expression, ir.Expression]] = {}

    def read(self) -> dict[str, Draft]:
        """Declares all unknowns; each has a draft, of which the node is its equation, or one of them."""
        drafts: dict[str, Draft] = {}
        for name in self.spec.solve:
            unknowns = [u for u in self.spec.solve[name].unknowns if self.declare(name, u)]
            scalar = self.document.scalar(("solve", name, "equations"))
            equations, broken = syntax.parse_equalities(scalar, self.diagnostics)
            whole = not broken and len(unknowns) == len(self.spec.solve[name].unknowns)
            system = _System(name, tuple(unknowns), tuple(equations), whole)
            if not equations:
                self.names.broken.update(unknowns)
                self.names.poisoned.update(unknowns)
                continue
            self.systems.append(system)
            for number, unknown in enumerate(unknowns):
                self.of[unknown] = system
                drafts[unknown] = self.draft(system, unknown, equations[min(number, len(equations) - 1)])
        return drafts

    def declare(self, system: str, name: str) -> bool:
        """Enters an unknown among the names, if nothing else has its name."""
        path = ("solve", system, "unknowns", name)
        declared, span = self.spec.solve[system].unknowns[name], self.document.key(path)
        if self.names.refuse("", name, span):
            self.names.broken.add(name)
            return False
        sets = self.context.sets(None, declared.over, (*path, "over"))
        unit = self.context.unit(declared.unit, *path)
        kind = Type(axes=self.context.default_axes(sets), unit=unit, time=Time.WITHIN)
        self.names.declare(ir.Symbol(name, Role.VALUE, None, sets, kind, declared.doc, place_of(span)), span)
        if self.names.spans.get(name) != span:
            return False
        self.context.define(What.SYMBOL, name, *path)
        return True

    def draft(self, system: _System, unknown: str, equality: syntax.Equality) -> Draft:
        symbol = self.names.symbols[unknown]
        text = (
            f"{_indexed(unknown, symbol.type.axes)} solves {'; '.join(equation.text for equation in system.equations)}"
        )
        span = self.names.spans[unknown]
        return Draft(
            unknown, symbol.type.axes, equality.node, symbol.type.unit, text, system.name, symbol.doc, span, None
        )

    # --- what needs what -----------------------------------------------------------------------------------------

    def nodes(self, system: _System) -> Iterable[syntax.Expression]:
        """All that is written in a system: equations, and where unknowns are looked for."""
        yield from (equation.node for equation in system.equations)
        for unknown in system.unknowns:
            for end in (0, 1):
                node = self.context.expression(*self.between(unknown), end)
                if node is not None:
                    yield node

    def between(self, unknown: str) -> KeyPath:
        return ("solve", self.of[unknown].name, "unknowns", unknown, "between")

    def link(self, needs: dict[str, list[str]], drafts: Mapping[str, Draft]) -> None:
        """Finds what follows from unknowns; in `needs`, unknowns then need what their systems do from elsewhere.

        On entry unknowns need all that is written in their systems.
        """
        read = {name: list(symbols) for name, symbols in needs.items()}
        users = reversed_edges(read)
        for system in self.systems:
            behind = reached(users, system.unknowns)
            used = reached(read, {n for u in system.unknowns for n in read[u]}, system.unknowns)
            inner = [name for name in drafts if name in used and name in behind and name not in system.unknowns]
            foreign = next((name for name in inner if name in self.of), None)
            if foreign is not None:
                self.need_each_other(system, self.of[foreign])
                system.whole = self.of[foreign].whole = False
                inner = [name for name in inner if name not in self.of]
            system.inner = tuple(inner)
            inside = (*inner, *system.unknowns)
            outside = [symbol for name in inside for symbol in read[name] if symbol not in inside]
            outside = [symbol for symbol in outside if symbol not in self.of or symbol not in behind]
            for unknown in system.unknowns:
                needs[unknown] = list(dict.fromkeys(outside))

    def need_each_other(self, first: _System, second: _System) -> None:
        if first.whole and second.whole:
            unknowns = [list(self.spec.solve[system.name].unknowns) for system in (first, second)]
            spans = [self.context.key("solve", system.name) for system in (first, second)]
            self.diagnostics.add(
                messages.systems.need_each_other(first.name, unknowns[0], second.name, unknowns[1], *spans)
            )

    # --- types -----------------------------------------------------------------------------------------------------

    def unknown(self, name: str, needs: Sequence[str], drafts: Mapping[str, Draft]) -> ir.Definition | None:
        """Finds out when an unknown is known; its definition is a stand-in until all others are there."""
        system, symbol = self.of[name], self.names.symbols[name]
        read = [self.names.symbols[n] for n in needs if n in self.names.symbols]
        written = [*self.nodes(system), *(drafts[n].node for n in system.inner)]
        time = max([Time.NOW, *(used.type.time for used in read)])
        if any(map(_draws, written)):
            time = max(time, Time.WITHIN)
        self.names.symbols[name] = replace(symbol, type=replace(symbol.type, time=time))
        if time is Time.CHOSEN:
            chosen = [used.name for used in read if used.role is Role.ACTION]
            further = (self.names.behind.get(used.name, frozenset()) for used in read)
            self.names.behind[name] = frozenset(chosen).union(*further)
        if not self.infer_bounds(name):
            return None
        draft = drafts[name]
        place = place_of(draft.node.span)
        return ir.Definition(name, draft.indices, self.bounds[name][0], draft.text, draft.group, draft.doc, place)

    def infer_bounds(self, name: str) -> bool:
        symbol = self.names.symbols[name]
        scope = Scope("the end of an interval", symbol.type.axes)
        ends = []
        for end in (0, 1):
            node = self.context.expression(*self.between(name), end)
            value = infer(node, scope, self.names) if node is not None else None
            if node is None or value is None:
                return False
            unit = value.type.unit
            if value.type.kind is not Kind.NUMBER:
                self.diagnostics.add(messages.declarations.end_is_not_a_number(node.span))
                return False
            if self.names.units and unit not in (None, symbol.type.unit) and literal_value(value) is None:
                self.diagnostics.add(
                    messages.declarations.end_in_another_unit(
                        name, str(symbol.type.unit), str(unit), node.span, self.names.spans[name]
                    )
                )
                return False
            inside = next((n for n in ir.references(value) if n == name or n in self.of[name].inner), None)
            if inside is not None:
                self.diagnostics.add(messages.systems.end_follows_from_unknown(name, inside, node.span))
                return False
            ends.append((node, value))
        (node, low), (_, high) = ends
        known = literal_value(low), literal_value(high)
        if known[0] is not None and known[1] is not None and known[0] >= known[1]:
            self.diagnostics.add(messages.declarations.falling_interval(node.span))
            return False
        self.bounds[name] = low, high
        return True

    # --- building them ---------------------------------------------------------------------------------------------

    def built(self, definitions: Sequence[ir.Definition]) -> tuple[ir.Definition, ...]:
        """All definitions, with unknowns that are the roots of their systems."""
        known = {definition.symbol: definition for definition in definitions}
        roots: dict[str, ir.Expression] = {}
        for system in self.systems:
            sides = [self.equality(equation) for equation in system.equations]
            present = all(name in known for name in (*system.unknowns, *system.inner))
            equations = [side for side in sides if side is not None]
            if (
                not system.whole
                or not present
                or len(equations) < len(sides)
                or not self.fits(system, equations, known)
            ):
                continue
            unknowns = tuple(ir.Unknown(u, known[u].indices, *self.bounds[u]) for u in system.unknowns)
            inside = tuple(d for d in definitions if d.symbol in system.inner)
            alone = _alone(unknowns, inside, equations)
            if alone is not None:
                equations = [replace(equations[0], indices=alone)]
            whole = ir.System(system.name, unknowns, inside, tuple(equations), alone is not None)
            for unknown in unknowns:
                kind = self.names.symbols[unknown.symbol].type
                roots[unknown.symbol] = ir.Root(unknown.symbol, unknown.indices, whole, kind)
        return tuple(replace(d, expression=roots[d.symbol]) if d.symbol in roots else d for d in definitions)

    def equality(self, equation: syntax.Equality) -> ir.Equality | None:
        node = equation.node
        if not isinstance(node, syntax.Comparison) or node.operator != "==":
            self.diagnostics.add(messages.systems.not_an_equality(node.span))
            return None
        indices = tuple(self.context.free_indices(node))
        both = infer(node, Scope("an equation that is solved", indices), self.names)
        if not isinstance(both, ir.Binary):
            return None
        for side, written in ((both.left, node.left), (both.right, node.right)):
            if side.type.kind is not Kind.NUMBER:
                self.diagnostics.add(messages.systems.not_a_number(a_kind(side), written.span))
                return None
        return ir.Equality(indices, both.left, both.right, equation.text, equation.doc, place_of(node.span))

    def fits(self, system: _System, equations: Sequence[ir.Equality], known: Mapping[str, ir.Definition]) -> bool:
        """Whether there are as many equations as unknowns, and each has to do with some of the others."""
        needs = {name: list(ir.references(known[name].expression)) for name in system.inner}

        def reach(symbols: set[str]) -> set[str]:
            """The unknowns on which any of some symbols depend."""
            return reached(needs, symbols, system.unknowns) & set(system.unknowns)

        fine = True
        for equation, written in zip(equations, system.equations, strict=True):
            if not reach(ir.references(equation.left) | ir.references(equation.right)):
                fine = False
                self.diagnostics.add(messages.systems.equation_without_unknown(system.unknowns, written.node.span))
        sides = set().union(
            *(ir.references(side) for equality in equations for side in (equality.left, equality.right))
        )
        used = reach(sides)
        for name in system.unknowns:
            if fine and name not in used:
                fine = False
                self.diagnostics.add(
                    messages.systems.unknown_without_equation(system.name, name, self.names.spans[name])
                )
        sizes = [self.size(known[name].indices) for name in system.unknowns]
        wanted = [self.size(equation.indices) for equation in equations]
        if fine and sum(sizes) != sum(wanted):
            fine = False
            unknowns = [_indexed(name, known[name].indices) for name in system.unknowns]
            span = self.context.key("solve", system.name)
            self.diagnostics.add(
                messages.systems.another_number_of_equations(system.name, unknowns, sizes, wanted, span)
            )
        return fine

    def size(self, indices: Iterable[str]) -> int:
        return math.prod(self.names.agents[self.names.indices[index]].count for index in indices)


def _draws(node: syntax.Expression) -> bool:
    if isinstance(node, syntax.Call) and node.function in DISTRIBUTIONS:
        return True
    return any(map(_draws, syntax.children(node)))


def _alone(
    unknowns: Sequence[ir.Unknown], definitions: Sequence[ir.Definition], equations: Sequence[ir.Equality]
) -> tuple[str, ...] | None:
    """The indices at which the equation reads its unknown, if each entry of the one depends on one entry of the other
    alone, so that each can be solved by itself; else None."""
    if len(unknowns) > 1 or len(equations) > 1:
        return None
    # For each symbol that follows from the unknown: the positions of its indices that are those of the unknown.
    along = {unknowns[0].symbol: tuple(range(len(unknowns[0].indices)))}

    def read(expressions: Iterable[ir.Expression], free: Sequence[str]) -> tuple[str, ...] | None:
        """The indices at which expressions read the unknown, if these are always the same, and all `free`."""
        read_at, bound = set(), set()
        for node in (inner for expression in expressions for inner in ir.walk(expression)):
            if isinstance(node, ir.Reference) and node.symbol in along:
                read_at.add(tuple(node.indices[position] for position in along[node.symbol]))
            if isinstance(node, ir.Reduce):
                bound.update(node.indices)
        indices = read_at.pop() if len(read_at) == 1 else None
        return indices if indices is not None and set(indices) <= set(free) - bound else None

    for definition in definitions:
        indices = read([definition.expression], definition.indices)
        if indices is None:
            return None
        along[definition.symbol] = tuple(definition.indices.index(index) for index in indices)
    indices = read([equations[0].left, equations[0].right], equations[0].indices)
    return indices if indices is not None and set(indices) == set(equations[0].indices) else None


def _indexed(name: str, indices: Sequence[str]) -> str:
    return f"{name}[{','.join(indices)}]" if indices else name
