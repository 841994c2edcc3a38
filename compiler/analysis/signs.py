"""Which values of a model are surely above 0 in every episode, whatever is drawn and chosen."""

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import replace
from enum import IntEnum
from fractions import Fraction
from typing import Any

from rbcc.compiler import ir
from rbcc.compiler.analysis.intervals import Interval, Ranges
from rbcc.compiler.ir.constants import constant, literal_value


class Sign(IntEnum):
    """What is known of a value, from less to more."""

    ANY = 0
    NOT_NEGATIVE = 1
    POSITIVE = 2


def positive(model: ir.Model) -> set[str]:
    """The names of the indicators that are surely above 0, with the parameters of the spec.

    That follows from signs: of sums and products, of choices and starts, and of states that stay positive if they are;
    and from logarithms and other functions that the model takes of values, whose results are finite in every run.
    """
    signs = _Signs(model)
    return {one.name for one in model.indicators if signs.of(one.expression) is Sign.POSITIVE}


def allowed(model: ir.Model) -> tuple[dict[str, float], set[str]]:
    """For actions with a condition a choice that is surely always allowed, where there is one; those that have none
    that ever is."""
    restricted = [action for action in model.actions if action.where is not None]
    annealed = {one.name for phase in model.phases for one in phase.anneal}
    needs = {one.symbol: ir.references(one.expression) for one in model.parameters}
    while more := {name for name, read in needs.items() if read & annealed} - annealed:
        annealed |= more
    trusted = {action.symbol for action in restricted}
    while True:
        signs, always = _Signs(model, trusted, annealed, runs=False), dict[str, float]()
        never: set[str] = set()
        for action in restricted:
            # Nearest to 0 first: doing nothing is what can be done most often.
            choices = sorted(action.choices, key=lambda choice: (abs(choice), choice))[:TRIED]
            truths = {choice: signs.truth(_with_choice(action, choice)) for choice in choices}
            if sure := [choice for choice in choices if truths[choice]]:
                always[action.symbol] = sure[0]
            if len(truths) == action.size and all(truth is False for truth in truths.values()):
                never.add(action.symbol)
        # What was played may only be trusted to fulfil a condition where there is always a choice that does.
        if trusted == always.keys():
            return always, never
        trusted = trusted & always.keys()


TRIED = 64
"""So many choices of an action are tried at most."""


def _with_choice(action: ir.Action, choice: float) -> ir.Expression:
    """The condition of an action for one of its choices."""

    def chosen(node: ir.Expression) -> ir.Expression:
        if not isinstance(node, ir.Reference) or node.symbol != action.symbol:
            return node
        return node if action.of is not None else replace(constant(Fraction(choice)), type=replace(node.type, axes=()))

    return ir.rebuild(action.where, chosen)


class _Signs:
    """Signs of all that a model computes.

    The choices of actions `trusted` fulfil their conditions; parameters `unknown` may have any value; if the model
    `runs`, all that it computes is finite.
    """

    def __init__(self, model: ir.Model, trusted: Container[str] = (), unknown: Collection[str] = (), runs: bool = True):
        self.model, self.ranges = model, Ranges(model)
        self.ranges.fixed |= dict.fromkeys(unknown)
        self.definitions = {definition.symbol: definition for definition in model.equations}
        self.fixed: dict[str, Interval | None] = dict(self.ranges.fixed)
        self.fixed["time"] = Interval(0, model.horizon - 1)
        self.ends: dict[tuple[str, tuple[Any, ...]], ir.Expression] = {}
        for action in model.actions:
            self.fixed[action.symbol] = self.interval(action)
            if action.bounds:
                self.ends[action.symbol, model.symbol(action.symbol).type.axes] = action.bounds[1]
            elif action.symbol in trusted or action.always is not None:
                place = action.symbol, model.symbol(action.symbol).type.axes
                self.ends |= [(place, end) for end in _most(action)]
        self.found: dict[str, Sign] = {}
        parameters = {one.symbol: self.of(one.expression) for one in model.parameters if one.symbol not in unknown}
        starts = {one.symbol: self.of(one.expression) for one in model.starts}
        chosen = {a.symbol: self.of(a.bounds[0]) for a in model.actions if a.bounds}
        states = dict(starts)
        while True:  # until no state can lose its sign in a step in which all have theirs
            self.found = {**parameters, **chosen, **states}
            domains = dict(self.domains()) if runs else {}
            self.found |= {name: max(sign, domains.get(name, Sign.ANY)) for name, sign in states.items()}
            for definition in model.equations:
                known = domains.get(definition.symbol, Sign.ANY)
                self.found[definition.symbol] = max(self.of(definition.expression), known)
            later = {name: min(sign, self.found[f"{name}'"]) for name, sign in states.items()}
            if later == states:
                return
            states = later

    def interval(self, action: ir.Action) -> Interval | None:
        if action.bounds is None:
            return self.ranges.choices(action.symbol)
        low, high = (self.ranges.of(end, self.ranges.fixed) for end in action.bounds)
        return Interval(low.low, high.high) if low and high else None

    def of(self, node: ir.Expression) -> Sign:
        range_ = self.ranges.of(node, self.fixed)
        if range_ is not None and range_.low >= 0:
            return Sign.POSITIVE if range_.low > 0 else max(Sign.NOT_NEGATIVE, self.structural(node))
        return self.structural(node)

    def structural(self, node: ir.Expression) -> Sign:
        of = self.of
        match node:
            case ir.Reference(symbol):
                return self.found.get(symbol, Sign.ANY)
            case ir.Binary("+", left, right):
                signs = of(left), of(right)
                return max(signs) if min(signs) else Sign.ANY
            case ir.Binary("-"):
                return self.difference(node)
            case ir.Binary("*", left, right):
                return min(of(left), of(right))
            case ir.Binary("/", left, right):
                return of(left) if of(right) else Sign.ANY
            case ir.Binary("^", base, exponent):
                power = literal_value(exponent)
                even = power is not None and power.denominator == 1 and power % 2 == 0
                return max(of(base), Sign.NOT_NEGATIVE) if even else of(base)
            case ir.Conditional(_, then, otherwise):
                return min(of(then), of(otherwise))
            case ir.Apply(function, arguments):
                return self.applied(function, [of(argument) for argument in arguments])
            case ir.Root(symbol, system=system):
                return next(of(one.low) for one in system.unknowns if one.symbol == symbol)
            case ir.Reduce("count" | "gini" | "argmax" | "argmin"):
                return Sign.NOT_NEGATIVE
            case ir.Reduce("top_share", body=body, level=level) if level is not None:
                return of(level) if of(body) else Sign.ANY
            case ir.Reduce("sum", condition=condition, body=body) if condition is not None:
                return min(of(body), Sign.NOT_NEGATIVE)
            case ir.Reduce(body=body):
                return of(body)
        return Sign.ANY

    def truth(self, node: ir.Expression) -> bool | None:
        """Whether a condition is true in every case, or false in every; None if that is not known."""
        match node:
            case ir.Constant(bool() as value):
                return value
            case ir.Unary("not", operand):
                inner = self.truth(operand)
                return None if inner is None else not inner
            case ir.Binary("and" | "or" as operator, left, right):
                sides, deciding = {self.truth(left), self.truth(right)}, operator == "or"
                return deciding if deciding in sides else None if None in sides else not deciding
            case ir.Binary("<=" | "<" | ">=" | ">" as operator, left, right):
                small, large = (left, right) if operator in ("<=", "<") else (right, left)
                # Whether the one is at most, or less than, the other; and the other way round, by which it is not.
                strict = operator in ("<", ">")
                if self.gap(small, large) >= (Sign.POSITIVE if strict else Sign.NOT_NEGATIVE):
                    return True
                return False if self.gap(large, small) >= (Sign.NOT_NEGATIVE if strict else Sign.POSITIVE) else None
        return None

    def gap(self, small: ir.Expression, large: ir.Expression) -> Sign:
        """The sign of `large` less `small`."""
        if literal_value(small) == 0:
            return self.of(large)
        low, high = self.ranges.of(small, self.fixed), self.ranges.of(large, self.fixed)
        if low is not None and high is not None and high.low >= low.high:
            return Sign.POSITIVE if high.low > low.high else Sign.NOT_NEGATIVE
        return self.of(ir.Binary("-", large, small, ir.joined(large, small)))

    @staticmethod
    def applied(function: str, signs: list[Sign]) -> Sign:
        match function:
            case "exp":
                return Sign.POSITIVE
            case "abs":
                return max(signs[0], Sign.NOT_NEGATIVE)
            case "sqrt" | "tanh":
                return signs[0]
            case "max":
                return max(signs)
            case "min":
                return min(signs)
            case "clip":
                return min(max(signs[:2]), signs[2])
            case "cobb_douglas":
                return min(signs[:2])
            case "cycle":
                return min(signs[1:])
            case "steps":
                return min(signs[1::2])
        return Sign.ANY

    def difference(self, node: ir.Binary) -> Sign:
        """Of a - b where b is chosen from an interval up to a, or where both have a factor: c (1 - s) from c - s c."""
        if isinstance(node.right, ir.Reference) and node.left == self.ends.get((node.right.symbol, node.right.indices)):
            return Sign.NOT_NEGATIVE
        left, right = self.factors(node.left), self.factors(node.right)
        common = [factor for factor in left if factor in right]
        if not common:
            return Sign.ANY
        for factor in common:
            left.remove(factor)
            if factor in right:
                right.remove(factor)
        if not left and not right:  # a - a
            return Sign.NOT_NEGATIVE
        rest = ir.Binary("-", _product(left), _product(right), node.type)
        return min(*(self.of(factor) for factor in common), self.of(rest))

    def factors(self, node: ir.Expression) -> list[ir.Expression]:
        """The factors of a product, or of the value of an equation that is one."""
        if isinstance(node, ir.Reference) and (definition := self.definitions.get(node.symbol)) is not None:
            whole = definition.expression
            if isinstance(whole, ir.Binary) and whole.operator == "*" and definition.indices == node.indices:
                return self.factors(whole)
        if isinstance(node, ir.Binary) and node.operator == "*":
            return self.factors(node.left) + self.factors(node.right)
        return [node]

    def domains(self) -> Iterable[tuple[str, Sign]]:
        """The symbols whose sign follows from what is computed of them in any case."""
        pending = [definition.expression for definition in self.model.equations]
        pending += [feature.expression for seen in self.model.observations for feature in seen.features]
        while pending:
            node = pending.pop()
            match node:
                case ir.Apply("log" | "crra", (argument, *_)):
                    yield from self.inside(argument, Sign.POSITIVE)
                case ir.Apply("sqrt", (argument,)):
                    yield from self.inside(argument, Sign.NOT_NEGATIVE)
            if isinstance(node, ir.Conditional):
                pending.append(node.condition)
            elif isinstance(node, ir.Root):
                continue  # it need not hold for values that are only tried
            elif not (isinstance(node, ir.Reduce) and node.condition is not None):
                pending += ir.children(node)

    def inside(self, node: ir.Expression, sign: Sign) -> Iterable[tuple[str, Sign]]:
        match node:
            case ir.Reference(symbol, indices) if all(isinstance(index, str) for index in indices):
                yield symbol, sign
            case ir.Binary("*" | "/", left, right):
                if self.of(right) is Sign.POSITIVE:
                    yield from self.inside(left, sign)
                elif self.of(left) is Sign.POSITIVE:
                    yield from self.inside(right, sign)


def _most(action: ir.Action) -> Iterator[ir.Expression]:
    """What the choices of an action are at most, by its condition: `x` in `choice <= x and ...`."""
    pending = [] if action.where is None else [action.where]
    while pending:
        match pending.pop():
            case ir.Binary("and", left, right):
                pending += [right, left]
            case ir.Binary("<=" | "<", ir.Reference(symbol), end) | ir.Binary(">=" | ">", end, ir.Reference(symbol)):
                if symbol == action.symbol and action.symbol not in ir.references(end):
                    yield end


def _product(factors: list[ir.Expression]) -> ir.Expression:
    result: ir.Expression = constant(Fraction(1))
    for factor in factors:
        result = factor if isinstance(result, ir.Constant) else ir.Binary("*", result, factor, factor.type)
    return result
