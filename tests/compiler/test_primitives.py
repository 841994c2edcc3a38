import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.primitives import BUILTIN, PrimitiveError, primitive
from rbcc.runtime.model import compile


def function(name: str) -> Any:
    """A primitive as the generated module has it."""
    namespace: dict[str, Any] = {"jnp": jnp}
    exec(BUILTIN[name].text, namespace)
    return namespace[name]


@pytest.mark.parametrize("eta", [0.0, 0.1, 0.5, 1.0, 2.0, 5.0])
def test_crra(eta: float) -> None:
    c = np.array([0.01, 0.5, 1.0, 1.0001, 3.0, 1000.0])
    exact = np.log(c) if eta == 1 else (c ** (1 - eta) - 1) / (1 - eta)
    assert np.allclose(function("crra")(jnp.array(c), eta), exact, rtol=1e-5, atol=1e-6)


def test_crra_is_continuous_in_eta_and_right_at_zero() -> None:
    crra = function("crra")
    assert math.isclose(crra(jnp.array(3.0), 1.0), crra(jnp.array(3.0), 1.00001), rel_tol=1e-4)
    assert float(crra(jnp.array(0.0), 0.5)) == -2
    assert float(crra(jnp.array(0.0), 2.0)) == -math.inf


def test_cara_and_cobb_douglas() -> None:
    assert np.allclose(function("cara")(jnp.array([0.0, 2.0]), 0.5), [-1, -math.exp(-1)])
    assert np.allclose(function("cobb_douglas")(4.0, jnp.array([0.0, 9.0]), 0.5), [0, 6])


def test_ration() -> None:
    supply, demand = jnp.array([0.0, 0.0, 5.0, 5.0, -1.0]), jnp.array([0.0, 2.0, 10.0, 4.0, 0.0])
    assert np.allclose(function("ration")(supply, demand), [1, 0, 0.5, 1, -1])


def test_cycle() -> None:
    assert np.allclose(function("cycle")(jnp.arange(7.0), 1.0, 2.0, 3.0), [1, 2, 3, 1, 2, 3, 1])


SPEC = """
rbcc: 1
model: own
horizon: 2
discount: 1
use: [mine.py]
agents:
  baker:
    index: i
    count: 3
    actions: {bread: {choices: [1, 2, 4]}}
    reward: twice_log(bread[i] + i)
"""

MINE = '''
from rbcc import primitive


@primitive(units="a -> 1", latex=r"2 \\\\log({x})")
def twice_log(x):
    """Twice the logarithm."""
    return double(jnp.log(x))


@primitive(units="a -> a")
def double(x):
    return 2 * x
'''


def test_primitives_of_ones_own(write_spec, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    model = compile(write_spec(SPEC))
    state = model.reset(jnp.zeros(2, "uint32"))
    _, outcome = model.step(state, {"baker.bread": jnp.array([1.0, 2.0, 4.0])}, jnp.zeros(2, "uint32"))
    assert np.allclose(outcome.rewards["baker"], 2 * np.log([1, 3, 6]), rtol=1e-6)
    assert model.text.index("def double") < model.text.index("def twice_log")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = (", "SyntaxError"),
        ("x = 1", "declares no primitive"),
        (
            "from rbcc import primitive\nimport math\n@primitive(units='1 -> 1')\ndef f(x):\n    return math.exp(x)\n",
            "f uses math",
        ),
        ("from rbcc import primitive\n@primitive(units='1, 1 -> 1')\ndef f(x):\n    return x\n", "unit rule"),
        ("from rbcc import primitive\n@primitive(units='nonsense')\ndef f(x):\n    return x\n", "unit rule"),
        ("raise RuntimeError('boom')", "boom"),
        ("from rbcc import primitive\n@primitive(units='a, b -> c')\ndef f(x, y):\n    return x\n", "no argument has"),
        (
            "from rbcc import primitive\n@primitive(units='a -> a')\ndef f(x):\n    return x if x > 0 else 0\n",
            "write jnp.where",
        ),
        (
            "from rbcc import primitive\n@primitive(units='a -> 1')\ndef log(x):\n    return x\n",
            "log is a function of the language already",
        ),
        (
            "from rbcc import primitive\n@primitive(units='1 -> 1', inline='sin')\ndef f(x):\n    return x\n",
            "'inline' is for functions of the language",
        ),
    ],
)
def test_files_that_cannot_be_used(write_spec, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(CompileError) as caught:
        compile(write_spec(SPEC))
    first = caught.value.diagnostics[0]
    assert first.code == "RB008"
    assert reason in first.message


def test_missing_file(write_spec) -> None:
    with pytest.raises(CompileError, match="RB008"):
        compile(write_spec(SPEC))


def test_lambda_is_refused() -> None:
    with pytest.raises(PrimitiveError):
        primitive(units="1 -> 1")(lambda x: x)
