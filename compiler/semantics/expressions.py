"""Names, indices, kinds, units and timing of expressions: abstract syntax to typed IR.

Every function returns None after reporting an error, so that one mistake gives one message and the rest of the
expression is still examined.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from rbcc.compiler import ir, syntax
from rbcc.compiler.diagnostics import Diagnostic, Diagnostics, Label, Span, messages, other_languages, suggest
from rbcc.compiler.diagnostics.messages.phrases import declared_at, did_you_mean, meant
from rbcc.compiler.ir.axis_order import merge_axes
from rbcc.compiler.ir.constants import constant, is_literal, literal_value
from rbcc.compiler.ir.types import Kind, Role, Time, Type
from rbcc.compiler.ir.units import ONE, Unit
from rbcc.compiler.primitives import Primitive
from rbcc.compiler.semantics.distributions import DISTRIBUTIONS, Distribution
from rbcc.compiler.semantics.occurrences import Mention, What
from rbcc.compiler.semantics.reserved import KEYWORDS, SPECIAL
from rbcc.compiler.util.text import counted


_DOMAINS = {
    "log": (syntax.SMALLEST, syntax.LARGEST),
    "sqrt": (0.0, syntax.LARGEST),
    "exp": (-math.inf, math.log(syntax.LARGEST)),
}
"""Functions that do not have a value everywhere, and from where to where they have one."""

_EXAMPLES = ("i where x[i] > 0", "i, x[i]", "i, x[i], 0.9")
"""Arguments of functions that run over agents, by how many there are behind the indices."""

_PURE = ("count", "gini", "top_share", "argmax", "argmin")
"""Functions over agents whose result has no unit."""


@dataclass
class Names:
    """Everything that a name in a spec can mean."""

    diagnostics: Diagnostics
    horizon: int
    units: tuple[str, ...]  # empty in a model without units
    agents: dict[str, ir.Agent] = field(default_factory=dict)
    indices: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, ir.Symbol] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    primitives: Mapping[str, Primitive] = field(default_factory=dict)
    used: dict[str, set[str | None]] = field(default_factory=dict)  # by which definitions, None for anything else
    poisoned: set[str] = field(default_factory=set)  # symbols whose definition has a mistake: of unknown kind and unit
    held: dict[str, str] = field(default_factory=dict)  # states by the choice that they hold in the next step
    used_units: set[str] = field(default_factory=set)
    _meanings: dict[str, list[str]] = field(default_factory=dict)  # symbols by their name without the agent type
    draws: int = 0
    mentions: list[Mention] = field(default_factory=list)
    scopes: list[tuple[Span, "Scope"]] = field(default_factory=list)  # of every expression that was inferred
    behind: dict[str, frozenset[str]] = field(default_factory=dict)  # the choices from which a value follows

    @property
    def broken(self) -> set[str]:
        """Names whose definition could not be read: reported already."""
        return self.diagnostics.broken

    def declare(self, symbol: ir.Symbol, span: Span) -> None:
        if symbol.name in self.symbols:
            if symbol.name.endswith("'"):
                return  # as the state itself
            first = self.symbols[symbol.name]
            self.diagnostics.add(
                messages.names.declared_twice(
                    symbol.name, first.role.noun, symbol.role.noun, span, self.spans.get(symbol.name)
                )
            )
            self.broken.add(symbol.name.rpartition(".")[2])
            return
        self.enter(symbol)
        self.spans[symbol.name] = span

    def meaning(self, name: str) -> str | None:
        """What a name means that nothing else can have, because expressions take it for that."""
        if name in self.indices:
            return f"an index of {self.indices[name]}"
        if name in self.agents:
            return "an agent type"
        return "a word of the language" if name in KEYWORDS else None

    def refuse(self, what: str, name: str, span: Span) -> bool:
        """Whether `name`, of `what`, means something else already, which is reported."""
        meaning = self.meaning(name)
        if meaning is not None:
            self.diagnostics.add(messages.names.reserved(f"{what}'{name}'", meaning, span))
        return meaning is not None

    def mention(self, what: What, name: str, span: Span, extent: Span | None = None) -> None:
        self.mentions.append(Mention(what, name, span, extent))

    def enter(self, symbol: ir.Symbol) -> None:
        """Adds a symbol that stands in no spec, or whose place is kept by `declare`."""
        self.symbols[symbol.name] = symbol
        self._meanings.setdefault(symbol.name.rpartition(".")[2], []).append(symbol.name)

    def use(self, symbol: str, definition: str | None) -> None:
        """Notes that `definition`, or something other than a definition, reads `symbol`."""
        self.used.setdefault(symbol.removesuffix("'"), set()).add(definition)

    def listed_indices(self) -> str:
        """All indices with the agent types they belong to, for messages."""
        return ", ".join(f"{index} ({agent})" for index, agent in self.indices.items()) or "this spec has none"

    def candidates(self, name: str) -> list[ir.Symbol]:
        """The symbols that the unqualified `name` can mean."""
        return [self.symbols[full] for full in self._meanings.get(name, ())]

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
    defines: str | None = None  # the symbol whose definition this is
    left: bool = False  # whether indices get their range on the left side of an equation
    draws: bool = False
    offers: str | None = None  # what can be used here, where that is not a matter of time alone
    bare_numbers: bool = False  # whether a number without a unit may be compared with any
    known: frozenset[str] = frozenset()  # choices of this step that are known, whatever `latest` says
    local: Mapping[str, ir.Symbol] = field(default_factory=dict)
    since: Mapping[str, Fraction] | None = None


def infer(node: syntax.Expression, scope: Scope, names: Names) -> ir.Expression | None:
    """The typed form of `node`, or None with the reason in the diagnostics of `names`."""
    names.scopes.append((node.span, scope))
    return _Inference(scope, names).expression(node)


class _Inference:
    def __init__(self, scope: Scope, names: Names):
        self.scope, self.names = scope, names

    def report(self, finding: Diagnostic) -> None:
        self.names.diagnostics.add(finding)

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
        value = self.expression(node)
        if value is not None and value.type.kind is Kind.CHOICE:
            self.report(messages.kinds.choice_as_number(node.span, str(value.type.of), self.index_of(value.type.of)))
            return None
        return value

    def flag(self, node: syntax.Expression) -> ir.Expression | None:
        value = self.expression(node)
        if value is not None and value.type.kind is not Kind.FLAG:
            against = self.index_of(value.type.of) if value.type.kind is Kind.CHOICE else None
            self.report(messages.kinds.no_condition(node.span, value.type.kind, against))
            return None
        return value

    def index_of(self, agent: str | None) -> str:
        known = self.names.agents.get(agent or "")
        return known.indices[0] if known and known.indices else "j"

    # --- units -------------------------------------------------------------------------------------------------

    def agree(self, values: Sequence[tuple[ir.Expression, Span]], what: str) -> tuple[bool, Unit | None]:
        """Whether all values have the same unit, and which; written numbers take that of the others."""
        if not self.names.units:
            return True, None
        known = [(value, span) for value, span in values if value.type.unit is not None and not is_literal(value)]
        if not known:
            return True, ONE if all(is_literal(value) for value, _ in values) else None
        first, unit = known[0][1], known[0][0].type.unit
        for value, span in known[1:]:
            if value.type.unit != unit:
                self.report(messages.units.differ(what, first, str(unit), span, str(value.type.unit)))
                return False, None
        for value, span in values:
            self.bare(value, span, unit)
        return True, unit

    def bare(self, value: ir.Expression, span: Span, unit: Unit | None) -> None:
        """Warns of a written number, other than 0, where something in `unit` is needed."""
        if unit in (None, ONE) or self.scope.bare_numbers or not is_literal(value):
            return
        if any(isinstance(n, ir.Constant) and n.value not in (0, False) for n in ir.walk(value)):
            self.report(messages.units.number_without_unit(span, str(unit)))

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
                    self.report(messages.kinds.division_by_zero(node.right.span))
                    return None
                unit = None if a is None or b is None else a / b
            case _:
                if literal_value(left) == 0 and (literal_value(right) or 0) < 0:
                    self.report(messages.kinds.division_by_zero(node.span, divisor=False))
                    return None
                if (literal_value(left) or 0) < 0 and (literal_value(right) or Fraction(0)).denominator != 1:
                    self.report(messages.kinds.power_of_negative(node.span))
                    return None
                unit = self.power(left, right, node)
        result = ir.Binary(node.operator, left, right, _joined(Kind.NUMBER, unit, left, right))  # type: ignore[arg-type]
        if not _can_hold(result):
            self.report(messages.kinds.beyond_computers(node.span, syntax.SMALLEST, syntax.LARGEST))
            return None
        return result

    def power(self, base: ir.Expression, exponent: ir.Expression, node: syntax.Binary) -> Unit | None:
        if self.names.units and exponent.type.unit not in (None, ONE):
            self.report(messages.units.exponent(node.right.span, str(exponent.type.unit)))
            return None
        if base.type.unit in (None, ONE):
            return base.type.unit
        value = literal_value(exponent)
        if value is None and self.names.units:
            self.report(messages.units.depends_on_exponent(node.span, node.right.span, str(base.type.unit)))
        return None if value is None else base.type.unit**value

    def comparison(self, node: syntax.Comparison) -> ir.Expression | None:
        left, right = self.expression(node.left), self.expression(node.right)
        if left is None or right is None:
            return None
        compared = {left.type.kind, right.type.kind}
        if Kind.CHOICE in compared or compared == {Kind.INDEX}:
            if compared - {Kind.CHOICE, Kind.INDEX} or left.type.of != right.type.of:
                choice, span = (left, node.left.span) if left.type.of else (right, node.right.span)
                agent, index = str(choice.type.of), self.index_of(choice.type.of)
                self.report(
                    messages.kinds.different_members(node.span, a_kind(left), a_kind(right), span, agent, index)
                )
                return None
            if node.operator not in ("==", "!=") and Kind.CHOICE in compared:
                self.report(messages.kinds.choices_in_order(node.span, node.operator))
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
        branches = {then.type.kind, otherwise.type.kind}
        if Kind.CHOICE in branches and (len(branches) > 1 or then.type.of != otherwise.type.of):
            self.report(messages.kinds.different_branches(node.span, a_kind(then), a_kind(otherwise)))
            return None
        fits, unit = self.agree([(then, node.then.span), (otherwise, node.otherwise.span)], "the two branches")
        if not fits:
            return None
        kind = then.type.kind if len(branches) == 1 and Kind.INDEX not in branches else Kind.NUMBER
        joined = _joined(kind, unit, condition, then, otherwise)
        return ir.Conditional(condition, then, otherwise, replace(joined, of=then.type.of))

    # --- names -------------------------------------------------------------------------------------------------

    def reference(self, node: syntax.Reference) -> ir.Expression | None:
        if node.owner is None and not node.primed and node.indices is None and node.name in self.names.indices:
            return self.index_value(node)
        if node.name == "horizon" and node.owner is None and not node.primed and node.indices is None:
            self.names.mention(What.KEY, "horizon", node.name_span)
            return replace(constant(self.names.horizon), name="horizon")
        symbol = self.resolve(node)
        if symbol is None:
            return None
        self.names.use(symbol.name, self.scope.defines)
        self.names.mention(What.SYMBOL, symbol.name, node.name_span)
        known = symbol.type.time is Time.CHOSEN and self.choices_behind(symbol) <= self.scope.known
        if symbol.type.time > self.scope.latest and not known:
            # When a value is known nobody can tell if its equation has a mistake, which was reported.
            if symbol.role is not Role.VALUE or symbol.name not in self.names.poisoned:
                self.too_late(node, symbol)
            return None
        indices = self.indices(node, symbol)
        if indices is None or symbol.name in self.names.poisoned:
            return None
        inner = [index.type for index in indices if not isinstance(index, str)]
        axes = merge_axes(*((i,) if isinstance(i, str) else i.type.axes for i in indices))
        axes = axes if indices else symbol.type.axes
        time = max([symbol.type.time, *(t.time for t in inner)])
        return ir.Reference(symbol.name, indices, replace(symbol.type, axes=axes, time=time))

    def choices_behind(self, symbol: ir.Symbol) -> frozenset[str]:
        return self.names.behind.get(symbol.name, frozenset({symbol.name}))

    def too_late(self, node: syntax.Reference, symbol: ir.Symbol) -> None:
        scope, time = self.scope, symbol.type.time
        unknown = sorted(self.choices_behind(symbol) - scope.known)
        name, span, labels = _shown(node), node.name_span, self.declared(symbol)
        help = self.known_sooner(node, symbol, unknown)
        if scope.offers:
            self.report(messages.timing.not_offered(name, scope.purpose, span, scope.offers, help, labels))
            return
        known = time.words
        if scope.known and symbol.role is Role.VALUE and time is Time.CHOSEN:
            known = messages.timing.result_of(unknown)
        elif symbol.role in (Role.VALUE, Role.REWARD) and time in (Time.CHOSEN, Time.WITHIN):
            known = messages.timing.RESULT_OF_CHOICES if time is Time.CHOSEN else messages.timing.RESULT_OF_SHOCKS
        expected = {
            Time.FIXED: messages.timing.FIXED,
            Time.NOW: messages.timing.AT_THE_START,
        }.get(scope.latest, f"something {scope.latest.words}")
        self.report(messages.timing.too_late(name, known, scope.purpose, span, expected, help, labels))

    def known_sooner(self, node: syntax.Reference, symbol: ir.Symbol, unknown: Sequence[str]) -> str | None:
        """What could be used in place of a value that is not known yet because of the choices `unknown`."""
        if node.primed:
            return messages.timing.use_now(node.name)
        if self.scope.latest is Time.NOW and symbol.name in self.names.held:
            return messages.timing.observe_state(self.names.held[symbol.name])
        if self.scope.latest is Time.NOW and symbol.type.time in (Time.CHOSEN, Time.WITHIN):
            index = f"[{','.join(symbol.type.axes)}]" if symbol.type.axes else ""
            owners = dict.fromkeys(name.partition(".")[0] for name in unknown)
            later = symbol.type.time is Time.CHOSEN and self.scope.home and self.scope.home not in owners
            return messages.timing.of_the_step_before(node.name, index, ", ".join(owners) if later else None)
        if self.scope.latest is Time.FIXED and not self.scope.offers and symbol.type.time > Time.FIXED:
            return messages.timing.CHANGES
        return None

    def index_value(self, node: syntax.Reference) -> ir.Expression | None:
        self.names.mention(What.INDEX, node.name, node.name_span)
        if node.name not in self.scope.bound:
            self.unbound(node.name, node.span)
            return None
        kind = Type(Kind.INDEX, (node.name,), ONE, Time.FIXED, self.names.indices[node.name])
        return ir.IndexValue(node.name, kind)

    def unbound(self, index: str, span: Span) -> None:
        agent = self.names.indices[index]
        if self.scope.left:
            help = messages.indices.bind_on_the_left(index)
        elif self.scope.latest is Time.FIXED:
            help = messages.indices.bind_or_declare(index, agent)
        else:
            help = messages.indices.bind_in_a_mean(index)
        self.report(messages.indices.unbound(index, span, self.scope.bound, help))

    def no_index(self, name: str, span: Span) -> None:
        finding = messages.indices.unknown(name, span, list(self.names.indices), self.names.listed_indices())
        self.names.diagnostics.add_missing(name, finding)

    def declared(self, symbol: ir.Symbol) -> tuple[Label, ...]:
        return declared_at(self.names.spans.get(symbol.name))

    def resolve(self, node: syntax.Reference) -> ir.Symbol | None:
        name = node.name + ("'" if node.primed else "")
        if node.owner is not None:
            full = f"{node.owner}.{name}"
            symbol = self.scope.local.get(full) or self.names.symbols.get(full)
            if symbol is None:
                self.undefined(node, name)
            return symbol
        if name in self.scope.local:
            return self.scope.local[name]
        if self.scope.home and f"{self.scope.home}.{name}" in self.names.symbols:
            return self.names.symbols[f"{self.scope.home}.{name}"]
        meanings = self.names.candidates(name)
        if len(meanings) > 1:
            self.report(messages.names.ambiguous(node.name, node.name_span, [symbol.name for symbol in meanings]))
            return None
        if not meanings:
            if name not in self.names.broken:
                self.undefined(node, name)
            return None
        return meanings[0]

    def undefined(self, node: syntax.Reference, name: str) -> None:
        symbols, agents, span = self.names.symbols, self.names.agents, node.name_span
        if node.owner in self.names.broken or name in self.names.broken or node.name in self.names.broken:
            return
        if node.primed and any(s.name.rpartition(".")[2] == node.name for s in symbols.values()):
            self.report(messages.names.no_next_value(node.name, span))
        elif node.owner is not None and node.owner not in agents:
            help = None
            if node.owner in ("L", "F", "D", "S"):  # Stata's operators
                help = messages.calls.no_lag_operators(node.name, self.index_text(node.name))
            finding = messages.names.no_agent_type(node.owner, span, list(agents), help)
            self.names.diagnostics.add_missing(node.owner, finding)
        elif node.owner is None and node.name in agents:
            self.report(messages.names.agent_type_as_value(node.name, span))
        elif node.owner is None and node.name in self.names.units:
            self.report(messages.names.unit_as_value(node.name, span))
        else:
            self.means_nothing(node, f"{node.owner}.{name}" if node.owner else name, name)

    def means_nothing(self, node: syntax.Reference, shown: str, name: str) -> None:
        """Reports a name that is not one of anything, `shown` as the author wrote it."""
        if self.names.diagnostics.again(shown, "RB202", node.name_span):
            return
        symbols = self.names.symbols.values()
        pool = {s.name.rpartition(".")[2]: s.name for s in symbols if node.owner in (None, s.owner)}
        pool |= dict.fromkeys((*SPECIAL, *self.scope.local, *self.names.indices, *self.names.broken), "")
        close = suggest(name, pool)
        if node.name in other_languages.WORDS:
            help = other_languages.WORDS[node.name]
        elif close is None:
            fixed = self.scope.latest is Time.FIXED
            help = None if self.scope.offers else messages.names.where_to_define(node.name, node.primed, fixed)
        else:
            help = meant(self.names.describe(pool[close]) if pool[close] else f"'{close}'")
        expected = self.scope.offers if close is None else None
        finding = messages.names.undefined(shown, node.name_span, expected, help)
        self.names.diagnostics.add_missing(shown, finding)

    def index_text(self, name: str) -> str:
        """The indices of a name as one writes them, such as `[i,j]`."""
        meanings = self.names.candidates(name)
        return f"[{','.join(meanings[0].type.axes)}]" if meanings and meanings[0].type.axes else ""

    def indices(self, node: syntax.Reference, symbol: ir.Symbol) -> tuple[str | ir.Expression, ...] | None:
        given = node.indices or ()
        wanted = ", ".join(self.index_of(agent) for agent in symbol.sets)
        short = node.name + ("'" if node.primed else "")
        if any(self.is_time(index) for index in given):
            past = messages.timing.kept_in_state(node.name, f"[{wanted}]" if wanted else "")
            message = messages.indices.of_time(_shown(node), node.span, short, wanted, past)
            self.names.diagnostics.add_missing(f"{symbol.name} in time", message)
            return None
        if len(given) != len(symbol.sets):
            needed, total = counted(len(symbol.sets), "index", "indices"), not given and len(symbol.sets) == 1
            labels = self.declared(symbol)
            self.report(
                messages.indices.wrong_number(_shown(node), node.span, needed, len(given), short, wanted, total, labels)
            )
            return None
        names = [index.name if self.is_bound(index) else None for index in given]  # type: ignore[union-attr]
        if None not in names and [self.names.indices[name] for name in names if name] != list(symbol.sets):
            order = [next((n for n in names if n and self.names.indices[n] == agent), None) for agent in symbol.sets]
            if len(set(order)) == len(order) and None not in order:
                labels = self.declared(symbol)
                self.report(messages.indices.wrong_order(_shown(node), node.span, short, map(str, order), labels))
                return None
        places = [self.index(index, agent, symbol) for index, agent in zip(given, symbol.sets, strict=True)]
        return None if None in places else tuple(places)  # type: ignore[arg-type]

    def is_bound(self, node: syntax.Expression) -> bool:
        return isinstance(node, syntax.Reference) and node.indices is None and node.name in self.scope.bound

    def is_time(self, node: syntax.Expression) -> bool:
        """Whether a stranger to this language means the step: `t`, `t-1`, `t+1`."""
        if isinstance(node, syntax.Binary) and node.operator in ("+", "-"):
            return isinstance(node.right, syntax.Number) and self.is_time(node.left)
        if not isinstance(node, syntax.Reference) or node.name not in ("t", "time"):
            return False
        return node.name == "time" or not (node.name in self.names.indices or self.names.candidates(node.name))

    def index(self, node: syntax.Expression, wanted: str, symbol: ir.Symbol) -> str | ir.Expression | None:
        if isinstance(node, syntax.Reference) and node.name in self.names.indices and node.indices is None:
            self.names.mention(What.INDEX, node.name, node.name_span)
            if node.name not in self.scope.bound:
                self.unbound(node.name, node.span)
                return None
            if self.names.indices[node.name] != wanted:
                agent, known = self.names.indices[node.name], self.names.agents[wanted].indices
                labels = self.declared(symbol)
                self.report(
                    messages.indices.of_another_type(symbol.name, wanted, node.name, agent, node.span, known, labels)
                )
                return None
            return node.name
        if self.is_no_index(node):
            return None
        value = self.expression(node)
        if value is None:
            return None
        if value.type.kind is not Kind.CHOICE or value.type.of != wanted:
            known, labels = self.names.agents[wanted].indices, self.declared(symbol)
            help = self.by_number(node, value, wanted, symbol) if len(symbol.sets) == 1 else None
            self.report(messages.indices.not_by(symbol.name, wanted, a_kind(value), node.span, known, help, labels))
            return None
        return value

    def by_number(self, node: syntax.Expression, value: ir.Expression, wanted: str, symbol: ir.Symbol) -> str:
        """How to look something up with a number in place of an index."""
        if value.type.time > Time.FIXED or value.type.kind is Kind.CHOICE:
            return messages.indices.choice_to_declare(wanted)
        indices, short = self.names.agents[wanted].indices, symbol.name.rpartition(".")[2]
        free = next((index for index in indices if index not in value.type.axes), None)
        return messages.indices.picked_by_number(short, node.span, indices[0], free)

    def is_no_index(self, node: syntax.Expression) -> bool:
        """Whether a bare name in the place of an index is neither an index nor a value; if so, it is reported."""
        if not isinstance(node, syntax.Reference) or node.indices is not None or node.owner or node.primed:
            return False
        if self.names.candidates(node.name) or node.name in self.scope.local or node.name in SPECIAL:
            return False
        if node.name not in self.names.broken:
            self.no_index(node.name, node.span)
        return True

    # --- calls -------------------------------------------------------------------------------------------------

    def call(self, node: syntax.Call) -> ir.Expression | None:
        name, arguments = node.function, node.arguments
        first = arguments[0].value if arguments else None
        bare = (
            isinstance(first, syntax.Reference) and first.indices is None and first.owner is None and not first.primed
        )
        word = first.name if bare and isinstance(first, syntax.Reference) else ""
        self.names.mention(What.FUNCTION, name, node.name_span)
        if isinstance(first, syntax.Reference) and word in self.names.agents:  # count(seller), since(seller)
            self.names.mention(What.AGENT, word, first.name_span)
        if name == "count" and word in self.names.agents and len(arguments) == 1 and arguments[0].where is None:
            return replace(constant(self.names.agents[word].count), name=word)
        if name == "since" and self.scope.since is not None:
            return self.since(node, word)
        if name in ir.REDUCTIONS and (word in self.names.indices or name not in self.names.primitives):
            return self.reduction(node)
        if any(argument.where for argument in arguments):
            self.report(messages.calls.condition_in_function(name, node.span))
            return None
        if name in DISTRIBUTIONS:
            return self.draw(node)
        if name in self.names.primitives:
            return self.apply(node)
        if self.names.candidates(name):
            return self.called_symbol(node, self.names.candidates(name)[0])
        known = [*self.names.primitives, *ir.REDUCTIONS, *DISTRIBUTIONS]
        help = other_languages.FUNCTIONS.get(name) or did_you_mean(name, known, messages.calls.FUNCTIONS_OF_YOUR_OWN)
        self.names.diagnostics.add_missing(name, messages.names.no_function(name, node.name_span, help))
        return None

    def called_symbol(self, node: syntax.Call, symbol: ir.Symbol) -> None:
        """A name with round brackets behind it: another language's index, lag or lead, or a missing product."""
        name, index = node.function, self.index_text(node.function)
        given = [argument.value for argument in node.arguments]
        help = messages.calls.no_product(name)
        shift = (
            self.expression(given[0])
            if len(given) == 1 and isinstance(given[0], (syntax.Number, syntax.Unary))
            else None
        )
        moved = None if shift is None else literal_value(shift)
        if given and all(map(self.is_bound, given)):
            help = messages.calls.indices_in_brackets(name, [argument.span.words for argument in given])
        elif moved is not None and moved < 0:
            help = messages.calls.no_lags(name, index)
        elif moved is not None and moved > 0:
            help = messages.calls.no_leads(name, index)
        self.report(messages.names.no_function(name, node.name_span, help, self.names.spans.get(symbol.name)))

    def since(self, node: syntax.Call, agent: str) -> ir.Expression | None:
        starts = self.scope.since or {}
        if agent not in starts or len(node.arguments) != 1:
            self.report(messages.calls.since_needs_a_type(node.span, starts))
            return None
        progress = ir.Reference("@progress", (), Type(unit=ONE))
        passed = ir.Binary("-", progress, constant(starts[agent]), progress.type)
        return ir.Apply("max", (passed, constant(0)), progress.type)

    def reduction(self, node: syntax.Call) -> ir.Expression | None:
        name, values = node.function, ir.REDUCTIONS[node.function]
        over = node.arguments[: len(node.arguments) - values]
        example = f"{name}({_EXAMPLES[values]})"
        indices: list[str] = []
        for argument in over:
            index = argument.value
            if not (isinstance(index, syntax.Reference) and index.name in self.names.indices and index.indices is None):
                self.wrong_range(node, index, example)
                return None
            self.names.mention(What.INDEX, index.name, index.name_span)
            if index.name in self.scope.bound or index.name in indices:
                agent = self.names.indices[index.name]
                free = next((i for i in self.names.agents[agent].indices if i not in self.scope.bound), None)
                self.report(messages.indices.bound_twice(index.name, index.span, agent, free))
                return None
            indices.append(index.name)
        if not indices:
            self.no_range(node, example)
            return None
        inner = _Inference(replace(self.scope, bound=(*self.scope.bound, *indices)), self.names)
        conditions = [argument.where for argument in node.arguments if argument.where is not None]
        written, behind = ", ".join(indices), [argument.value.span for argument in node.arguments[len(over) :]]
        if conditions and (len(conditions) > 1 or over[-1].where is None):
            finding = messages.calls.condition_after_last_index(name, written, conditions[0].span, behind, node.span)
            self.report(finding)
            return None
        if conditions and name not in ("sum", "product", "count"):
            condition_span = conditions[0].span
            self.report(messages.calls.no_value_without_members(name, written, condition_span, behind[0], node.span))
            return None
        if name in ("argmax", "argmin") and len(indices) > 1:
            self.report(messages.calls.one_index(name, indices[-1], node.span))
            return None
        condition = inner.flag(conditions[0]) if conditions else None
        body = inner.number(node.arguments[len(over)].value) if values else constant(1)
        level = self.level(node) if values == 2 else None
        if body is None or (conditions and condition is None) or (values == 2 and level is None):
            return None
        terms = [body] if condition is None else [body, condition]
        idle = [index for index in indices if not any(index in term.type.axes for term in terms)]
        if idle and (name != "count" or condition is not None):
            self.over_nothing(node, name, idle[0], body)
            return None
        terms += [level] if level is not None else []
        axes = tuple(a for a in merge_axes(*(term.type.axes for term in terms)) if a not in indices)
        unit = ONE if name in _PURE else body.type.unit
        if name == "product" and unit not in (None, ONE):
            unit = None if condition is not None else unit ** self.members(indices)
        joined = replace(_joined(Kind.NUMBER, unit, *terms), axes=axes)
        if name in ("argmax", "argmin"):
            joined = replace(joined, kind=Kind.CHOICE, of=self.names.indices[indices[0]])
        return ir.Reduce(name, tuple(indices), condition, body, joined, level)  # type: ignore[arg-type]

    def level(self, node: syntax.Call) -> ir.Expression | None:
        """The last argument of a quantile or a top share: a pure number from 0 to 1."""
        written = node.arguments[-1].value
        level = self.number(written)
        if level is None:
            return None
        value, position = literal_value(level), len(node.arguments)
        if value is not None and not 0 <= value <= 1:
            self.report(messages.kinds.level(node.function, float(value), written.span))
            return None
        if self.names.units and level.type.unit not in (None, ONE):
            unit = str(level.type.unit)
            self.report(messages.units.argument(node.function, position, written.span, unit, None, None))
            return None
        return level

    def members(self, indices: Iterable[str]) -> int:
        """How many agents, or pairs of them and so on, indices stand for together."""
        return math.prod(self.names.agents[self.names.indices[index]].count for index in indices)

    def wrong_range(self, node: syntax.Call, place: syntax.Expression, example: str) -> None:
        """Reports that a sum has something other than an index in the `place` of one."""
        name = node.function
        if isinstance(place, syntax.Reference) and place.indices is None and place.name in self.names.agents:
            self.report(messages.calls.over_agent_type(name, place.name, self.index_of(place.name), place.span))
        elif isinstance(place, syntax.Reference) and place.indices is None and not self.names.candidates(place.name):
            self.no_index(place.name, place.span)
        else:
            indices = [argument.value.span.words for argument in node.arguments if argument.value is not place]
            help = messages.calls.count_where(indices, place.span) if name == "count" and indices else None
            self.report(messages.calls.not_an_index(name, place.span, example, help))

    def no_range(self, node: syntax.Call, example: str) -> None:
        """Reports a sum of something over nothing: it is often clear which index is missing."""
        values = ir.REDUCTIONS[node.function]
        value = node.arguments[0].value if len(node.arguments) == max(values, 1) else None
        behind = "".join(f", {argument.value.span.words}" for argument in node.arguments[1:])
        written, level = None, False
        if isinstance(value, syntax.Reference) and value.name in self.names.indices and values == 2:
            level = True
        elif isinstance(value, syntax.Reference) and not value.indices and len(self.names.candidates(value.name)) == 1:
            index = self.index_text(value.name)
            written = f"{index[1:-1]}, {value.span.words}{index}{behind}" if index else None
        elif value is not None:
            inside = [r.name for r in syntax.references(value) if r.name in self.names.indices]
            free = list(dict.fromkeys(name for name in inside if name not in self.scope.bound)) or inside[:1]
            written = f"{', '.join(free)}, {value.span.words}{behind}" if free else None
        self.report(messages.calls.no_index(node.function, values, node.span, example, written, level))

    def over_nothing(self, node: syntax.Call, name: str, index: str, body: ir.Expression) -> None:
        agent, values = self.names.indices[index], ir.REDUCTIONS[name]
        text = node.arguments[-values].value.span.words if values else ""
        fixes = {
            "gini": "0",
            "top_share": node.arguments[-1].value.span.words,
            "argmax": None,
            "argmin": None,
            "sum": f"count({agent})" if literal_value(body) == 1 else f"count({agent}) * ({text})",
            "count": f"count({agent})",
            "product": f"({text})^count({agent})",
        }
        self.report(messages.indices.over_nothing(name, index, node.span, fixes.get(name, text)))

    def draw(self, node: syntax.Call) -> ir.Expression | None:
        name, distribution = node.function, DISTRIBUTIONS[node.function]
        wanted = distribution.arguments
        if not self.scope.draws:
            self.report(messages.calls.drawn_elsewhere(name, self.scope.purpose, node.span))
            return None
        if len(node.arguments) != len(wanted):
            self.report(
                messages.calls.wrong_number(
                    name, counted(len(wanted), "argument"), len(node.arguments), wanted, node.span, distribution.help
                )
            )
            return None
        arguments = [self.number(argument.value) for argument in node.arguments]
        spans = [argument.value.span for argument in node.arguments]
        for argument, span in zip(arguments, spans, strict=True):
            if argument is None:
                return None
            if self.names.units and argument.type.unit not in (None, ONE):
                self.report(messages.units.argument_of_distribution(name, span, str(argument.type.unit)))
                return None
        values: list[ir.Expression] = arguments  # type: ignore[assignment]
        last = literal_value(values[-1]) if values else None
        if last is not None and not distribution.allows(last):
            self.report(messages.calls.outside_limits(name, wanted[-1], float(last), spans[-1], distribution.limits))
            return None
        return self.drawn(name, distribution, values)

    def drawn(self, name: str, distribution: Distribution, arguments: Sequence[ir.Expression]) -> ir.Expression:
        """A draw for every value of the indices that are bound here."""
        time = max([Time.WITHIN, *(argument.type.time for argument in arguments)])

        def draw(elementary: str, *parts: ir.Expression) -> ir.Expression:
            drawn = Type(DISTRIBUTIONS[elementary].kind, self.scope.bound, ONE, time)
            self.names.draws += 1
            return ir.Draw(elementary, parts, self.names.draws - 1, drawn)  # type: ignore[arg-type]

        return distribution.made(draw, *arguments) if distribution.made else draw(name, *arguments)

    def apply(self, node: syntax.Call) -> ir.Expression | None:
        primitive = self.names.primitives[node.function]
        spans = [argument.value.span for argument in node.arguments]
        if not primitive.takes(len(spans)):
            shown = [*primitive.arguments, *["..."] * primitive.variadic]
            self.report(
                messages.calls.wrong_number(
                    primitive.name,
                    _number_of_arguments(primitive),
                    len(spans),
                    shown,
                    node.span,
                    self.over_agents(node) if primitive.variadic else None,
                )
            )
            return None
        arguments = [self.number(argument.value) for argument in node.arguments]
        if None in arguments:
            return None
        present: list[ir.Expression] = arguments  # type: ignore[assignment]
        domain, first = _DOMAINS.get(primitive.name), literal_value(present[0])
        if domain is not None and first is not None and not domain[0] <= first <= domain[1]:
            self.report(messages.kinds.outside_domain(primitive.name, float(first), spans[0]))
            return None
        unit: Unit | None = None
        if self.names.units:
            literal = all(map(is_literal, present))
            given = [None if is_literal(value) and not literal else value.type.unit for value in present]
            unit, misfit = primitive.units.apply(given)
            if misfit is not None:
                position, needed = misfit
                pure = needed == ONE
                like = None if pure else next((k for k, unit_of in enumerate(given) if unit_of == needed), None)
                self.report(
                    messages.units.argument(
                        primitive.name,
                        position + 1,
                        spans[position],
                        str(given[position]),
                        None if pure else str(needed),
                        None if like is None else spans[like],
                    )
                )
                return None
            for position, (value, span) in enumerate(zip(present, spans, strict=True)):
                self.bare(value, span, primitive.units.shared(given, position))
        kind = Kind.FLAG if primitive.flag else Kind.NUMBER
        return ir.Apply(primitive.name, tuple(present), _joined(kind, unit, *present))

    def over_agents(self, node: syntax.Call) -> str | None:
        """For `max(x[j])`: the maximum over agents that may be meant."""
        value = node.arguments[0].value if node.arguments else None
        inside = [r.name for r in syntax.references(value) if r.name in self.names.indices] if value else []
        return messages.calls.over_agents(node.function, inside[0], value.span) if value and inside else None


def _can_hold(node: ir.Binary) -> bool:
    """Whether the value of an expression of written numbers is 0 or within single precision."""
    value = literal_value(node)
    if value is None and node.operator == "^":
        base, exponent = literal_value(node.left), literal_value(node.right)
        if base and exponent:
            return math.log2(syntax.SMALLEST) <= float(exponent) * math.log2(abs(base)) <= math.log2(syntax.LARGEST)
    return not value or syntax.SMALLEST <= abs(value) <= syntax.LARGEST


def _joined(kind: Kind, unit: Unit | None, *operands: ir.Expression) -> Type:
    axes = merge_axes(*(operand.type.axes for operand in operands))
    return Type(kind, axes, unit, max(operand.type.time for operand in operands))


def _number_of_arguments(primitive: Primitive) -> str:
    most = len(primitive.arguments)
    if primitive.variadic:
        return "two or more arguments" if len(primitive.units.repeated) == 1 else f"{most}, {most + 2}, ... arguments"
    if primitive.optional:
        return f"{most - primitive.optional} to {counted(most, 'argument')}"
    return counted(most, "argument")


def _shown(node: syntax.Reference) -> str:
    return (f"{node.owner}." if node.owner else "") + node.name + ("'" if node.primed else "")


def a_kind(node: ir.Expression) -> str:
    """What kind of value an expression is, with the article."""
    match node.type.kind:
        case Kind.CHOICE:
            return f"a choice of one {node.type.of}"
        case Kind.INDEX:
            return f"an index of {node.type.of}"
        case kind:
            return f"a {kind}"
