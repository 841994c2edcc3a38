import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.primitives import BUILTIN, PrimitiveError, primitive
from rbcc.runtime.economy.model import Model, compile


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


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.5])
def test_crra_has_its_derivative_by_eta(eta: float) -> None:
    """At eta = 1, where it is a logarithm, too."""
    crra = function("crra")
    with jax.enable_x64(True):
        c = jnp.array([0.2, 1.0, 3.0])
        slope = jax.vmap(jax.grad(crra, argnums=1), (0, None))(c, jnp.array(eta))
        assert np.allclose(slope, (crra(c, eta + 1e-5) - crra(c, eta - 1e-5)) / 2e-5, rtol=1e-6, atol=1e-9)


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


def test_steps() -> None:
    x = jnp.array([-1.0, 0.0, 0.5, 1.0, 7.0])
    assert np.allclose(function("steps")(x, 10.0, 0.0, 20.0, 1.0, 30.0), [10, 20, 20, 30, 30])
    assert np.allclose(function("steps")(x, 10.0, 1.0, x), [10, 10, 10, 1, 7])


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


FLAGS = """
from rbcc import primitive


@primitive(units="a, a, a -> 1", flag=True)
def between(x, low, high):
    return (low <= x) & (x <= high)


@primitive(units="a, 1, 1 -> a")
def spread(x, by=2, times=1):
    def once(y):
        return by * y

    for _ in range(times):
        x = once(x)
    return x
"""

SMOOTH = """
from rbcc import primitive


@primitive(units="1 -> 1", latex=r"f({x})")
def cubed(x):
    return spread(x * x * x, 1)
"""


def test_flags_defaults_and_several_files(write_spec, tmp_path: Path) -> None:
    """A flag can be a condition; arguments with defaults may be left out; a later file may use an earlier one's."""
    (tmp_path / "flags.py").write_text(FLAGS)
    (tmp_path / "smooth.py").write_text(SMOOTH)
    text = SPEC.replace("[mine.py]", "[flags.py, smooth.py]")
    text = text.replace("twice_log(bread[i] + i)", "spread(bread[i]) + spread(bread[i], 3) + cubed(i)")
    text += "equations:\n  all: |\n    few[i] = 1 if between(bread[i], 1, 2) and not between(i, 5, 6) else 0\n"
    text += "indicators: {few: 'count(i where between(bread[i], 1, 2))', sum: 'sum(i, few[i])'}\n"
    model = compile(write_spec(text))
    key = jax.random.key(0)
    _, outcome = model.step(model.reset(key), {"baker.bread": jnp.array([1.0, 2.0, 4.0])}, key)
    assert np.allclose(outcome.rewards["baker"], [5 + 0, 10 + 1, 20 + 8])
    assert np.array_equal(outcome.values["few"], [1, 1, 0])
    assert float(outcome.indicators["few"]) == float(outcome.indicators["sum"]) == 2


def test_jax_differentiates_ones_own(write_spec, tmp_path: Path) -> None:
    (tmp_path / "flags.py").write_text(FLAGS)
    (tmp_path / "smooth.py").write_text(SMOOTH)
    text = SPEC.replace("[mine.py]", "[flags.py, smooth.py]").replace("twice_log(bread[i] + i)", "cubed(bread[i])")
    model = compile(write_spec(text))
    key = jax.random.key(0)

    def first(bread: jax.Array) -> jax.Array:
        return model.step(model.reset(key), {"baker.bread": bread}, key)[1].rewards["baker"][0]

    assert np.allclose(jax.grad(first)(jnp.array([2.0, 3.0, 4.0])), [12, 0, 0])


def test_the_digest_covers_the_files(write_spec, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    first = compile_spec(write_spec(SPEC)).model.digest
    (tmp_path / "mine.py").write_text(MINE.replace("2 * x", "3 * x"))
    assert compile_spec(write_spec(SPEC)).model.digest != first


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("x = 1\ny = (\n", (2, 5)),
        ("x = 1\n\nraise ValueError('no')\n", (3, 1)),
        ("def f():\n    return missing\n\nf()\n", (2, 1)),
        ("import sys\nsys.exit()\n", (2, 1)),
        ("from rbcc import primitive\n\n@primitive(units='a -> b')\ndef f(x):\n    return x\n", (3, 1)),
        ("from rbcc import primitive\n\n@primitive(units='a -> a')\ndef f(x):\n    return np.abs(x)\n", (3, 1)),
        ("from rbcc import primitive\n\n@primitive(units='a -> a')\ndef f(*, x):\n    return x\n", (3, 1)),
    ],
)
def test_mistakes_are_shown_in_the_file(write_spec, tmp_path: Path, text: str, place: tuple[int, int]) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(CompileError) as caught:
        compile_spec(write_spec(SPEC))
    found = next(one for one in caught.value.diagnostics if one.code == "RB008")
    assert found.span is not None
    assert (found.span.source.name, *found.span.source.position(found.span.start)) == (
        str(tmp_path / "mine.py"),
        *place,
    )
    assert found.labels[0].span.source.name.endswith("model.yaml")


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
        ("raise BaseException('boom')", "BaseException: boom"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", "E"),
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
        (
            "from rbcc import primitive\n@primitive(units='a -> a', domain={'y': (0, None)})\ndef f(x):\n    return x\n",
            "f: domain has 'y'; its arguments are x",
        ),
        (
            "from rbcc import primitive\n@primitive(units='a -> a', domain={'x': (1, 0)})\ndef f(x):\n    return x\n",
            "f: domain['x'] is (1, 0); write (low, high)",
        ),
        (
            "from rbcc import primitive\n@primitive(units='a -> a', domain={'x': 0})\ndef f(x):\n    return x\n",
            "f: domain['x'] is 0; write (low, high)",
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


BODIES = {
    "jnp.lgo(x)": "7:12 twice_log: AttributeError: module 'jax.numpy' has no attribute 'lgo'",
    "1 / 0": "7:12 twice_log: ZeroDivisionError: division by zero",
    "double(x, x)": "7:12 twice_log: TypeError: double() takes 1 positional argument but 2 were given",
    "exit(0)": "7:12 twice_log: SystemExit: 0",
    "jnp.stack([x, x])": "5:1 twice_log: its result has the shape (2,) where its arguments have ()",
    "jnp.sum(x)": "5:1 twice_log: its result has the shape () where its arguments have (2,)",
    "None": "5:1 twice_log: its result is of the type NoneType, not an array of numbers",
    "'x'": "5:1 twice_log: its result is of the type str",
    "(k for k in [1])": "5:1 twice_log: its result is of the type generator",
    "x + 1j": "5:1 twice_log: its result is complex",
}


@pytest.mark.parametrize("body", BODIES)
def test_mistakes_in_a_function_are_shown_where_they_stand(write_spec, tmp_path: Path, body: str) -> None:
    mine = MINE.replace("double(jnp.log(x))", body).lstrip()
    (tmp_path / "mine.py").write_text(f"\ufeff{mine}", encoding="utf-8")
    compiled = compile_spec(write_spec(SPEC))  # which only reads it
    with pytest.raises(CompileError) as caught:
        Model(compiled)
    (found,) = caught.value.diagnostics
    assert found.code == "RB008"
    assert found.span is not None
    where = found.span.place.removeprefix(f"{tmp_path / 'mine.py'}:")
    assert f"{where} {found.message}".startswith(BODIES[body])
    assert found.labels[0].span.place.endswith("model.yaml:6:7")


def test_a_mistake_in_an_inner_function_is_shown_there(write_spec, tmp_path: Path) -> None:
    (tmp_path / "flags.py").write_text(FLAGS.replace("return by * y", "return by.nothing * y"))
    spec = SPEC.replace("mine.py", "flags.py").replace("twice_log(bread[i] + i)", "spread(bread[i], 3)")
    with pytest.raises(CompileError, match=r"flags.py:13:16: error\[RB008\]: spread: .*has no attribute 'nothing'"):
        compile(write_spec(spec))


def test_a_file_leaves_the_program_as_it_was(
    write_spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may print, change the folder and close the output; a decorator more does no harm."""
    monkeypatch.chdir(tmp_path)
    head = "import os, sys\nprint('hello')\nos.chdir('/')\n"
    mine = MINE.replace('@primitive(units="a -> a")', 'import functools\n@functools.cache\n@primitive(units="a -> a")')
    (tmp_path / "mine.py").write_text(head + mine)
    assert compile_spec(write_spec(SPEC)).model.name == "own"
    assert Path.cwd() == tmp_path
    assert capsys.readouterr() == ("", "hello\n")
    (tmp_path / "mine.py").write_text("import sys\nsys.stdout.close()\n" + mine)
    assert compile_spec(write_spec(SPEC)).model.name == "own"
    print("still open")
    assert capsys.readouterr().out == "still open\n"


def test_missing_file(write_spec) -> None:
    with pytest.raises(CompileError, match="RB008"):
        compile(write_spec(SPEC))


def test_lambda_is_refused() -> None:
    with pytest.raises(PrimitiveError):
        primitive(units="1 -> 1")(lambda x: x)
