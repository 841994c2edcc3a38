"""Sums of products mean what the expressions mean that they are made from."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from rbcc.compiler import ir
from rbcc.compiler.analysis.accounting.normal_form import Algebra, Atom, Sum, TooLarge
from rbcc.compiler.analysis.accounting.polynomial_division import reduced
from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.ir.types import Kind


HEAD = """
rbcc: 1
model: random
horizon: 2
discount: 1
parameters: {c: 2, d: 3}
agents:
  one:
    index: [i, k, a]
    count: 3
    state: {x: 1, m: 2, open: {start: true}}
    actions: {pick: {choose: two}, h: {choices: [0, 1, 2]}}
    observes: [x]
    reward: x[i]
  two:
    index: [j, l, b]
    count: 2
    state: {y: 1, z: {start: 1, over: one}}
    actions: {g: {choices: [0, 1, 2]}}
    observes: [y]
    reward: y[j]
equations:
  states: |
    x'[i] = x[i]
    m'[i] = m[i]
    open'[i] = open[i]
    y'[j] = y[j]
    z'[j,i] = z[j,i]
  values: |
"""
OWNERS = {"i": "one", "k": "one", "j": "two", "l": "two"}
COUNTS = {"one": 3, "two": 2}


class Author:
    """Writes random expressions over the names above and the values written so far."""

    def __init__(self, random: random.Random):
        self.random = random
        self.values: dict[str, tuple[str, ...]] = {}

    def spec(self) -> str:
        lines = []
        for name in ("av", "bv", "cv"):
            indices = self.random.choice([(), ("i",), ("j",), ("i", "j")])
            left = f"{name}[{', '.join(indices)}]" if indices else name
            lines.append(f"    {left} = {self.number(self.random.choice([1, 2, 3]), list(indices))}")
            self.values[name] = indices
        return HEAD + "\n".join(lines) + f'\nidentities: {{claim: "{self.number(3, [])} == 0"}}\n'

    def leaf(self, free: list[str]) -> str:
        one, two = ([index for index in free if OWNERS[index] == owner] for owner in COUNTS)
        found = ["c", "d", "2", "1/3", "0", "1"]
        for i in one:
            found += [f"x[{i}]", f"m[{i}]", f"h[{i}]", f"y[pick[{i}]]", f"z[pick[{i}], {i}]", f"open[{i}]", i]
            found += [f"z[argmax(b, y[b] * c), {i}]", f"x[argmin(a, z[pick[{i}], a])]"]
            found += [part for j in two for part in (f"z[{j}, {i}]", f"(pick[{i}] == {j})")]
        found += [part for j in two for part in (f"y[{j}]", f"g[{j}]")]
        values = []
        for name, indices in self.values.items():
            pools = [one if OWNERS[index] == "one" else two for index in indices]
            if all(pools):
                values.append(f"{name}[{', '.join(map(self.random.choice, pools))}]" if indices else name)
            if indices == ("j",) and one:
                values.append(f"{name}[pick[{self.random.choice(one)}]]")
        return self.random.choice(values if values and self.random.random() < 0.5 else found)

    def number(self, depth: int, free: list[str]) -> str:
        if depth <= 0 or self.random.random() < 0.15:
            return self.leaf(free)

        def part() -> str:
            return self.number(depth - 1, free)

        match self.random.choice("++--***/max?^overover"):
            case "/":
                total = [f"sum({index}, x[{index}])" for index in ("i", "k") if index not in free][:1]
                return f"({part()} / {self.random.choice(['c', '2', *(f'(x[{i}] + m[{i}])' for i in free if i in 'ik'), *total])})"
            case "m":
                return f"{self.random.choice(['max', 'min'])}({part()}, {part()})"
            case "a":
                return self.random.choice([f"abs({part()})", f"clip({part()}, 0, {part()})"])
            case "x" | "^":
                return self.random.choice([f"({part()})^{self.random.choice([2, 3])}", f"crra({part()}, c)"])
            case "?":
                return f"({part()} if {self.condition(depth - 1, free)} else {part()})"
            case "+" | "-" | "*" as operator:
                return f"({part()} {operator} {part()})"
        unused = [index for index in OWNERS if index not in free]
        if not unused:
            return part()
        index = self.random.choice(unused)
        inner = [*free, index]
        over = self.random.choice(["sum", "sum", "sum", "mean", "max", "min", "product", "gini", "quantile"])
        where = f" where {self.condition(depth - 1, inner)}" if over == "sum" and self.random.random() < 0.6 else ""
        own = self.random.choice(["x", "m", "h"] if OWNERS[index] == "one" else ["y", "g"])
        operator = self.random.choice("+*")  # a sum over an index that nothing in it has is a mistake
        level = ", d / 5" if over == "quantile" else ""
        return f"{over}({index}{where}, {self.number(depth - 1, inner)} {operator} {own}[{index}]{level})"

    def condition(self, depth: int, free: list[str]) -> str:
        one, two = ([index for index in free if OWNERS[index] == owner] for owner in COUNTS)
        comparison = self.random.choice(["<", ">", "<=", ">=", "==", "!="])
        found = [f"{self.number(depth - 1, free)} {comparison} {self.number(depth - 1, free)}"]
        found += [f"open[{i}]" for i in one] + [f"not open[{i}]" for i in one]
        found += [f"pick[{i}] {op} {j}" for i in one for j in two for op in ("==", "==", "!=")]
        found += [f"{pair[0]} == {pair[1]}" for pair in (one, two) if len(pair) == 2]
        found += [f"pick[{one[0]}] == pick[{one[1]}]"] if len(one) == 2 else []
        text = self.random.choice(found)
        if depth > 0 and self.random.random() < 0.25:
            return f"({text}) {self.random.choice(['and', 'or'])} ({self.condition(depth - 1, free)})"
        return text


class Undefined(Exception):
    """A division by zero."""


class Economy:
    """Values of expressions and of sums at one random state, in fractions; unknown functions have random values."""

    def __init__(self, model: ir.Model, seed: int):
        self.model, self.random = model, random.Random(seed)
        self.definitions = {definition.symbol: definition for definition in model.equations}
        self.known: dict[Any, Any] = {}

    def symbol(self, name: str, indices: tuple[int, ...]) -> Fraction | int:
        if name in self.definitions:
            definition = self.definitions[name]
            return self.value(definition.expression, dict(zip(definition.indices, indices, strict=True)))
        kind = self.model.symbol(name).type
        drawn = {
            Kind.CHOICE: lambda: self.random.randrange(COUNTS.get(kind.of or "", 1)),
            Kind.FLAG: lambda: Fraction(self.random.randrange(2)),
        }.get(kind.kind, lambda: Fraction(self.random.randrange(-6, 7), self.random.choice([1, 2, 3])))
        return self.known.setdefault((name, indices), drawn())

    def function(self, name: str, arguments: list[Fraction]) -> Fraction:
        return self.known.setdefault((name, *arguments), Fraction(self.random.randrange(-9, 9)))

    def value(self, node: ir.Expression, at: Mapping[str, int]) -> Any:
        match node:
            case ir.Constant(value):
                return Fraction(value)
            case ir.IndexValue(index):
                return Fraction(at[index])
            case ir.Reference(symbol, indices):
                return self.symbol(symbol, tuple(at[i] if isinstance(i, str) else self.value(i, at) for i in indices))
            case ir.Unary(operator, operand):
                return 1 - self.value(operand, at) if operator == "not" else -self.value(operand, at)
            case ir.Binary(operator, left, right):
                return _OPERATORS[operator](self.value(left, at), self.value(right, at))
            case ir.Conditional(condition, then, otherwise):
                yes, no = self.value(then, at), self.value(otherwise, at)
                return yes if self.value(condition, at) else no
            case ir.Apply(function, arguments):
                values = [self.value(argument, at) for argument in arguments]
                known = {"max": max, "min": min, "abs": abs, "clip": lambda x, low, high: min(max(x, low), high)}
                return known[function](*values) if function in known else self.function(function, values)
            case ir.Reduce(operator, indices, condition, body, level=level):
                places = list(self.places(dict(at), [(index, self.model.set_of(index)) for index in indices]))
                values = [self.value(body, p) for p in places if condition is None or self.value(condition, p)]
                return self.reduced(operator, values, [] if level is None else [self.value(level, at)])
        raise TypeError(node)

    def reduced(self, operator: str, values: list[Fraction], level: list[Fraction]) -> Fraction | int:
        """What proofs know of a Gini coefficient or a quantile is that the order of agents does not matter."""
        if operator in _REDUCTIONS:
            return _REDUCTIONS[operator](values)
        return self.function(operator, [*sorted(values), *level])

    def places(self, at: dict[str, int], variables: list[tuple[str, str]]) -> Iterator[dict[str, int]]:
        if not variables:
            yield at
            return
        (variable, owner), *rest = variables
        for place in range(COUNTS[owner]):
            yield from self.places({**at, variable: place}, rest)

    def total(self, whole: Sum, at: Mapping[str, int]) -> Fraction:
        found = Fraction(0)
        for product, coefficient in whole.terms.items():
            variables = [(name, name[1:].rpartition(".")[0]) for name in product.bound]
            for place in self.places(dict(at), variables):
                factor = Fraction(1)
                for atom, power in product.factors:
                    factor *= _power(self.atom(atom, place), Fraction(power))
                found += coefficient * factor
        return found

    def member(self, index: str | Atom, at: Mapping[str, int]) -> int:
        if isinstance(index, str):
            return at[index]
        if index.kind == "over":
            return int(self.atom(index, at))
        return int(self.symbol(index.name, tuple(self.member(inner, at) for inner in index.indices)))

    def atom(self, atom: Atom, at: Mapping[str, int]) -> Fraction:
        if atom.kind == "over":
            variables = [(str(name), str(name)[1:].rpartition(".")[0]) for name in atom.indices]
            body, condition, *level = atom.arguments
            places = list(self.places(dict(at), variables))
            values = [self.total(body, p) for p in places if self.total(condition, p)]
            return Fraction(self.reduced(atom.name, values, [self.total(one, at) for one in level]))
        members = [self.member(index, at) for index in atom.indices]
        arguments = [self.total(argument, at) for argument in atom.arguments]
        meaning: dict[str, Callable[[], Any]] = {
            "value": lambda: self.symbol(atom.name, tuple(members)),
            "index": lambda: members[0],
            "same": lambda: members[0] == members[1],
            "positive": lambda: max(arguments[0], Fraction(0)),
            "less": lambda: arguments[0] > 0,
            "zero": lambda: arguments[0] == 0,
            "sum": lambda: arguments[0],
            "power": lambda: _power(*arguments),
            "apply": lambda: self.function(atom.name, arguments),
        }
        return Fraction(meaning[atom.kind]())


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if base == 0 and exponent < 0:
        raise Undefined
    return base ** int(exponent)


def _divided(a: Fraction, b: Fraction) -> Fraction:
    if b == 0:
        raise Undefined
    return a / b


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divided,
    "^": _power,
    "and": lambda a, b: a * b,
    "or": max,
    "<": lambda a, b: Fraction(a < b),
    ">": lambda a, b: Fraction(a > b),
    "<=": lambda a, b: Fraction(a <= b),
    ">=": lambda a, b: Fraction(a >= b),
    "==": lambda a, b: Fraction(a == b),
    "!=": lambda a, b: Fraction(a != b),
}
_REDUCTIONS: dict[str, Callable[[list[Fraction]], Fraction]] = {
    "sum": lambda values: sum(values, Fraction(0)),
    "mean": lambda values: sum(values, Fraction(0)) / len(values),
    "product": lambda values: math.prod(values, start=Fraction(1)),
    "argmax": lambda values: Fraction(values.index(max(values))),
    "argmin": lambda values: Fraction(values.index(min(values))),
    "max": max,
    "min": min,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@given(st.randoms(use_true_random=False), st.integers(0, 1000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_stage_of_a_sum_has_the_value_of_the_expression(folder: Path, source: random.Random, seed: int) -> None:
    path = folder / "model.yaml"
    path.write_text(Author(source).spec())
    try:
        model = compile_spec(path).model
    except CompileError:
        return
    claim, algebra, economy = model.identities[0].left, Algebra(model), Economy(model, seed)
    try:
        stages = [algebra.sum_of(claim)]
        while (symbol := algebra.latest(stages[-1].symbols)) is not None:
            stages.append(reduced(algebra, algebra.expand(stages[-1], symbol)))
        wanted = economy.value(claim, {})
        for stage in stages:
            assert economy.total(stage, {}) == wanted, stage.text
    except (Undefined, TooLarge):
        pass


def test_work_is_bounded(folder: Path) -> None:
    """Products of sums that would have 10^15 terms are given up."""
    path = folder / "large.yaml"
    lines = [f"    v{n} = (v{n - 1} + c * v{n - 1} + d)^4 * (v{n - 1} + 1)" for n in range(1, 8)]
    path.write_text(HEAD + "    v0 = sum(i, x[i]) + c\n" + "\n".join(lines) + "\nidentities: {claim: v7 == 0}\n")
    model = compile_spec(path).model
    algebra = Algebra(model)
    whole = algebra.sum_of(model.identities[0].left)

    def expanded(whole: Sum) -> Sum:
        symbol = algebra.latest(whole.symbols)
        return whole if symbol is None else expanded(algebra.expand(whole, symbol))

    with pytest.raises(TooLarge):
        expanded(whole)
