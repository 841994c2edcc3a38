"""What the generated module computes, against NumPy written by hand."""

import ast
import builtins
import os
import re
import subprocess
import sys
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler import ir
from rbcc.compiler.backends.jax.mangle import local_names
from rbcc.compiler.backends.jax.module import emit
from rbcc.compiler.backends.jax.statistics import HELPERS
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.optimize import optimise
from rbcc.compiler.semantics.reserved import MODULE_NAMES
from rbcc.compiler.source import shipped_models
from rbcc.runtime.economy.model import Model, compile


HEAD = """
rbcc: 1
model: m
horizon: 3
discount: 1
agents:
  baker:
    index: [i, k]
    count: {bakers}
    state:
      flour: {{start: 10 + i}}
      tired: {{start: i == 1}}
      debt: {{start: 10 * i, over: baker}}
    actions:
      bread: {{over: mill, choices: [0, 1, 2]}}
      mill: {{choose: mill}}
    reward: flour'[i]
  mill:
    index: j
    count: {mills}
    state:
      stock: {{start: 100 * (j + 1)}}
    actions: {{grind: {{choices: [1, 5]}}}}
    reward: stock[j]
  town:
    count: 1
    state: {{mood: 0.5}}
    actions: {{feast: {{choices: [0, 1]}}}}
    reward: mood
equations:
  all: |
    flour'[i] = flour[i]
    tired'[i] = not tired[i]
    debt'[i,k] = debt[i,k]
    stock'[j] = stock[j]
    mood' = mood
    {equations}
"""

KEY = jax.random.key(3)


def build(write: Any, *equations: str, bakers: int = 4, mills: int = 3) -> Model:
    return compile(write(HEAD.format(equations="\n    ".join(equations), bakers=bakers, mills=mills)))


def values(model: Model) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(inputs, values of the equations) of a random step."""
    state = model.reset(KEY)
    actions = model.sample(state, KEY)
    _, outcome = model.step(state, actions, KEY)
    inputs = {**state, **actions}
    return {k.partition(".")[2]: np.asarray(v) for k, v in inputs.items()}, jax.tree.map(np.asarray, outcome.values)


SIZES = [(4, 3), (2, 5), (1, 1), (3, 3), (30, 9)]


@pytest.mark.parametrize(("bakers", "mills"), SIZES)
def test_axes_and_reductions(write_spec, bakers: int, mills: int) -> None:
    model = build(
        write_spec,
        "a[i] = sum(j, bread[i,j] * stock[j])",
        "b[j] = sum(i, bread[i,j])",
        "c[j,i] = bread[i,j] + stock[j] * flour[i]",
        "d = sum(i, j, bread[i,j])",
        "e[j] = max(i, bread[i,j]) - min(i, bread[i,j])",
        "f[i] = product(j, bread[i,j] + 1)",
        "g = mean(i, flour[i])",
        "h[i] = sum(j where j >= 0, flour[i])",
        "m[i] = count(j where bread[i,j] > 0)",
        "n[i] = product(j where j >= 0, 2)",
        "o = count(i where tired[i])",
        bakers=bakers,
        mills=mills,
    )
    x, y = values(model)
    bread, stock, flour = x["bread"], x["stock"], x["flour"]
    assert bread.shape == (bakers, mills)
    assert np.allclose(y["a"], bread @ stock)
    assert np.allclose(y["b"], bread.sum(0))
    assert np.allclose(y["c"], (bread + stock * flour[:, None]).T)
    assert np.allclose(y["d"], bread.sum())
    assert np.allclose(y["e"], np.ptp(bread, axis=0))
    assert np.allclose(y["f"], (bread + 1).prod(1))
    assert np.allclose(y["g"], flour.mean())
    assert np.allclose(y["h"], mills * flour)
    assert np.allclose(y["m"], (bread > 0).sum(1))
    assert np.allclose(y["n"], 2**mills)
    assert np.allclose(y["o"], x["tired"].sum())


@pytest.mark.parametrize("threshold", [0, 10**9])
@pytest.mark.parametrize(("bakers", "mills"), SIZES)
def test_lookups_and_matching_sums(write_spec, monkeypatch, bakers: int, mills: int, threshold: int) -> None:
    """Both ways of matching agents with the members they choose give the same."""
    monkeypatch.setattr(
        import_module("rbcc.compiler.optimize.lookups"), "MAX_MEMBERS", {"cpu": threshold, "gpu": threshold}
    )
    model = build(
        write_spec,
        "a[i] = stock[mill[i]]",
        "b[j] = sum(i where mill[i] == j, flour[i])",
        "c[j] = count(i where j == mill[i])",
        "d[j] = sum(i, flour[i] if mill[i] == j else 0)",
        "e[i] = bread[i,mill[i]]",
        "f[i,k] = debt[i,k] if mill[i] == mill[k] else 0",
        "g[i] = 1 if tired[i] and mill[i] != mill[i] else 2",
        bakers=bakers,
        mills=mills,
    )
    assert ("segment_sum" in model.text) == (threshold == 0)
    x, y = values(model)
    mill, flour = x["mill"], x["flour"]
    match = mill[:, None] == np.arange(mills)
    assert np.allclose(y["a"], x["stock"][mill])
    assert np.allclose(y["b"], match.T @ flour)
    assert np.allclose(y["c"], match.sum(0))
    assert np.allclose(y["d"], y["b"])
    assert np.allclose(y["e"], x["bread"][np.arange(bakers), mill])
    assert np.allclose(y["f"], np.where(mill[:, None] == mill, x["debt"], 0))
    assert np.allclose(y["g"], 2)


def test_two_indices_of_one_type(write_spec) -> None:
    model = build(
        write_spec,
        "a[i,k] = debt[k,i]",
        "b[i] = sum(k where k != i, debt[k,i])",
        "c[i] = debt[i,i]",
        "d[i,k] = flour[i] - flour[k]",
    )
    x, y = values(model)
    debt, flour = x["debt"], x["flour"]
    assert np.allclose(debt, 10 * np.arange(4)[:, None] * np.ones(4))
    assert np.allclose(y["a"], debt.T)
    assert np.allclose(y["b"], debt.sum(0) - np.diag(debt))
    assert np.allclose(y["c"], np.diag(debt))
    assert np.allclose(y["d"], flour[:, None] - flour)


def test_flags_count_as_numbers(write_spec) -> None:
    model = build(
        write_spec,
        "a[i] = tired[i] + tired[i] + (flour[i] > 0)",
        "b = sum(i, tired[i])",
        "c[i] = tired[i] * flour[i]",
        "d[i] = -tired[i]",
        "e[i] = 1 if not tired[i] or false else 0",
        "f = 1 if true and 1 < 2 else 0",
    )
    x, y = values(model)
    tired = x["tired"].astype(float)
    assert np.allclose(y["a"], 2 * tired + 1)
    assert np.allclose(y["b"], tired.sum())
    assert np.allclose(y["c"], tired * x["flour"])
    assert np.allclose(y["d"], -tired)
    assert np.allclose(y["e"], 1 - tired)
    assert np.allclose(y["f"], 1)


def test_flags_stay_flags(write_spec) -> None:
    text = HEAD.format(equations="a[i] = 1 if open else 0", bakers=2, mills=1)
    text = text.replace("agents:", "parameters: {open: true}\nagents:", 1).replace("not tired[i]", "open")
    model = compile(write_spec(text + 'invariants: ["not open or tired\'[i]"]\n'))
    start = model.reset(KEY)
    following, outcome = model.step(start, model.sample(start, KEY), KEY)
    assert following["baker.tired"].dtype == start["baker.tired"].dtype == bool
    assert np.all(outcome.invariants["not open or tired'[i]"])


def test_a_start_that_is_nothing_has_the_scale_one(write_spec) -> None:
    text = HEAD.format(equations="", bakers=2, mills=1).replace("{start: 10 + i}", "{start: first}")
    text = text.replace("agents:", "parameters: {first: 0}\nagents:", 1)
    model = compile(write_spec(text.replace("reward: flour'[i]", "reward: flour'[i]\n    observes: [flour]")))
    state = model.reset(KEY) | {"baker.flour": jnp.array([0.0, 3.0])}
    assert np.allclose(model.observe(state)["baker"][:, 0], np.log1p([0, 3]))


def test_what_is_known_is_computed_once(write_spec) -> None:
    text = build(write_spec, "a = (2 + 3) * max(4, 1/2) if 2 > 1 else 7").text
    assert "    a = jnp.asarray(20.0, float)\n" in text


def test_an_observation_that_is_the_same_for_all(write_spec) -> None:
    seen = "observes: [{value: 'stock[j] if count(mill) > 10 else 2', scale: 4}, flour]\n    reward: flour'[i]"
    text = HEAD.format(equations="", bakers=2, mills=3).replace("reward: flour'[i]", seen)
    model = compile(write_spec(text))
    assert np.allclose(model.observe(model.reset(KEY))["baker"][:, :3], 0.5)


def test_arithmetic(write_spec) -> None:
    model = build(
        write_spec,
        "a = 2^0.5 + (1/3)^2 - 7 / 2 * -1",
        "b[i] = i / count(baker) + (i + 1)^2",
        "c = 3000000000 + time + horizon",
        "d = min(3, 1, 2) + max(1, 2) + clip(9, 0, 4) + abs(-2) + floor(2.7) + sign(-5)",
        "e[i] = exp(log(flour[i])) - sqrt(flour[i]^2)",
        "f = (-8)^3 + 2^-1",
        "g[i] = 1 if 10 <= flour[i] < 12 else 0",
    )
    x, y = values(model)
    i = np.arange(4)
    assert np.isclose(y["a"], 2**0.5 + 1 / 9 + 3.5)
    assert np.allclose(y["b"], i / 4 + (i + 1) ** 2)
    assert np.isclose(y["c"], 3000000003, rtol=1e-6)
    assert np.isclose(y["d"], 1 + 2 + 4 + 2 + 2 - 1)
    assert np.allclose(y["e"], 0, atol=1e-5)
    assert np.isclose(y["f"], -511.5)
    assert np.allclose(y["g"], (x["flour"] >= 10) & (x["flour"] < 12))


def test_draws(write_spec) -> None:
    model = build(
        write_spec, "a[i,j] = normal()", "b[i] = uniform()", "c[j] = bernoulli(0.25 * (j + 1))", "d[i] = uniform()",
        bakers=200, mills=3,
    )  # fmt: skip
    state = model.reset(KEY)
    actions = model.sample(state, KEY)
    step = jax.jit(lambda k: model.step(state, actions, k)[1].values)
    first, again, other = step(KEY), step(KEY), step(jax.random.key(4))
    for name in "abcd":
        assert np.array_equal(first[name], again[name])
    assert first["a"].shape == (200, 3)
    assert abs(float(first["a"].mean())) < 0.2
    assert 0.85 < float(first["a"].std()) < 1.15
    assert not np.array_equal(first["a"], other["a"])
    assert not np.array_equal(first["b"], first["d"])
    assert float(first["b"].min()) >= 0
    assert float(first["b"].max()) < 1
    shares = np.mean([step(jax.random.key(n))["c"] for n in range(200)], axis=0)
    assert np.allclose(shares, [0.25, 0.5, 0.75], atol=0.12)


def test_random_starts(write_spec) -> None:
    text = HEAD.format(equations="", bakers=500, mills=2).replace("start: 10 + i}", "start: 10 + normal()}")
    model = compile(write_spec(text))
    one, two = model.reset(KEY)["baker.flour"], model.reset(jax.random.key(9))["baker.flour"]
    assert not np.array_equal(one, two)
    assert abs(float(one.mean()) - 10) < 0.2


def test_names_that_python_keeps_for_itself(write_spec) -> None:
    model = build(
        write_spec, "lambda = 2", "class[i] = lambda * flour[i]", "state = 3", "jnp = lambda", "x = jnp + state"
    )
    x, y = values(model)
    assert np.allclose(y["class"], 2 * x["flour"])
    assert np.isclose(y["x"], 5)


def test_names_that_the_generated_module_uses_itself(write_spec) -> None:
    """Equations may be called as the module's own variables, functions and the next value of a state are."""
    model = build(
        write_spec,
        "next_flour[i] = 3 * flour[i]", "done = 4", "following = 5", "float = 6", "given[i] = 7 + flour[i]",
        "flour_next[i] = 8 * flour[i]", "values = 9", "key = 10", "actions = 11", "step = done + following",
        "baker_flour[i] = flour[i] - 1", "jax = float + values", "discounts = key", "i_ = actions",
    )  # fmt: skip
    x, y = values(model)
    flour = x["flour"]
    expected = {
        "next_flour": 3 * flour, "done": 4, "following": 5, "float": 6, "given": 7 + flour, "flour_next": 8 * flour,
        "values": 9, "key": 10, "actions": 11, "step": 9, "baker_flour": flour - 1, "jax": 15, "discounts": 10, "i_": 11,
    }  # fmt: skip
    for name, value in expected.items():
        assert np.allclose(y[name], value), name
    assert np.allclose(model.step(model.reset(KEY), model.sample(model.reset(KEY), KEY), KEY)[0]["baker.flour"], flour)


@pytest.mark.parametrize("name", ["held", "computed"])
def test_names_that_the_generated_module_uses_for_what_is_taken_as_given(write_spec, name: str) -> None:
    spec = (shipped_models() / "price_takers.yaml").read_text(encoding="utf-8")
    market = f"equations:\n  market: |\n    {name} = sum(j, quantity[j])\n    price = choke_price - slope * {name}\n"
    model = compile(write_spec(f"{spec}{market}indicators: {{quantity: {name} / count(seller)}}\n"))
    state = model.reset(KEY)
    actions = model.sample(state, KEY)
    found = model.step(state, actions, KEY)[1].values
    assert np.isclose(found[name], np.sum(actions["seller.quantity"]))
    assert np.isclose(found["price"], 100 - found[name])


EVERYTHING = """
rbcc: 1
model: everything
horizon: 2
discount: 0.9
parameters: {gain: 2, rate: 1}
agents:
  leader:
    count: 1
    actions: {tax: {between: [0, 1]}}
    observes: [{value: wealth, encode: log, scale: 1}]
    reward: wealth
  saver:
    after: leader
    index: i
    count: 3
    state: {purse: {start: 1 + uniform()}}
    actions: {portfolio: {shares: firm}, work: {between: [0, 2 - tax]}}
    observes: [purse, {value: wealth, encode: digits}, leader.tax]
    takes_as_given: [wealth]
    constraints:
      thrift: {violation: "max(work[i] - 1, 0)"}
    reward: gain * sum(j, j * portfolio[i,j]) + wealth + work[i]
  firm: {index: j, count: 2}
equations:
  all: |
    wealth    = mean(i, purse[i]) + ration(rate, 1)
    gini      = gini(i, purse[i]) + quantile(i, purse[i], 0.1) + top_share(i, purse[i], 0.1)
    purse'[i] = purse[i] * (1 - tax) + normal()
indicators: {wealth: wealth, gini: gini}
invariants: ["purse[i] < 1000"]
identities: {all: wealth == wealth}
training:
  schedules: {pace: "1 - progress + 0 * iteration"}
  anneal: {rate: pace}
  phases: {learn: {iterations: 10, economies: 4}}
  default: {algorithm: pathwise, learning_rate: 1e-2 * pace}
verify: {alive: [wealth > 0]}
"""
NAMED = (ast.arg, ast.Name)


def module_names(text: str, model: ir.Model) -> set[str]:
    """The names in those functions that name what the spec declares, its own among them; helpers do not.

    What a comprehension names is seen in it alone.
    """
    primitives, found = {primitive.name for primitive in model.primitives}, set[str]()
    helpers = {"symlog", "digits", "computed", *HELPERS} | primitives | {f"{name}_derivative" for name in primitives}
    for function in ast.parse(text).body:
        if isinstance(function, ast.FunctionDef) and function.name not in helpers:
            nodes = [*ast.walk(function)]
            inner = [name for node in nodes if isinstance(node, ast.comprehension) for name in ast.walk(node.target)]
            names = {node.arg if isinstance(node, ast.arg) else node.id for node in nodes if isinstance(node, NAMED)}
            found |= names - {node.id for node in inner if isinstance(node, ast.Name)}
    return found - primitives - set(dir(builtins))


@pytest.mark.parametrize("name", [None, "price_takers", "late_tax", "brock_mirman_shocks", "open_rbc"])
def test_all_names_of_the_generated_module_are_known(write_spec, name: str | None) -> None:
    """So that no spec can take one of them."""
    model = optimise(compile_spec(name or write_spec(EVERYTHING)).model)
    specs = {local for symbol, local in local_names(model).items() if symbol not in ("time", "@progress", "@iteration")}
    found = module_names(emit(model), model) - specs
    assert {one for one in found if not re.fullmatch(r"seen_\d+", one)} <= MODULE_NAMES
    if name is None:
        assert {"held", "computed", "keys", "actions", "following", "progress", "digits", "symlog", *HELPERS} <= found


def test_whole_numbers_beyond_32_bits(write_spec) -> None:
    x, y = values(build(write_spec, "a = 3000000000 * 3000000000", "b[i] = 9999999999 * flour[i]"))
    assert np.isclose(y["a"], 9e18)
    assert np.allclose(y["b"], 9999999999 * x["flour"])


def test_text_does_not_depend_on_the_hash_seed() -> None:
    code = "from rbcc.compiler.driver import compile_spec; print(compile_spec('open_rbc').python())"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "012"
    }
    assert len(texts) == 1


def test_parameters_can_be_given_and_traced(write_spec) -> None:
    text = HEAD.format(equations="a[i] = level * skill[i]", bakers=2, mills=1)
    text = text.replace("agents:", "parameters: {level: 3, double: 2 * level}\nagents:", 1)
    text = text.replace("    state:\n      flour", "    parameters: {skill: double + i}\n    state:\n      flour", 1)
    model = compile(write_spec(text))
    state = model.reset(KEY)
    actions = model.sample(state, KEY)

    def first(level: Any) -> jax.Array:
        return model.step(state, actions, KEY, {"level": level})[1].values["a"][0]

    assert np.isclose(first(3.0), 18)
    assert np.isclose(jax.grad(first)(3.0), 12)  # a = level * 2 level
    assert np.allclose(jax.vmap(first)(jnp.array([1.0, 2.0])), [2, 8])


def test_module_stands_alone(write_spec) -> None:
    """The printed text runs without rbcc."""
    model = build(write_spec, "a[i] = ration(flour[i], 3) + crra(flour[i], 2)")
    namespace: dict[str, Any] = {"__name__": "alone"}
    exec(model.text, namespace)
    state = namespace["reset"](KEY)
    assert set(namespace["observe"](state)) == {"baker", "mill", "town"}
    assert "rbcc." not in model.text.split('"""')[2]
