"""Expressions as sums of products, in a form in which equal ones look alike.

A sum has exact coefficients; a product has factors with powers, and variables that it is summed over. Conditions are
factors that are 1 or 0, and `a if c else b` is `b + c * (a - b)`; `max`, `min`, `abs` and `clip` are written with the
positive part of a number; a sum over `j` where `j` is a choice takes the choice in place of `j`; shares that are chosen
sum to 1; both sides of an equation that is solved are the same. All other functions, and divisions by sums, are factors
that are equal if their arguments are. What is shown equal is equal for all states, choices, draws and parameters for
which its divisions are defined.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import chain, count, islice, permutations, product as combinations

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting.cleared import Rule, rules
from rbcc.compiler.ir.types import Kind


MAX_WORK = 20_000
"""Products made for one model before it is given up; long ones count once for every 1000 characters."""
MAX_DEPTH = 30
MAX_POWER = 4
MAX_ORDERS = 24
MAX_TEXT = 5_000

_ONE_BY_ONE = ("sum", "count", "mean", "product", "min", "max")
"""The reductions that take one agent after another, so that those over several indices are nested."""


class TooLarge(Exception):
    """Taking expressions apart makes more products, or larger ones, than are worth the time."""


BOUND = re.compile(r"#\w+\.\w+")
_WORD = re.compile(r"[^\s(),]+")


@dataclass(frozen=True, eq=False)
class Atom:
    """A factor that is not taken apart; `text` says all of it.

    value: the symbol `name` at `indices`; draw, given: the draw, or anything else, called `name`; index: an index as a
    number; same: whether two indices are the same member; positive: max(argument, 0); less: whether the argument
    is above 0; zero: whether it is 0; sum: the argument, which is divided by; apply: the function `name`; power: one
    argument to the other; over: min, max, a statistic, ... of the first argument, where the second holds, over the
    variables in `indices`, at the level that the third is, if there is one; choose: the first of two members where the
    argument holds, else the second.
    """

    kind: str
    name: str = ""
    indices: "tuple[Index, ...]" = ()
    arguments: "tuple[Sum, ...]" = ()
    flag: bool = False
    text: str = field(init=False)
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        inside = ", ".join([*map(str, self.indices), *(argument.text for argument in self.arguments)])
        object.__setattr__(self, "text", f"{self.kind} {self.name}({inside})")
        object.__setattr__(self, "depth", 1 + max((argument.depth for argument in self.arguments), default=0))
        if self.depth > MAX_DEPTH or len(self.text) > MAX_TEXT:
            raise TooLarge

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @cached_property
    def variables(self) -> frozenset[str]:
        """The variables in it that it does not bind itself."""
        found = {index for index in self.indices if isinstance(index, str)}
        inner = [index for index in self.indices if isinstance(index, Atom)]
        found.update(*(part.variables for part in (*inner, *self.arguments)))
        return frozenset(found - set(self.indices) if self.kind == "over" else found)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """The symbols of the model in it."""
        inner = [index for index in self.indices if isinstance(index, Atom)]
        own = [self.name] if self.kind == "value" else []
        return frozenset(own).union(*(part.symbols for part in (*inner, *self.arguments)))


Index = str | Atom
"""A variable, or an expression that chooses a member.

Variables that are summed over are called #TYPE.NUMBER, and #TYPE.tNUMBER while a product is taken apart.
"""


@dataclass(frozen=True, eq=False)
class Product:
    """Factors with their powers, summed over the variables `bound`."""

    bound: tuple[str, ...] = ()
    factors: tuple[tuple[Atom, int], ...] = ()
    text: str = field(init=False)

    def __post_init__(self) -> None:
        factors = " * ".join(f"{atom}^{power}" for atom, power in self.factors)
        object.__setattr__(self, "text", f"{' '.join(self.bound)}: {factors}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Product) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    @cached_property
    def variables(self) -> frozenset[str]:
        return frozenset().union(*(atom.variables for atom, _ in self.factors)) - set(self.bound)

    @cached_property
    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(atom.symbols for atom, _ in self.factors))

    @property
    def value(self) -> Atom | None:
        """The symbol that this is the sum of, if it is that of a single one."""
        if len(self.factors) == 1 and self.factors[0][1] == 1 and self.factors[0][0].kind == "value":
            return self.factors[0][0]
        return None


@dataclass(frozen=True, eq=False)
class Sum:
    """Products with their coefficients, none of which is 0."""

    terms: Mapping[Product, Fraction]

    @cached_property
    def text(self) -> str:
        return " + ".join(sorted(f"{coefficient} {product.text}" for product, coefficient in self.terms.items()))

    @cached_property
    def depth(self) -> int:
        return max((atom.depth for product in self.terms for atom, _ in product.factors), default=0)

    @cached_property
    def variables(self) -> frozenset[str]:
        return frozenset().union(*(product.variables for product in self.terms))

    @cached_property
    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(product.symbols for product in self.terms))

    @property
    def number(self) -> Fraction | None:
        """Its value if it is a plain number."""
        return self.terms.get(Product(), Fraction(0)) if set(self.terms) <= {Product()} else None


Move = Callable[[Index], Index]


def number(value: Fraction | int) -> Sum:
    return Sum({Product(): Fraction(value)} if value else {})


def plus(*parts: Sum) -> Sum:
    found: dict[Product, Fraction] = {}
    for product, coefficient in chain.from_iterable(part.terms.items() for part in parts):
        found[product] = found.get(product, Fraction(0)) + coefficient
    return Sum({product: coefficient for product, coefficient in found.items() if coefficient})


def times(factor: Fraction | int, part: Sum) -> Sum:
    return Sum({product: factor * coefficient for product, coefficient in part.terms.items()} if factor else {})


def minus(left: Sum, right: Sum) -> Sum:
    return plus(left, times(-1, right))


class Algebra:
    """Sums of products of the expressions of one model. All methods raise TooLarge when there is too much to do."""

    def __init__(self, model: ir.Model):
        self.model = model
        self.definitions = {definition.symbol: definition for definition in model.equations}
        self.order = {definition.symbol: place for place, definition in enumerate(model.equations)}
        self.shares = {action.symbol for action in model.actions if action.shares}
        self.work = self.names = 0
        self.taken: dict[str, tuple[Sum, ...]] = {}
        self.rules: Mapping[str, Rule] = {}
        self.rules = rules(self)

    # --- from expressions --------------------------------------------------------------------------------------

    def sum_of(self, node: ir.Expression, at: Mapping[str, Index] | None = None) -> Sum:
        """The sum that an expression is, with the indices in `at` replaced."""
        at = at or {}
        match node:
            case ir.Constant(value):
                return number(Fraction(value))
            case ir.IndexValue(index):
                return self.of(Atom("index", "", (at.get(index, index),)))
            case ir.Reference(symbol, indices):
                inner = tuple(self.index_of(index, at) for index in indices)
                return self.of(Atom("value", symbol, inner, flag=node.type.kind is Kind.FLAG))
            case ir.Unary("not", operand):
                return minus(number(1), self.sum_of(operand, at))
            case ir.Unary(_, operand):
                return times(-1, self.sum_of(operand, at))
            case ir.Binary():
                return self.binary(node, at)
            case ir.Conditional(condition, then, otherwise):
                yes, no = self.sum_of(then, at), self.sum_of(otherwise, at)
                return plus(no, self.multiply(self.sum_of(condition, at), minus(yes, no)))
            case ir.Apply(function, arguments):
                return self.apply(node, function, [self.sum_of(argument, at) for argument in arguments])
            case ir.Reduce():
                return self.reduce(node, at)
            case ir.Draw(_, _, place):
                return self.given("draw", str(place), node, at)
        return self.given("given", ir.show(node), node, at)

    def given(self, kind: str, name: str, node: ir.Expression, at: Mapping[str, Index]) -> Sum:
        """Something that is only equal to itself."""
        indices = tuple(self.index_of(index, at) for index in node.type.axes)
        return self.of(Atom(kind, name, indices, flag=node.type.kind is Kind.FLAG))

    def index_of(self, index: str | ir.Expression, at: Mapping[str, Index]) -> Index:
        match index:
            case str():
                return at.get(index, index)
            case ir.IndexValue(name):
                return at.get(name, name)
            case ir.Reference(symbol, indices):
                return Atom("value", symbol, tuple(self.index_of(inner, at) for inner in indices))
            case ir.Reduce():
                return self.statistic(index, at)
            case ir.Conditional(condition, then, otherwise):
                members = (self.index_of(then, at), self.index_of(otherwise, at))
                return Atom("choose", "", members, (self.sum_of(condition, at),))
        raise TypeError(index)

    def binary(self, node: ir.Binary, at: Mapping[str, Index]) -> Sum:
        members = {Kind.CHOICE, Kind.INDEX}
        if node.operator in ("==", "!=") and {node.left.type.kind, node.right.type.kind} <= members:
            same = self.same(self.index_of(node.left, at), self.index_of(node.right, at))
            return same if node.operator == "==" else minus(number(1), same)
        left, right = self.sum_of(node.left, at), self.sum_of(node.right, at)
        match node.operator:
            case "+":
                return plus(left, right)
            case "-":
                return minus(left, right)
            case "*" | "and":
                return self.multiply(left, right)
            case "or":
                return minus(plus(left, right), self.multiply(left, right))
            case "/":
                return self.multiply(left, self.inverse(right))
            case "^":
                return self.power(left, right)
            case "<":
                return self.less(minus(right, left))
            case ">":
                return self.less(minus(left, right))
            case "<=":
                return minus(number(1), self.less(minus(left, right)))
            case ">=":
                return minus(number(1), self.less(minus(right, left)))
            case "==":
                return self.zero(minus(left, right))
            case "!=":
                return minus(number(1), self.zero(minus(left, right)))
        raise TypeError(node.operator)

    def apply(self, node: ir.Apply, function: str, arguments: list[Sum]) -> Sum:
        match function, arguments:
            case "max", [first, *rest]:
                for other in sorted(rest, key=lambda part: part.text):
                    first = plus(other, self.positive(minus(first, other)))
                return first
            case "min", [first, *rest]:
                for other in sorted(rest, key=lambda part: part.text):
                    first = minus(first, self.positive(minus(first, other)))
                return first
            case "abs", [inside]:
                return minus(times(2, self.positive(inside)), inside)
            case "clip", [inside, low, high]:
                raised = plus(low, self.positive(minus(inside, low)))
                return minus(raised, self.positive(minus(raised, high)))
        return self.of(Atom("apply", function, (), tuple(arguments), node.type.kind is Kind.FLAG))

    def reduce(self, node: ir.Reduce, at: Mapping[str, Index]) -> Sum:
        if node.operator not in _ONE_BY_ONE:
            return self.of(self.statistic(node, at))
        inner = {index: self.fresh(self.model.set_of(index)) for index in node.indices}
        body = self.sum_of(node.body, {**at, **inner})
        condition = self.sum_of(node.condition, {**at, **inner}) if node.condition is not None else number(1)
        if node.operator in ("sum", "count", "mean"):
            total = self.total(self.multiply(condition, body), inner.values())
            agents = 1
            for index in node.indices:
                agents *= self.model.count(self.model.set_of(index))
            return times(Fraction(1, agents), total) if node.operator == "mean" else total
        for variable in inner.values():
            body, condition = self.of(self.over(node.operator, [variable], body, condition)), number(1)
        return body

    def statistic(self, node: ir.Reduce, at: Mapping[str, Index]) -> Atom:
        """A function of all that it runs over at once; a member is chosen by one."""
        inner = {index: self.fresh(self.model.set_of(index)) for index in node.indices}
        parts = [self.sum_of(node.body, {**at, **inner}), number(1)]
        parts += [self.sum_of(node.level, at)] if node.level is not None else []
        return self.over(node.operator, inner.values(), *parts)

    # --- operations --------------------------------------------------------------------------------------------

    def of(self, atom: Atom) -> Sum:
        return self.product(Fraction(1), (), [(atom, 1)])

    def multiply(self, left: Sum, right: Sum) -> Sum:
        parts = []
        for (first, a), (second, b) in combinations(left.terms.items(), right.terms.items()):
            if first.bound and second.bound:
                variables, inner = self.opened(second)
                parts.append(times(b, self.total(self.multiply(Sum({first: a}), inner), variables)))
            else:
                parts.append(self.product(a * b, (*first.bound, *second.bound), (*first.factors, *second.factors)))
        return plus(*parts)

    def total(self, part: Sum, variables: Iterable[str]) -> Sum:
        """The sum over all members that `variables` can be."""
        variables = tuple(variables)
        return plus(*(self.product(c, (*p.bound, *variables), p.factors) for p, c in part.terms.items()))

    def inverse(self, part: Sum) -> Sum:
        if part.number:
            return number(1 / part.number)
        if len(part.terms) == 1:
            ((only, coefficient),) = part.terms.items()
            if not only.bound and only.factors:
                return self.product(1 / coefficient, (), [(atom, -power) for atom, power in only.factors])
        lead = _lead(part) if part.terms else Fraction(1)
        return self.product(1 / lead, (), [(Atom("sum", "", (), (times(1 / lead, part),)), -1)])

    def power(self, base: Sum, exponent: Sum) -> Sum:
        whole = exponent.number
        if whole is None or whole.denominator != 1 or abs(whole) > MAX_POWER:
            return self.of(Atom("power", "", (), (base, exponent)))
        result, factor = number(1), base if whole > 0 else self.inverse(base)
        for _ in range(abs(int(whole))):
            result = self.multiply(result, factor)
        return result

    def positive(self, part: Sum) -> Sum:
        if part.number is not None:
            return number(max(part.number, Fraction(0)))
        lead = _lead(part)
        atom = self.of(Atom("positive", "", (), (times(1 / lead, part),)))
        return times(lead, atom) if lead > 0 else plus(part, times(-lead, atom))

    def less(self, part: Sum) -> Sum:
        """Whether a sum is above 0."""
        if part.number is not None:
            return number(part.number > 0)
        return self.of(Atom("less", "", (), (times(1 / abs(_lead(part)), part),), True))

    def zero(self, part: Sum) -> Sum:
        if part.number is not None:
            return number(part.number == 0)
        return self.of(Atom("zero", "", (), (times(1 / _lead(part), part),), True))

    def same(self, left: Index, right: Index) -> Sum:
        if str(left) == str(right):
            return number(1)
        pair = sorted((left, right), key=lambda index: (isinstance(index, str), str(index)))
        return self.of(Atom("same", "", tuple(pair), (), True))

    def over(self, operator: str, variables: Iterable[str], *parts: Sum) -> Atom:
        """min, max, a statistic, ... of the first of `parts` over `variables`."""
        variables = tuple(variables)
        taken = frozenset().union(*(part.variables for part in parts)) - set(variables)
        own: dict[str, str] = {}
        for variable in variables:
            own[variable] = next(_unused(set_of(variable), taken | set(own.values())))
        return Atom("over", operator, tuple(own.values()), tuple(self.moved(part, own) for part in parts))

    def latest(self, symbols: Iterable[str]) -> str | None:
        """The one of `symbols` whose equation comes last, and so holds none of the others."""
        return max((symbol for symbol in symbols if symbol in self.order), key=self.order.__getitem__, default=None)

    def fresh(self, owner: str) -> str:
        self.names += 1
        return f"#{owner}.t{self.names}"

    def opened(self, product: Product) -> tuple[tuple[str, ...], Sum]:
        """New names for the variables that a product is summed over, and what is summed over them."""
        names = {variable: self.fresh(set_of(variable)) for variable in product.bound}
        return tuple(names.values()), self.moved_factors(product.factors, names)

    # --- the normal form of a product --------------------------------------------------------------------------

    def product(self, coefficient: Fraction, bound: Iterable[str], factors: Iterable[tuple[Atom, int]]) -> Sum:
        """The sum that a product is: itself in its normal form, more than one in rare cases, or nothing."""
        powers: dict[Atom, int] = {}
        size = 0
        for atom, power in factors:
            powers[atom] = powers.get(atom, 0) + power
            size += len(atom.text)
        self.work += 1 + size // 1000
        if self.work > MAX_WORK:
            raise TooLarge
        powers = {atom: min(power, 1) if atom.flag else power for atom, power in powers.items() if power}
        bound = tuple(bound)
        for atom in powers:
            if atom.kind == "same":
                rest = [(other, power) for other, power in powers.items() if other is not atom]
                found = self.matched(atom, bound, rest)
                if found is not None:
                    return times(coefficient, found)
        if not _consistent(powers):
            return number(0)
        bound = self.without_shares(bound, powers)
        if self.rules and (cleared := self.cleared(bound, powers)) is not None:
            return times(coefficient, cleared)
        used = frozenset().union(*(atom.variables for atom in powers))
        for variable in bound:
            if variable not in used:
                coefficient *= self.model.count(set_of(variable))
        bound = tuple(variable for variable in bound if variable in used)
        names = _canonical(bound, used - set(bound), list(powers.items()))
        if any(old != new for old, new in names.items()):
            ((only, _),) = self.moved_factors(powers.items(), names).terms.items()
            bound, powers = tuple(names.values()), dict(only.factors)
        return Sum({product_of(bound, powers): coefficient})

    def without_shares(self, bound: tuple[str, ...], powers: dict[Atom, int]) -> tuple[str, ...]:
        """Takes out of a product, and of `bound`, shares that are summed over all who have one: they sum to 1."""
        for atom in [atom for atom, power in powers.items() if atom.name in self.shares and power == 1]:
            *others, last = atom.indices
            used = [other.variables for other in powers if other is not atom]
            used += [index.variables if isinstance(index, Atom) else {index} for index in others]
            if last in bound and not any(last in variables for variables in used):
                del powers[atom]
                return self.without_shares(tuple(variable for variable in bound if variable != last), powers)
        return bound

    def cleared(self, bound: tuple[str, ...], powers: dict[Atom, int]) -> Sum | None:
        """A product in which a sum is replaced by what an equation that is solved says it is, if there is one."""
        for atom, power in powers.items():
            rule = self.rules.get(atom.name) if atom.kind == "value" and power == 1 else None
            others = [other for other in powers if other is not atom]
            free = rule.fits(atom, bound, others) if rule is not None else None
            if rule is None or free is None:
                continue
            mine = {str(index) for index, own in zip(atom.indices, rule.indices, strict=True) if own in rule.bound}
            names = {variable: self.fresh(set_of(variable)) for variable in bound if variable not in mine}
            rest = self.moved_factors([(other, powers[other]) for other in others], names)
            at = {index: self.rebuilt_index(one, renaming(names), None) for index, one in free.items()}
            return self.total(self.multiply(rest, self.moved(rule.instead, at)), names.values())
        return None

    def matched(self, atom: Atom, bound: tuple[str, ...], rest: list[tuple[Atom, int]]) -> Sum | None:
        """The product of `rest` where the two indices of `atom` are the same, if one can take the other's place."""
        left, right = atom.indices
        names = {variable: self.fresh(set_of(variable)) for variable in bound}
        for variable, other in ((right, left), (left, right)):
            inside = other.variables if isinstance(other, Atom) else {other}
            if isinstance(variable, str) and variable in bound and variable not in inside:
                mine = names.pop(variable)
                instead = self.rebuilt_index(other, renaming(names), None)
                moved = self.moved(self.moved_factors(rest, {**names, variable: mine}), {mine: instead})
                return self.total(moved, names.values())
        if isinstance(right, str) and any(str(left) in other.text for other, _ in rest):
            old, new = (self.rebuilt_index(index, renaming(names), None) for index in atom.indices)
            before = self.moved_factors(rest, names)
            after = self.rebuilt(before, lambda index: new if str(index) == str(old) else index)
            if after.text != before.text:
                return self.total(self.multiply(self.same(old, new), after), names.values())
        return None

    # --- rebuilding --------------------------------------------------------------------------------------------

    def expand(self, part: Sum, symbol: str) -> Sum:
        """A sum with the equation of `symbol` in place of the symbol, everywhere."""
        return self.rebuilt(part, lambda index: index, symbol)

    def terms_of(self, symbol: str) -> tuple[Sum, ...]:
        """The terms that the equation of `symbol` adds up, for the indices on its left."""
        if symbol not in self.taken:
            parts = additive_terms(self.definitions[symbol].expression)
            self.taken[symbol] = tuple(times(sign, self.sum_of(node)) for sign, node in parts)
        return self.taken[symbol]

    def at(self, symbol: str, part: Sum, indices: tuple[Index, ...]) -> Sum:
        """A sum of the equation of `symbol` for other indices than those on its left."""
        return self.moved(part, dict(zip(self.definitions[symbol].indices, indices, strict=True)))

    def moved(self, part: Sum, names: Mapping[str, Index]) -> Sum:
        """A sum with other variables, or choices, in place of its own."""
        return self.rebuilt(part, renaming(names))

    def moved_factors(self, factors: Iterable[tuple[Atom, int]], names: Mapping[str, Index]) -> Sum:
        return self.rebuilt_factors(factors, renaming(names))

    def rebuilt(self, part: Sum, move: Move, symbol: str | None = None) -> Sum:
        parts = []
        for product, coefficient in part.terms.items():
            if product.bound:
                names = {variable: self.fresh(set_of(variable)) for variable in product.bound}
                inner = self.rebuilt_factors(product.factors, _both(names, move), symbol)
                parts.append(times(coefficient, self.total(inner, names.values())))
            else:
                parts.append(times(coefficient, self.rebuilt_factors(product.factors, move, symbol)))
        return plus(*parts)

    def rebuilt_factors(self, factors: Iterable[tuple[Atom, int]], move: Move, symbol: str | None = None) -> Sum:
        simple: list[tuple[Atom, int]] = []
        sums: list[Sum] = []
        for atom, power in factors:
            whole = self.rebuilt_atom(atom, move, symbol)
            only = next(iter(whole.terms)) if len(whole.terms) == 1 else None
            if only is not None and not only.bound and whole.terms[only] == 1 and power != 0:
                simple += [(inner, p * power) for inner, p in only.factors]
            else:
                sums.append(self.power(whole, number(power)))
        result = self.product(Fraction(1), (), simple)
        for part in sums:
            result = self.multiply(result, part)
        return result

    def rebuilt_atom(self, atom: Atom, move: Move, symbol: str | None) -> Sum:
        if symbol is not None and symbol not in atom.symbols:
            symbol = None
        if atom.kind == "over":
            return self.of(self.rebuilt_over(atom, move, symbol))
        arguments = [self.rebuilt(argument, move, symbol) for argument in atom.arguments]
        indices = tuple(self.rebuilt_index(index, move, symbol) for index in atom.indices)
        match atom.kind:
            case "value" if atom.name == symbol:
                return plus(*(self.at(atom.name, part, indices) for part in self.terms_of(atom.name)))
            case "same":
                return self.same(*indices)
            case "positive":
                return self.positive(arguments[0])
            case "less":
                return self.less(arguments[0])
            case "zero":
                return self.zero(arguments[0])
            case "sum":
                return arguments[0]
            case "power":
                return self.power(*arguments)
        return self.of(Atom(atom.kind, atom.name, indices, tuple(arguments), atom.flag))

    def rebuilt_over(self, atom: Atom, move: Move, symbol: str | None) -> Atom:
        names = {variable: self.fresh(set_of(variable)) for variable in map(str, atom.indices)}
        parts = [self.rebuilt(part, _both(names, move), symbol) for part in atom.arguments]
        return self.over(atom.name, names.values(), *parts)

    def rebuilt_index(self, index: Index, move: Move, symbol: str | None) -> Index:
        if isinstance(index, str):
            return move(index)
        if index.kind == "over":
            return move(self.rebuilt_over(index, move, symbol))
        inner = tuple(self.rebuilt_index(one, move, symbol) for one in index.indices)
        if index.kind == "value" and index.name == symbol:
            definition = self.definitions[index.name]
            return move(self.index_of(definition.expression, dict(zip(definition.indices, inner, strict=True))))
        arguments = tuple(self.rebuilt(argument, move, symbol) for argument in index.arguments)
        return move(Atom(index.kind, index.name, inner, arguments))


def additive_terms(node: ir.Expression, sign: int = 1) -> Iterator[tuple[int, ir.Expression]]:
    """What an expression adds up, with the sign of each."""
    match node:
        case ir.Binary("+" | "-" as operator, left, right):
            yield from additive_terms(left, sign)
            yield from additive_terms(right, sign if operator == "+" else -sign)
        case ir.Unary("-", operand):
            yield from additive_terms(operand, -sign)
        case _:
            yield sign, node


def set_of(variable: str) -> str:
    """The agent type whose members a bound variable runs over."""
    return variable[1:].rpartition(".")[0]


def renaming(names: Mapping[str, Index]) -> Move:
    return lambda index: names.get(index, index) if isinstance(index, str) else index


def _unused(owner: str, taken: frozenset[str]) -> Iterator[str]:
    """The final names of variables that nothing in `taken` has, in order."""
    return (name for place in count() if (name := f"#{owner}.{place}") not in taken)


def _both(names: Mapping[str, str], move: Move) -> Move:
    return lambda index: names[index] if isinstance(index, str) and index in names else move(index)


def product_of(bound: Iterable[str], powers: Mapping[Atom, int]) -> Product:
    return Product(tuple(sorted(bound)), tuple(sorted(powers.items(), key=lambda pair: pair[0].text)))


def _lead(part: Sum) -> Fraction:
    """A number by which a sum that is not a plain number can be divided to tell it from its multiples.

    It is the same whatever the variables are called: the sum of all coefficients that only names of variables tell
    apart.
    """
    alike: dict[str, Fraction] = {}
    for product, coefficient in part.terms.items():
        if product.factors:
            words = " ".join(sorted(_WORD.findall(BOUND.sub("#", product.text))))
            alike[words] = alike.get(words, Fraction(0)) + coefficient
    leads = [alike[words] for words in sorted(alike) if alike[words]]
    return leads[0] if leads else max(map(abs, part.terms.values()))


def _consistent(powers: dict[Atom, int]) -> bool:
    """Whether the conditions among the factors can hold together; takes out those that others imply."""
    conditions = [atom for atom in powers if atom.kind in ("positive", "zero", "less")]
    for atom in conditions if len(conditions) > 1 else ():
        (inside,) = atom.arguments
        above = Atom("less", "", (), (inside,), True)
        below = Atom("less", "", (), (times(-1, inside),), True)
        zero = Atom("zero", "", (), (inside,), True)
        if below in powers or (atom.kind == "zero" and above in powers) or (atom.kind == "positive" and zero in powers):
            return False
        if atom.kind == "positive" and powers[atom] > 0:
            powers.pop(above, None)
    return True


def _canonical(bound: tuple[str, ...], free: frozenset[str], factors: list[tuple[Atom, int]]) -> dict[str, str]:
    """Names for bound variables that depend on how they are used only, and that no free one has."""
    owners: dict[str, list[str]] = {}
    for variable in bound:
        owners.setdefault(set_of(variable), []).append(variable)
    wanted = {}
    for owner, variables in owners.items():
        wanted[owner] = list(islice(_unused(owner, free), len(variables)))
    if all(len(variables) == 1 for variables in owners.values()):
        return {variables[0]: wanted[owner][0] for owner, variables in owners.items()}
    orders = [list(permutations(variables)) for variables in owners.values()]
    size = 1
    for order in orders:
        size *= len(order)
    if size > MAX_ORDERS:
        raise TooLarge
    texts = [f"{atom}^{power}" for atom, power in factors]
    best: tuple[list[str], dict[str, str]] | None = None
    for order in combinations(*orders):
        names = {
            variable: name
            for owner, variables in zip(owners, order, strict=True)
            for variable, name in zip(variables, wanted[owner], strict=True)
        }
        shown = sorted(BOUND.sub(lambda found: names.get(found.group(), found.group()), text) for text in texts)  # noqa: B023
        if best is None or shown < best[0]:
            best = (shown, names)
    assert best is not None
    return best[1]
