"""Names, indices, kinds, units and timing of expressions: abstract syntax to typed IR.

Every function returns None after reporting an error, so that one mistake gives one message and the rest of the
expression is still examined.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Diagnostics, Label, Span, suggest
from rbcc.compiler.primitives import Primitive
from rbcc.compiler.types import Kind, Time, Type
from rbcc.compiler.units import ONE, Unit


REDUCTIONS = ("sum", "product", "mean", "min", "max", "count")
DISTRIBUTIONS = {"normal": 0, "uniform": 0, "bernoulli": 1}
SPECIAL = ("time", "horizon")

LARGEST = 1e38  # in single precision


# What other languages call it.
_OTHER_NAMES = {
    "ln": "the natural logarithm is log",
    "pow": "a power is written a^b",
    "power": "a power is written a^b",
    "average": "write mean(i, x[i])",
    "if": "write a if condition else b",
    "where": "write a if condition else b",
    "lag": "a value of an earlier step has to be kept in a state",
}


@dataclass
class Names:
    """Everything that a name in a spec can mean."""

    diagnostics: Diagnostics
    horizon: int
    units: bool
    agents: dict[str, ir.Agent] = field(default_factory=dict)
    indices: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, ir.Symbol] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    primitives: Mapping[str, Primitive] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)  # names whose equation could not be read: reported already
    draws: int = 0
    behind: dict[str, frozenset[str]] = field(default_factory=dict)  # the choices from which a value follows

    def declare(self, symbol: ir.Symbol, span: Span) -> None:
        if symbol.name in self.symbols:
            self.diagnostics.error(
                "RB203",
                f"'{symbol.name}' is declared twice",
                span,
                help="give one of the two another name",
                labels=(Label(self.spans[symbol.name], "declared first at"),) if symbol.name in self.spans else (),
            )
            return
        self.symbols[symbol.name] = symbol
        self.spans[symbol.name] = span

    def candidates(self, name: str) -> list[ir.Symbol]:
        """The symbols that the unqualified `name` can mean."""
        return [s for s in self.symbols.values() if s.name == name or s.name.partition(".")[2] == name]

    def describe(self, name: str) -> str:
        """What `name` is and where it was declared, for messages."""
        symbol = self.symbols[name]
        owner = f" of {symbol.owner}" if symbol.owner else ""
        place = f", {self.spans[name].place}" if name in self.spans else ""
        return f"'{name.rpartition('.')[2]}' ({symbol.role}{owner}{place})"


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: the indices that have a range there, and what may be known."""

    purpose: str
    bound: tuple[str, ...] = ()
    latest: Time = Time.NEXT
    home: str | None = None
    draws: bool = False
    offers: str | None = None  # what can be used here, where that is not a matter of time alone
    bare_numbers: bool = False  # whether a number without a unit may be compared with any
    known: frozenset[str] = frozenset()  # choices of this step that are known, whatever `latest` says
    local: Mapping[str, ir.Symbol] = field(default_factory=dict)
    since: Mapping[str, Fraction] | None = None


def infer(node: syntax.Expression, scope: Scope, names: Names) -> ir.Expression | None:
    """The typed form of `node`, or None with the reason in the diagnostics of `names`."""
    return _Inference(scope, names).expression(node)


def is_literal(node: ir.Expression) -> bool:
    """Whether `node` consists of written numbers only, and so has no unit of its own."""
    return all(isinstance(inner, (ir.Constant, ir.Unary, ir.Binary)) for inner in ir.walk(node))


def constant(value: Fraction | float | bool) -> ir.Constant:
    """A written number; a float stands for its shortest decimal."""
    if isinstance(value, bool):
        return ir.Constant(value, Type(Kind.FLAG, unit=ONE))
    return ir.Constant(Fraction(repr(value)) if isinstance(value, float) else Fraction(value), Type(unit=ONE))


def merge_axes(*parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(axis for part in parts for axis in part))


class _Inference:
    def __init__(self, scope: Scope, names: Names):
        self.scope, self.names = scope, names

    def error(self, code: str, message: str, span: Span, **details: Any) -> None:
        self.names.diagnostics.error(code, message, span, **details)

    def expression(self, node: syntax.Expression) -> ir.Expression | None:
        match node:
            case syntax.Number(value):
                return ir.Constant(value, Type(unit=ONE))
            case syntax.Boolean(value):
                return ir.Constant(value, Type(Kind.FLAG, unit=ONE))
            case syntax.Reference():
                return self.reference(node)
            case syntax.Unary("not"):
                operand = self.flag(node.operand)
                return operand and ir.Unary("not", operand, replace(operand.type, kind=Kind.FLAG))
            case syntax.Unary():
                operand = self.number(node.operand)
                return operand and ir.Unary("-", operand, replace(operand.type, kind=Kind.NUMBER))
            case syntax.Binary(operator) if operator in ("and", "or"):
                return self.logical(node)
            case syntax.Binary():
                return self.arithmetic(node)
            case syntax.Comparison():
                return self.comparison(node)
            case syntax.Conditional():
                return self.conditional(node)
            case syntax.Call():
                return self.call(node)
        raise TypeError(node)

    # --- kinds -------------------------------------------------------------------------------------------------

    def number(self, node: syntax.Expression) -> ir.Expression | None:
        found = self.expression(node)
        if found is not None and found.type.kind is Kind.CHOICE:
            self.error(
                "RB401",
                f"a choice of one {found.type.of} is not a number",
                node.span,
                help=f"compare it with an index ({ir.show(found)} == {self.index_of(found.type.of)}), or look "
                f"something up with it (x[{ir.show(found)}])",
            )
            return None
        return found

    def flag(self, node: syntax.Expression) -> ir.Expression | None:
        found = self.expression(node)
        if found is not None and found.type.kind is not Kind.FLAG:
            self.error(
                "RB401",
                f"a {found.type.kind} stands where a condition is needed",
                node.span,
                expected="a comparison or a flag",
                help="compare it with something, for example x > 0",
            )
            return None
        return found

    def index_of(self, agent: str | None) -> str:
        known = self.names.agents.get(agent or "")
        return known.indices[0] if known and known.indices else "j"

    # --- units -------------------------------------------------------------------------------------------------

    def agree(self, parts: Sequence[tuple[ir.Expression, Span]], what: str) -> tuple[bool, Unit | None]:
        """Whether all parts have one unit, and which; written numbers take that of the others."""
        if not self.names.units:
            return True, None
        known = [(part, span) for part, span in parts if part.type.unit is not None and not is_literal(part)]
        if not known:
            return True, ONE if all(is_literal(part) for part, _ in parts) else None
        first, unit = known[0][1], known[0][0].type.unit
        for part, span in known[1:]:
            if part.type.unit != unit:
                self.error(
                    "RB501",
                    f"{what} have different units",
                    span,
                    expected=f"{unit}, the unit of '{_text(first)}'",
                    found=f"{part.type.unit}",
                )
                return False, None
        if unit != ONE and not self.scope.bare_numbers:
            for part, span in parts:
                if is_literal(part) and any(
                    isinstance(n, ir.Constant) and n.value not in (0, False) for n in ir.walk(part)
                ):
                    self.names.diagnostics.warning(
                        "RB503",
                        f"'{_text(span)}' has no unit, but stands beside a value in {unit}",
                        span,
                        help=f"make it a parameter with 'unit: {unit}'",
                    )
        return True, unit

    # --- operators ---------------------------------------------------------------------------------------------

    def logical(self, node: syntax.Binary) -> ir.Expression | None:
        left, right = self.flag(node.left), self.flag(node.right)
        if left is None or right is None:
            return None
        return ir.Binary(node.operator, left, right, _joined(Kind.FLAG, ONE, left, right))  # type: ignore[arg-type]

    def arithmetic(self, node: syntax.Binary) -> ir.Expression | None:
        left, right = self.number(node.left), self.number(node.right)
        if left is None or right is None:
            return None
        a, b = left.type.unit, right.type.unit
        match node.operator:
            case "+" | "-":
                word = "the two sides of '+'" if node.operator == "+" else "the two sides of '-'"
                fits, unit = self.agree([(left, node.left.span), (right, node.right.span)], word)
                if not fits:
                    return None
            case "*":
                unit = None if a is None or b is None else a * b
            case "/":
                if literal_value(right) == 0:
                    self.error("RB401", "a division by zero", node.span)
                    return None
                unit = None if a is None or b is None else a / b
            case _:
                if literal_value(left) == 0 and (literal_value(right) or 0) < 0:
                    self.error("RB401", "a division by zero", node.span)
                    return None
                unit = self.power(left, right, node)
        result = ir.Binary(node.operator, left, right, _joined(Kind.NUMBER, unit, left, right))  # type: ignore[arg-type]
        if abs(literal_value(result) or 0) > LARGEST:
            self.error("RB401", "a number that a computer cannot hold", node.span)
            return None
        return result

    def power(self, base: ir.Expression, exponent: ir.Expression, node: syntax.Binary) -> Unit | None:
        if self.names.units and exponent.type.unit not in (None, ONE):
            self.error(
                "RB501",
                "an exponent has a unit",
                node.right.span,
                expected="a pure number",
                found=str(exponent.type.unit),
            )
        if base.type.unit in (None, ONE):
            return base.type.unit
        value = literal_value(exponent)
        return None if value is None else base.type.unit**value

    def comparison(self, node: syntax.Comparison) -> ir.Expression | None:
        left, right = self.expression(node.left), self.expression(node.right)
        if left is None or right is None:
            return None
        kinds = {left.type.kind, right.type.kind}
        if Kind.CHOICE in kinds or kinds == {Kind.INDEX}:
            if kinds - {Kind.CHOICE, Kind.INDEX} or left.type.of != right.type.of:
                self.error(
                    "RB302",
                    f"{_a_kind(left)} is compared with {_a_kind(right)}",
                    node.span,
                    help=f"compare it with an index of {left.type.of or right.type.of}",
                )
                return None
            if node.operator not in ("==", "!=") and Kind.CHOICE in kinds:
                self.error("RB401", f"choices have no order: '{node.operator}' cannot compare them", node.span)
                return None
        else:
            fits, _ = self.agree([(left, node.left.span), (right, node.right.span)], "the two sides of a comparison")
            if not fits:
                return None
        return ir.Binary(node.operator, left, right, _joined(Kind.FLAG, ONE, left, right))  # type: ignore[arg-type]

    def conditional(self, node: syntax.Conditional) -> ir.Expression | None:
        condition = self.flag(node.condition)
        then, otherwise = self.expression(node.then), self.expression(node.otherwise)
        if condition is None or then is None or otherwise is None:
            return None
        kinds = {then.type.kind, otherwise.type.kind}
        if Kind.CHOICE in kinds and (len(kinds) > 1 or then.type.of != otherwise.type.of):
            self.error("RB401", f"one branch is {_a_kind(then)}, the other {_a_kind(otherwise)}", node.span)
            return None
        fits, unit = self.agree([(then, node.then.span), (otherwise, node.otherwise.span)], "the two branches")
        if not fits:
            return None
        kind = then.type.kind if len(kinds) == 1 and Kind.INDEX not in kinds else Kind.NUMBER
        joined = _joined(kind, unit, condition, then, otherwise)
        return ir.Conditional(condition, then, otherwise, replace(joined, of=then.type.of))

    # --- names -------------------------------------------------------------------------------------------------

    def reference(self, node: syntax.Reference) -> ir.Expression | None:
        if node.owner is None and not node.primed and node.indices is None and node.name in self.names.indices:
            return self.index_value(node)
        if node.name == "horizon" and node.owner is None and not node.primed and node.indices is None:
            return constant(self.names.horizon)
        symbol = self.resolve(node)
        if symbol is None:
            return None
        self.names.used.add(symbol.name.removesuffix("'"))
        known = symbol.type.time is Time.CHOSEN and self.choices_behind(symbol) <= self.scope.known
        if symbol.type.time > self.scope.latest and not known:
            self.too_late(node, symbol)
            return None
        indices = self.indices(node, symbol)
        if indices is None:
            return None
        inner = [index.type for index in indices if not isinstance(index, str)]
        axes = merge_axes(*((i,) if isinstance(i, str) else i.type.axes for i in indices))
        time = max([symbol.type.time, *(t.time for t in inner)])
        return ir.Reference(symbol.name, indices, replace(symbol.type, axes=axes, time=time))

    def choices_behind(self, symbol: ir.Symbol) -> frozenset[str]:
        return self.names.behind.get(symbol.name, frozenset({symbol.name}))

    def too_late(self, node: syntax.Reference, symbol: ir.Symbol) -> None:
        words = f"is {symbol.type.time.words}, too late for {self.scope.purpose}"
        help = f"use the value at the start of the step, '{node.name}'" if node.primed else None
        unknown = sorted(self.choices_behind(symbol) - self.scope.known)
        if self.scope.offers:
            words = f"cannot be used in {self.scope.purpose}"
        elif symbol.type.time is Time.CHOSEN and unknown != [symbol.name]:
            words = f"follows from {', '.join(unknown)}, too late for {self.scope.purpose}"
        owners = dict.fromkeys(name.partition(".")[0] for name in unknown)
        if symbol.type.time is Time.CHOSEN and self.scope.home and self.scope.home not in owners:
            help = f"agents of a type with 'after: [{', '.join(owners)}]' know it when they choose"
        self.error(
            "RB601",
            f"'{_shown(node)}' {words}",
            node.name_span,
            expected=self.scope.offers or f"something {self.scope.latest.words}",
            help=help,
            labels=self.declared(symbol),
        )

    def index_value(self, node: syntax.Reference) -> ir.Expression | None:
        if node.name not in self.scope.bound:
            self.unbound(node.name, node.span)
            return None
        kind = Type(Kind.INDEX, (node.name,), ONE, Time.FIXED, self.names.indices[node.name])
        return ir.IndexValue(node.name, kind)

    def unbound(self, index: str, span: Span) -> None:
        ranges = ", ".join(self.scope.bound) or "none"
        self.error(
            "RB303",
            f"index '{index}' has no range here",
            span,
            expected=f"an index that does: {ranges}",
            help=f"take a sum over it, sum({index}, ...), or put [{index}] on the left side",
        )

    def declared(self, symbol: ir.Symbol) -> tuple[Label, ...]:
        span = self.names.spans.get(symbol.name)
        return (Label(span, "declared at"),) if span else ()

    def resolve(self, node: syntax.Reference) -> ir.Symbol | None:
        name = node.name + ("'" if node.primed else "")
        if node.owner is not None:
            found = self.names.symbols.get(f"{node.owner}.{name}")
            if found is None:
                self.undefined(node, name)
            return found
        if name in self.scope.local:
            return self.scope.local[name]
        if self.scope.home and f"{self.scope.home}.{name}" in self.names.symbols:
            return self.names.symbols[f"{self.scope.home}.{name}"]
        found = self.names.candidates(name)
        if len(found) > 1:
            options = " or ".join(symbol.name for symbol in found)
            self.error(
                "RB204",
                f"'{node.name}' is declared by more than one agent type",
                node.name_span,
                help=f"write {options}",
            )
            return None
        if not found:
            if name not in self.names.broken:
                self.undefined(node, name)
            return None
        return found[0]

    def undefined(self, node: syntax.Reference, name: str) -> None:
        symbols = self.names.symbols
        if node.primed and any(s.name.rpartition(".")[2] == node.name for s in symbols.values()):
            self.error(
                "RB202",
                f"'{node.name}' has no next value",
                node.name_span,
                expected="a state: only states are carried to the next step",
                help=f"write '{node.name}' for its value in this step",
            )
            return
        if node.owner is not None and node.owner not in self.names.agents:
            close = suggest(node.owner, self.names.agents)
            help = f"did you mean '{close}'?" if close else f"agent types are: {', '.join(self.names.agents)}"
            self.error("RB202", f"there is no agent type '{node.owner}'", node.name_span, help=help)
            return
        if node.name in self.names.agents:
            self.error(
                "RB208",
                f"'{node.name}' is an agent type, not a value",
                node.name_span,
                help=f"count({node.name}) is the number of its agents",
            )
            return
        pool = {s.name.rpartition(".")[2]: s.name for s in symbols.values() if node.owner in (None, s.owner)}
        pool |= dict.fromkeys((*SPECIAL, *self.scope.local, *self.names.indices), "")
        close = suggest(name, pool)
        if close is None:
            help = None
        elif pool[close]:
            help = f"did you mean {self.names.describe(pool[close])}?"
        else:
            help = f"did you mean '{close}'?"
        shown = f"{node.owner}.{name}" if node.owner else name
        self.error("RB202", f"'{shown}' is not defined", node.name_span, help=help)

    def indices(self, node: syntax.Reference, symbol: ir.Symbol) -> tuple[str | ir.Expression, ...] | None:
        given = node.indices or ()
        if len(given) != len(symbol.sets):
            wanted = ", ".join(self.index_of(agent) for agent in symbol.sets)
            short = node.name + ("'" if node.primed else "")
            self.error(
                "RB301",
                f"'{_shown(node)}' has {_count(len(symbol.sets), 'index', 'indices')}, here it is given {len(given)}",
                node.span,
                expected=f"{short}[{wanted}]" if wanted else f"{short} without [ ]",
                help=f"for the total write sum({wanted}, {short}[{wanted}])"
                if not given and len(symbol.sets) == 1
                else None,
                labels=self.declared(symbol),
            )
            return None
        found = [self.index(part, wanted, symbol) for part, wanted in zip(given, symbol.sets, strict=True)]
        return None if None in found else tuple(found)  # type: ignore[arg-type]

    def index(self, node: syntax.Expression, wanted: str, symbol: ir.Symbol) -> str | ir.Expression | None:
        if isinstance(node, syntax.Reference) and node.name in self.names.indices and node.indices is None:
            if node.name not in self.scope.bound:
                self.unbound(node.name, node.span)
                return None
            if self.names.indices[node.name] != wanted:
                self.error(
                    "RB302",
                    f"'{symbol.name}' is indexed by {wanted}, but '{node.name}' is an index of "
                    f"{self.names.indices[node.name]}",
                    node.span,
                    expected=f"an index of {wanted}: {', '.join(self.names.agents[wanted].indices)}",
                    labels=self.declared(symbol),
                )
                return None
            return node.name
        found = self.expression(node)
        if found is None:
            return None
        if found.type.kind is not Kind.CHOICE or found.type.of != wanted:
            self.error(
                "RB302",
                f"'{symbol.name}' is indexed by {wanted}, not by {_a_kind(found)}",
                node.span,
                expected=f"an index of {wanted} ({', '.join(self.names.agents[wanted].indices)}) or a choice of one",
                labels=self.declared(symbol),
            )
            return None
        return found

    # --- calls -------------------------------------------------------------------------------------------------

    def call(self, node: syntax.Call) -> ir.Expression | None:
        name, arguments = node.function, node.arguments
        first = arguments[0].value if arguments else None
        bare = (
            isinstance(first, syntax.Reference) and first.indices is None and first.owner is None and not first.primed
        )
        word = first.name if bare and isinstance(first, syntax.Reference) else ""
        if name == "count" and word in self.names.agents and len(arguments) == 1 and arguments[0].where is None:
            return constant(self.names.agents[word].count)
        if name == "since" and self.scope.since is not None:
            return self.since(node, word)
        if name in REDUCTIONS and (word in self.names.indices or name not in self.names.primitives):
            return self.reduction(node)
        if any(argument.where for argument in arguments):
            self.error(
                "RB201",
                f"'where' belongs to the index of a sum, not into {name}()",
                node.span,
                help="sum(i where x[i] > 0, y[i])",
            )
            return None
        if name in DISTRIBUTIONS:
            return self.draw(node)
        if name in self.names.primitives:
            return self.apply(node)
        known = [*self.names.primitives, *REDUCTIONS, *DISTRIBUTIONS]
        close = suggest(name, known)
        help = f"did you mean '{close}'?" if close else "functions of your own come from Python files named under 'use'"
        help = _OTHER_NAMES.get(name, help)
        if self.names.candidates(name):
            help = f"{self.names.describe(self.names.candidates(name)[0].name)} is no function; a product needs *"
        self.error("RB205", f"there is no function '{name}'", node.name_span, help=help)
        return None

    def since(self, node: syntax.Call, agent: str) -> ir.Expression | None:
        starts = self.scope.since or {}
        if agent not in starts or len(node.arguments) != 1:
            self.error("RB206", "since takes one agent type", node.span, expected=f"one of: {', '.join(starts)}")
            return None
        progress = ir.Reference("@progress", (), Type(unit=ONE))
        passed = ir.Binary("-", progress, constant(starts[agent]), progress.type)
        return ir.Apply("max", (passed, constant(0)), progress.type)

    def reduction(self, node: syntax.Call) -> ir.Expression | None:
        name = node.function
        over = node.arguments if name == "count" else node.arguments[:-1]
        example = "count(i where x[i] > 0)" if name == "count" else f"{name}(i, x[i])"
        indices: list[str] = []
        for argument in over:
            part = argument.value
            if not (isinstance(part, syntax.Reference) and part.name in self.names.indices and part.indices is None):
                self.error("RB206", f"{name} needs an index here", part.span, expected=f"for example {example}")
                return None
            if part.name in self.scope.bound or part.name in indices:
                others = [
                    i for i in self.names.agents[self.names.indices[part.name]].indices if i not in self.scope.bound
                ]
                self.error(
                    "RB304",
                    f"index '{part.name}' already has a range here",
                    part.span,
                    help=f"use '{others[0]}'" if others else "declare a second name: 'index: [i, k]'",
                )
                return None
            indices.append(part.name)
        if not indices:
            self.error("RB206", f"{name} needs an index and a value", node.span, expected=f"for example {example}")
            return None
        inner = _Inference(replace(self.scope, bound=(*self.scope.bound, *indices)), self.names)
        conditions = [argument.where for argument in node.arguments if argument.where is not None]
        if conditions and (len(conditions) > 1 or over[-1].where is None):
            self.error(
                "RB201",
                "'where' stands once, after the last index",
                node.span,
                help="sum(i where x[i] > 0, y[i])",
            )
            return None
        if conditions and name in ("mean", "min", "max"):
            self.error(
                "RB206",
                f"{name} with a condition has no value where nothing fulfils it",
                node.span,
                help="write sum(i where c, x[i]) / max(1, count(i where c))" if name == "mean" else None,
            )
            return None
        condition = inner.flag(conditions[0]) if conditions else None
        body = constant(1) if name == "count" else inner.number(node.arguments[-1].value)
        if body is None or (conditions and condition is None):
            return None
        parts = [body] if condition is None else [body, condition]
        axes = tuple(a for a in merge_axes(*(part.type.axes for part in parts)) if a not in indices)
        unit = {"count": ONE, "product": ONE if body.type.unit == ONE else None}.get(name, body.type.unit)
        joined = replace(_joined(Kind.NUMBER, unit, *parts), axes=axes)
        return ir.Reduce(name, tuple(indices), condition, body, joined)  # type: ignore[arg-type]

    def draw(self, node: syntax.Call) -> ir.Expression | None:
        name = node.function
        if not self.scope.draws:
            self.error(
                "RB208",
                f"{name}() cannot be drawn in {self.scope.purpose}",
                node.span,
                help="draw it in an equation",
            )
            return None
        if len(node.arguments) != DISTRIBUTIONS[name]:
            self.error("RB206", f"{name} takes {_count(DISTRIBUTIONS[name], 'argument')}", node.span)
            return None
        arguments = [self.number(argument.value) for argument in node.arguments]
        if None in arguments:
            return None
        self.names.draws += 1
        kind = Kind.FLAG if name == "bernoulli" else Kind.NUMBER
        drawn = Type(kind, self.scope.bound, ONE, Time.WITHIN)
        return ir.Draw(name, tuple(arguments), self.names.draws - 1, drawn)  # type: ignore[arg-type]

    def apply(self, node: syntax.Call) -> ir.Expression | None:
        primitive = self.names.primitives[node.function]
        arguments = [self.number(argument.value) for argument in node.arguments]
        spans = [argument.value.span for argument in node.arguments]
        wanted = len(primitive.arguments)
        if len(arguments) < 2 if primitive.variadic else len(arguments) != wanted:
            shown = "(x, y, ...)" if primitive.variadic else f"({', '.join(primitive.arguments)})"
            self.error(
                "RB206",
                f"{primitive.name} takes {'two or more arguments' if primitive.variadic else _count(wanted, 'argument')}, "
                f"here it has {len(arguments)}",
                node.span,
                expected=primitive.name + shown,
            )
            return None
        if None in arguments:
            return None
        present: list[ir.Expression] = arguments  # type: ignore[assignment]
        unit: Unit | None = None
        if self.names.units:
            literal = all(map(is_literal, present))
            units = [None if is_literal(part) and not literal else part.type.unit for part in present]
            unit, misfit = primitive.units.apply(units)
            if misfit is not None:
                position, needed = misfit
                self.error(
                    "RB501",
                    f"argument {position + 1} of {primitive.name} has the wrong unit",
                    spans[position],
                    expected=str(needed) if needed != ONE else "a pure number",
                    found=str(units[position]),
                )
                return None
        kind = Kind.FLAG if primitive.flag else Kind.NUMBER
        return ir.Apply(primitive.name, tuple(present), _joined(kind, unit, *present))


def literal_value(node: ir.Expression) -> Fraction | None:
    """The value of an expression of written numbers, or None if it is not one or not rational."""
    match node:
        case ir.Constant(bool()):
            return None
        case ir.Constant(value):
            return Fraction(value)
        case ir.Unary("-", operand):
            value = literal_value(operand)
            return None if value is None else -value
        case ir.Binary(operator, left, right):
            a, b = literal_value(left), literal_value(right)
            if a is None or b is None:
                return None
            if operator == "/" and b != 0:
                return a / b
            if operator == "^" and b.denominator == 1 and abs(b) <= 64 and (a != 0 or b >= 0):
                return a ** int(b)
            results = {"+": a + b, "-": a - b, "*": a * b}
            return results.get(operator)
    return None


def _joined(kind: Kind, unit: Unit | None, *parts: ir.Expression) -> Type:
    axes = merge_axes(*(part.type.axes for part in parts))
    return Type(kind, axes, unit, max(part.type.time for part in parts))


def _text(span: Span) -> str:
    return " ".join(span.source.text[span.start : span.end].split())


def _shown(node: syntax.Reference) -> str:
    return (f"{node.owner}." if node.owner else "") + node.name + ("'" if node.primed else "")


def _a_kind(node: ir.Expression) -> str:
    match node.type.kind:
        case Kind.CHOICE:
            return f"a choice of one {node.type.of}"
        case Kind.INDEX:
            return f"an index of {node.type.of}"
        case kind:
            return f"a {kind}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number or 'no'} {one if number == 1 else many or one + 's'}"
