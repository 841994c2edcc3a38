"""Guards of derivatives stand where they are needed, and nowhere else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc.compiler.driver import compile_spec


SPEC = """
rbcc: 1
model: guarded
horizon: 1
discount: 1
parameters: {half: 0.5}
agents:
  a:
    index: i
    count: 4
    actions:
      x: {between: [-2, 2]}
      q: {choices: [1, 2]}
    reward: v[i]
  b:
    count: 1
    actions: {y: {between: [-2, 2]}}
    reward: y
equations:
  g: |
    v[i] = EXPRESSION
silence: [RB207, RB804, RB802]
"""


def emitted(write: Callable[..., Path], expression: str) -> str:
    text = compile_spec(write(SPEC.replace("v[i] = EXPRESSION", f"v[i] = {expression}"))).python()
    return text.partition("v[i] = ")[2].partition("following = ")[0]


@pytest.mark.parametrize(
    "safe",
    [
        "x[i]^2 / 2 if x[i] > 0 else 0",
        "1 / (1 + abs(x[i])) if x[i] > 0 else 0",
        "exp(-abs(x[i])) if x[i] > 0 else 0",
        "sqrt(max(x[i], 0.01)) if x[i] > 0 else 0",
        "x[i] / q[i] + log(q[i]) if x[i] > 0 else 0",
        "x[i] if x[i] > 0 else 0",
        "x[i] / count(a) if x[i] > 0 else 0",
        "max(abs(x[i]), 0.1)^1.5 if x[i] > 0 else 0",
    ],
)
def test_what_is_surely_finite_is_left_as_it_is(write_spec: Callable[..., Path], safe: str) -> None:
    text = emitted(write_spec, safe)
    assert text.count("jnp.where") == 1
    assert "larger" not in text


@pytest.mark.parametrize(
    ("unsafe", "code"),
    [
        ("1 / x[i] if x[i] > 0 else 0", "v = jnp.where(shared_1, 1.0 / jnp.where(shared_1, x, 1.0), 0.0)"),
        ("x[i]^half if x[i] > 0 else 0", "v = jnp.where(shared_1, jnp.where(shared_1, x, 1.0) ** half, 0.0)"),
        ("0 if x[i] <= 0 else log(x[i])", "jnp.log(jnp.where(jnp.logical_not(shared_1), x, 1.0))"),
        # One logarithm for all: its argument is replaced only where nobody needs it.
        (
            "log(y) if x[i] > 0 else 0",
            "jnp.log(jnp.where(jnp.greater(jnp.max(jnp.asarray(shared_1, float), axis=0), 0.0), y, 1.0))",
        ),
        ("max(x[i], 0)^half", "v = larger(x, 0.0) ** half"),
        ("max(x[i], 0)^2", "v = jnp.maximum(x, 0.0) ** 2"),
    ],
)
def test_what_may_be_infinite_is_guarded(write_spec: Callable[..., Path], unsafe: str, code: str) -> None:
    assert code in emitted(write_spec, unsafe)


def test_choices_in_choices_do_not_grow_without_end(write_spec: Callable[..., Path]) -> None:
    nested = "y"
    for _ in range(12):
        nested = f"min(1, max({nested} / y, log(y)))"
    assert len(emitted(write_spec, nested)) < 20_000
    assert len(emitted(write_spec, f"min(1 / y, {', '.join(f'{k} * y' for k in range(2, 20))})")) < 2_000
