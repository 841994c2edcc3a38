"""Equal parts of equations are computed once, and nothing else changes."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from rbcc.compiler.backends.jax.module import emit
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.optimize.common_subexpressions import share
from rbcc.compiler.optimize.constant_folding import fold
from rbcc.compiler.optimize.finite_derivatives import guards
from rbcc.compiler.optimize.lookups import pairs
from rbcc.runtime.economy.model import compile


SPEC = """
rbcc: 1
model: sharing
horizon: 2
discount: 1
public: [{{value: "sum(i, flour[i])", scale: 11, encode: linear}}]
state: {{oven: {{start: 4, scale: 1}}}}
agents:
  baker:
    index: i
    count: 3
    state:
      flour: {{start: 10 + i}}
      seen_1: {{start: i, scale: 1}}
    actions:
      bread: {{choices: [1, 2]}}
    observes: [public, flour, seen_1]
    reward: flour'[i] + luck[i]
  mill:
    index: j
    count: 2
    state: {{stock: 5}}
    actions: {{grind: {{choices: [1, 5]}}}}
    observes: [public, stock]
    reward: stock[j]
equations:
  all: |
    seen_1'[i] = seen_1[i]
    stock'[j] = stock[j]
    oven' = oven
{equations}
"""


def text(folder: Path, *equations: str) -> str:
    path = folder / "sharing.yaml"
    path.write_text(SPEC.format(equations="\n".join(f"    {line}" for line in equations)))
    return compile_spec(path).python()


def test_a_part_of_two_equations_gets_a_name(tmp_path: Path) -> None:
    found = text(tmp_path, "luck[i] = sqrt(flour[i] * bread[i]) + 1", "flour'[i] = sqrt(flour[i] * bread[i]) - 2")
    assert found.count("jnp.sqrt(") == 1
    assert "shared_1 = jnp.sqrt(flour * bread)" in found
    assert "luck = shared_1 + 1.0" in found


def test_an_equation_lends_its_name(tmp_path: Path) -> None:
    found = text(tmp_path, "luck[i] = flour[i] * bread[i]", "flour'[i] = flour[i] * bread[i] + 1")
    assert "next_flour = luck + 1.0" in found
    assert "shared_1" not in found


def test_a_part_of_a_shared_part_is_not_shared_again(tmp_path: Path) -> None:
    found = text(tmp_path, "luck[i] = (flour[i] * bread[i] + 1) ^ 2", "flour'[i] = (flour[i] * bread[i] + 1) ^ 2 + 1")
    assert "next_flour = luck + 1.0" in found
    assert found.count("flour * bread") == 1


def test_an_equation_lends_its_name_only_if_it_has_the_same_indices(tmp_path: Path) -> None:
    found = text(tmp_path, "luck[i] = sqrt(oven * 2)", "heat = sqrt(oven * 2) + 1", "flour'[i] = heat")
    assert "shared_1 = jnp.sqrt(oven * 2.0)" in found
    model = compile(tmp_path / "sharing.yaml")
    state = model.reset(jax.random.key(0))
    _, outcome = model.step(state, model.sample(state, jax.random.key(0)), jax.random.key(0))
    assert np.allclose(outcome.values["luck"], np.sqrt(8) * np.ones(3))
    assert np.allclose(outcome.values["heat"], np.sqrt(8) + 1)


def test_many_equations_take_no_time(tmp_path: Path) -> None:
    lines = [f"v{k}[i] = flour[i] * {k} + sqrt(flour[i] + {k // 2}) + exp(bread[i] * {k // 3})" for k in range(200)]
    began = time.perf_counter()
    text(tmp_path, *lines, "luck[i] = v7[i]", "flour'[i] = v9[i]")
    assert time.perf_counter() - began < 5


def test_draws_are_not_shared(tmp_path: Path) -> None:
    found = text(tmp_path, "luck[i] = normal() * flour[i]", "flour'[i] = normal() * flour[i]")
    assert found.count("jax.random.normal") == 2


def test_what_all_see_alike_is_computed_once_and_takes_no_name_from_the_spec(tmp_path: Path) -> None:
    found = text(tmp_path, "luck[i] = bread[i]", "flour'[i] = flour[i]")
    assert found.count("jnp.sum(flour, axis=0)") == 1
    model = compile(tmp_path / "sharing.yaml")
    seen = model.observe(model.reset(jax.random.key(0)))
    assert np.allclose(seen["baker"][:, 0], 3)
    assert np.allclose(seen["mill"][:, 0], 3)


@pytest.mark.parametrize("name", ["closed_rbc", "open_rbc_hybrid", "open_rbc_published", "cournot"])
def test_sharing_changes_no_number(name: str) -> None:
    model = compile(name)
    plain: dict[str, Any] = {}
    exec(emit(pairs(fold(model.compiled.model), 5)), plain)
    assert emit(share(guards(pairs(fold(model.compiled.model), 5)))) == model.text
    state = model.module.reset(jax.random.key(0))
    for number in range(3):
        key = jax.random.key(number)
        actions = model.stored(model.sample({}, key))
        one = jax.jit(model.module.step)(state, actions, key)
        other = jax.jit(plain["step"])(state, actions, key)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert np.allclose(a, b, rtol=1e-6)
        state = one[0]
