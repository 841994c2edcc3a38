from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec


SPEC = """
rbcc: 1
model: signs
horizon: 5
discount: 1
parameters: {delta: 0.1, debt: -1}
state:
  k: {start: 2}
  m: {start: 0}
  z: {start: 0}
agents:
  a:
    index: i
    count: 3
    actions:
      s: {between: [0.1, 0.6]}
      eaten: {between: [0, k]}
      q: {choices: [1, 2]}
      r: {choices: [0, 2]}
    reward: log(c[i] + 1) + log(rest) - x[i]
equations:
  g: |
    y = exp(z) * k^0.3
    k' = (1 - delta) * k + mean(i, s[i] * y)
    z' = 0.9 * z + normal()
    m' = m + y
    invested[i] = s[i] * y
    c[i] = y - invested[i]
    rest = 3 - mean(i, q[i]) - 1
    x[i] = k - eaten[i]
    w[i] = 1 + z^2 + abs(z)
indicators: {INDICATOR}
silence: [RB207, RB804, RB802]
"""


@pytest.mark.parametrize(
    ("indicator", "positive"),
    [
        ("y", True),
        ("k", True),  # it stays above 0 if it is
        ("m", False),  # and this starts at 0
        ("m + y", True),
        ("z", False),
        ("z - z", False),  # 0
        ("exp(z) - 1", False),
        ("mean(i, c[i])", True),  # y (1 - s), with s up to .6
        ("y - mean(i, invested[i]) - mean(i, c[i])", False),
        ("rest", True),  # its logarithm is a reward
        ("mean(i, x[i])", False),  # all of k can be eaten
        ("mean(i, x[i]) + 0.1", True),
        ("sum(i, q[i]) / count(a)", True),
        ("sum(i, r[i])", False),
        ("sum(i where q[i] > 1, q[i])", False),
        ("max(z, 0.1)", True),
        ("min(y, k)", True),
        ("y * debt", False),
        ("mean(i, w[i])", True),
        ("gini(i, w[i])", False),  # 0 if all are alike
        ("quantile(i, w[i], 0.1)", True),
        ("median(i, r[i])", False),
        ("top_share(i, r[i], 0.1)", True),  # at least a tenth, even if all are 0
        ("top_share(i, r[i], 0)", False),
        ("top_share(i, w[i] - 2, 0.1)", False),
        ("w[argmax(i, x[i])]", True),
        ("1 if z > 0 else 2", True),
        ("1 if z > 0 else 0", False),
    ],
)
def test_what_is_above_zero_is_measured_in_logarithms(
    write_spec: Callable[..., Path], indicator: str, positive: bool
) -> None:
    model = compile_spec(write_spec(SPEC.replace("INDICATOR", f'it: "{indicator}"'))).model
    assert model.logs == (("it",) if positive else ())


def test_what_the_compiler_cannot_see_can_be_said(write_spec: Callable[..., Path]) -> None:
    text = SPEC.replace("INDICATOR", "z: z, y: y") + "moments: {log: [z]}\n"
    assert compile_spec(write_spec(text)).model.logs == ("y", "z")
    with pytest.raises(CompileError, match="there is no indicator 'zz'") as raised:
        compile_spec(write_spec(text.replace("[z]", "[zz]")))
    assert raised.value.diagnostics[0].help == "did you mean 'z'?"
