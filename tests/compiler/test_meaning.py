"""What the generated module computes is what the IR means, by an interpreter that shares nothing with the compiler."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import Phase, given, settings, strategies as st
from transitions import compare

from rbcc.compiler.source import shipped_models
from rbcc.runtime.economy.model import compile


MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml"))


@pytest.mark.parametrize("name", MODELS)
def test_shipped_models(name: str) -> None:
    """1000 random transitions: states, rewards, values, indicators, penalties, accounts and observations."""
    compare(compile(name), 1000)


# --- random small models: every construct of the language, over indices of one type and of two -----------------------

SPEC = """
rbcc: 1
model: random
horizon: 3
discount: 1
parameters: {{p: 1.5, open: true}}
state:
  z: 2
  s: {{start: uniform() + p}}
  boom: {{start: stationary, markov: {{rouwenhorst: {{persistence: 0.5, shock: 1, states: 3}}}}}}
agents:
  ant:
    index: [i, k, a]
    count: {ants}
    parameters:
      q: i - 0.5
      near: {{over: ant, value: 1 / (1 + abs(i - k))}}
      given: {{over: bee, value: {table}}}
    state:
      x: {{start: 3 + i + normal(), scale: 3}}
      f: {{start: i == 1}}
      m: {{over: ant, start: "{start}", scale: 2}}
      job: {{over: bee, start: 1, markov: {{values: [1, 0], transitions: [[0.5, 0.5], [0.25, 0.75]]}}}}
    actions:
      act: {{choices: [0, 1, 2.5]}}
      give: {{over: ant, choices: [0, 1]}}
      pick: {{choose: bee}}
      pal: {{choose: ant}}
      split: {{shares: bee}}
      due: {{shares: ant}}
    observes: [x, m, "m[k,i]", y, near, given, job, i, {{value: "{seen}", scale: 3}}, {{value: x, encode: digits}}]
    reward: {reward}
    constraints: {{limit: {{violation: "{violation}", scale: 4, at: end}}}}
  bee:
    index: [j, n, b]
    count: {bees}
    state:
      y: {{start: 2 * j + 1}}
      g: {{over: ant, start: j + 0 < i + 0}}
    actions:
      sell: {{choices: [1, 2]}}
      ask: {{over: ant, choose: ant}}
    observes: [y, g, z, boom, time, job]
    reward: y'[j]
equations:
  all: |
{equations}
identities: {{same: "{number} == {other}"}}
invariants: ["{flag}"]
indicators: {{mean: "{total}"}}
"""

NUMBERS: dict[str, tuple[str, ...]] = {
    "p": (), "z": (), "s": (), "time": (), "x": ("ant",), "q": ("ant",), "near": ("ant", "ant"), "m": ("ant", "ant"),
    "act": ("ant",), "give": ("ant", "ant"), "y": ("bee",), "sell": ("bee",), "boom": (), "job": ("ant", "bee"),
    "given": ("ant", "bee"), "split": ("ant", "bee"), "due": ("ant", "ant"),
}  # fmt: skip
KNOWN = {name: sets for name, sets in NUMBERS.items() if name not in ("act", "give", "sell", "split", "due")}
FLAGS: dict[str, tuple[str, ...]] = {"open": (), "f": ("ant",), "g": ("bee", "ant")}
CHOICES: dict[str, tuple[tuple[str, ...], str]] = {
    "pick": (("ant",), "bee"), "pal": (("ant",), "ant"), "ask": (("bee", "ant"), "ant"),
}  # fmt: skip
OTHERS = {"ant": "a", "bee": "b"}  # for the agent that has most or least of something
INDICES = {"i": "ant", "k": "ant", "j": "bee", "n": "bee"}


class Writer:
    """Writes random expressions over the indices in `bound`, as what is `known` at that place allows.

    Written numbers and choices have few binary digits, so that equal numbers are equal in any order of adding up.
    """

    def __init__(self, draw: Callable[..., Any], numbers: Mapping[str, tuple[str, ...]], chosen: bool, drawn: bool):
        self.draw, self.numbers, self.chosen, self.drawn = draw, dict(numbers), chosen, drawn
        self.flags = FLAGS

    def one_of(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def index(self, agent: str, bound: tuple[str, ...]) -> str:
        """An index of `agent`, or a choice of one; empty where there is none."""
        options = [index for index in bound if INDICES[index] == agent]
        choices = [name for name, (_, of) in CHOICES.items() if of == agent] if self.chosen else []
        options += [f"{name}{places}" for name in choices if (places := self.plain(CHOICES[name][0], bound))]
        given = [name for name, sets in self.numbers.items() if sets == (agent,) and name in NUMBERS]
        if options and given and self.draw(st.integers(0, 3)) == 0:
            other = OTHERS[agent]
            options = [f"{self.one_of('argmax', 'argmin')}({other}, {self.one_of(*given)}[{other}])"]
        return self.one_of(*options) if options else ""

    def plain(self, sets: tuple[str, ...], bound: tuple[str, ...]) -> str:
        options = [[index for index in bound if INDICES[index] == agent] for agent in sets]
        return bracket([self.one_of(*some) for some in options]) if all(options) else ""

    def read(self, table: Mapping[str, tuple[str, ...]], bound: tuple[str, ...]) -> str:
        reach = {INDICES[index] for index in bound}
        name = self.one_of(*(name for name, sets in table.items() if set(sets) <= reach))
        return name + bracket([self.index(agent, bound) for agent in table[name]])

    def matches(self, bound: tuple[str, ...], free: tuple[str, ...]) -> list[tuple[str, str, str]]:
        """(index, choice, member) where the agents of a free index choose members like a bound one."""
        triples = itertools.product(free, ("pick", "pal"), bound)
        return [(i, c, m) for i, c, m in triples if self.chosen and CHOICES[c] == ((INDICES[i],), INDICES[m])]

    def number(self, bound: tuple[str, ...], depth: int) -> str:
        if depth == 0:
            return self.one_of(
                self.read(self.numbers, bound), self.one_of("2", "0.5", *(f"1 * {index}" for index in bound))
            )
        a, b, c = self.number(bound, depth - 1), self.number(bound, 0), self.number(bound, 0)
        free = tuple(index for index in INDICES if index not in bound)
        kinds = ["binary", "binary", "if", "function", "flag", "power", *["reduce", "reduce"] * bool(free)]
        matches = self.matches(bound, free)
        kinds += ["match", "match"] * bool(matches)
        match self.one_of(*kinds, *["draw"] * self.drawn):
            case "binary":
                return f"({a} {self.one_of('+', '-', '*')} {self.number(bound, depth - 1)})"
            case "if":
                return f"({a} if {self.flag(bound, depth - 1)} else {self.number(bound, depth - 1)})"
            case "flag":
                return f"({a} * ({self.flag(bound, depth - 1)}))"
            case "power":
                return self.one_of(f"({a})^2", f"(1 + abs({a}))^0.5", f"(1 + abs({a}))^-{b}")
            case "draw":
                return self.one_of(
                    f"({a} + normal())", f"uniform() * {a}", f"({a} if bernoulli(0.25) else 1)", f"pareto(2) * {a}",
                    f"lognormal(0.5, abs({b}) / (1 + abs({b})))", f"({a} - exponential())",
                )  # fmt: skip
            case "match":  # a sum by segments, where there are many to choose from
                index, choice, member = self.draw(st.sampled_from(matches))
                body = self.one_of(self.number((*bound, index), depth - 1), self.read(self.numbers, (index,)))
                return f"sum({index} where {choice}[{index}] == {member}, {body})"
            case "reduce":
                index = self.one_of(*free)
                # What does not depend on the index is refused: a sum over nothing.
                body = f"({self.number((*bound, index), depth - 1)} + 0 * {index})"
                condition = f"({self.flag((*bound, index), depth - 1)} and {index} >= 0)"
                return self.one_of(
                    f"sum({index}, {body})", f"mean({index}, {body})", f"min({index}, {body})", f"max({index}, {body})",
                    f"product({index}, {body})", f"sum({index} where {condition}, {body})",
                    f"product({index} where {condition}, {body})", f"count({index} where {condition})",
                    f"gini({index}, {body})", f"median({index}, {body})", f"top_share({index}, {body}, 0.25)",
                    f"quantile({index}, {body}, 1 / (1 + abs({b})))",
                )  # fmt: skip
        return self.one_of(
            f"min({a}, {b})", f"max({a}, {b}, {c})", f"abs({a})", f"clip({a}, -1, {b})", f"sign({a})", f"floor({a})",
            f"tanh({a})", f"exp(-abs({a}))", f"log(1 + abs({a}))", f"sqrt(abs({a}))", f"crra(1 + abs({a}), 0.5)",
            f"cara({b}, 0.5)", f"ration({a}, abs({b}))", f"-{a}", f"cobb_douglas(abs({a}) + 1, abs({b}) + 1, 0.25)",
            f"({a} / (1 + abs({b})))", f"cycle({self.one_of('time', *bound)}, {b}, {c}, 3)",
            f"steps({a}, {b}, 0, {c}, 1, 2)",
        )  # fmt: skip

    def flag(self, bound: tuple[str, ...], depth: int) -> str:
        if depth == 0:
            return self.read(self.flags, bound)
        a, b = self.number(bound, depth - 1), self.number(bound, 0)
        one, other = self.flag(bound, depth - 1), self.flag(bound, depth - 1)
        options = [f"{a} {comparison} {b}" for comparison in ("<", "<=", ">", ">=", "==", "!=")]
        options += [f"0 <= {a} < {b}", f"({one} and {other})", f"({one} or {other})", f"(not {one})"]
        options += [f"{self.index(INDICES[index], bound)} == {index}" for index in bound]
        return self.one_of(*options)

    def indices(self) -> tuple[str, ...]:
        return tuple(self.draw(st.lists(st.sampled_from(list(INDICES)), max_size=3, unique=True)))

    def equations(self) -> Iterator[str]:
        for number in range(3):
            bound = self.indices()
            yield f"v{number}{bracket(bound)} = {self.number(bound, 3)}"
            self.numbers[f"v{number}"] = tuple(INDICES[index] for index in bound)
        for name, bound in {"z": (), "s": (), "x": ("i",), "m": ("k", "i"), "y": ("j",)}.items():
            yield f"{name}'{bracket(bound)} = {self.number(bound, 2)}"
        yield f"f'[i] = {self.flag(('i',), 2)}"
        yield f"g'[n, k] = {self.flag(('n', 'k'), 2)}"


def bracket(indices: Sequence[str]) -> str:
    return f"[{', '.join(indices)}]" if indices else ""


@st.composite
def specs(draw: Callable[..., Any]) -> str:
    start = Writer(draw, {"p": (), "q": ("ant",), "near": ("ant", "ant")}, chosen=False, drawn=True)
    start.flags = {"open": ()}
    known = Writer(draw, KNOWN, chosen=False, drawn=False)
    within = Writer(draw, NUMBERS, chosen=True, drawn=True)
    equations = "\n".join(f"    {line}" for line in within.equations())
    after = Writer(draw, within.numbers, chosen=True, drawn=False)
    bound = after.indices()
    ants, bees = draw(st.sampled_from([(3, 2), (2, 7), (7, 1)]))
    table = [[draw(st.integers(-3, 3)) for _ in range(bees)] for _ in range(ants)]
    return SPEC.format(
        ants=ants, bees=bees, table=table, start=start.number(("i", "k"), 1),
        seen=known.number(("i",), 2), reward=within.number(("i",), 2), violation=after.number(("i",), 2),
        equations=equations, number=after.number(bound, 2), other=after.number(bound, 1), flag=after.flag(bound, 2),
        total=after.number((), 2),
    )  # fmt: skip


def check(folder: pytest.TempPathFactory, text: str) -> None:
    path = folder.getbasetemp() / "random.yaml"
    path.write_text(text, encoding="utf-8")
    compare(compile(path), 20)


# To shrink a failing model takes minutes: most of the time goes into compiling.
few = settings(deadline=None, derandomize=True, phases=[Phase.generate])


@settings(few, max_examples=12)
@given(text=specs())
def test_random_models(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    check(tmp_path_factory, text)


@pytest.mark.slow
@settings(few, max_examples=200, derandomize=False)
@given(text=specs())
def test_many_random_models(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    check(tmp_path_factory, text)
