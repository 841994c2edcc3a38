"""The front end and inputs that nobody would write: messages, within bounds of time, memory and stack.

A small share of `experiments/fuzz.py`, and what it found.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from rbcc.compiler import syntax
from rbcc.compiler.diagnostics import CompileError, Diagnostics, Source, Span, render_text
from rbcc.compiler.diagnostics.diagnostic import MAX_ERRORS
from rbcc.compiler.driver import compile_spec, examine
from rbcc.compiler.source import MAX_EXTENDS, Scalar
from rbcc.compiler.tools.formatter import format_text


ROOT = Path(__file__).parents[2]
MARKET = (ROOT / "tests" / "specs" / "market.yaml").read_text(encoding="utf-8")
SECONDS = 4.0  # of processor time: twice what it takes where nothing else runs on the core's other thread


@pytest.mark.skipif(not (ROOT / "experiments").is_dir(), reason="needs a checkout")
def test_four_hundred_inputs() -> None:
    command = [sys.executable, str(ROOT / "experiments" / "fuzz.py"), "--inputs", "400", "--seed", "5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "400 inputs, seed 5: 0 failures; 1 processes" in result.stdout


@given(st.text() | st.text("ab01.+-*/^()[],'=<>if else sum(i, where ", max_size=40))
def test_any_text_is_an_expression_or_gives_a_message(text: str) -> None:
    diagnostics = Diagnostics()
    node = syntax.parse_expression(Scalar(text, text, Span(Source("spec", text), 0, len(text))), diagnostics)
    assert (node is None) == diagnostics.failed
    assert all(error.span and 0 <= error.span.start <= error.span.end for error in diagnostics.errors)


def changed(old: str, new: str) -> str:
    assert old in MARKET
    return MARKET.replace(old, new)


def equations(lines: list[str]) -> str:
    """The market with more equations."""
    return changed("equations:\n", "equations:\n  more: |\n" + "".join(f"    {line}\n" for line in lines))


def cost(text: str) -> str:
    return changed("cost: {value: 2,", f"cost: {{value: '{text}',")


def parameters(count: int) -> str:
    rows = "".join(f"  p{k}: p{k - 1}\n" for k in range(1, count))
    return changed("parameters:\n", f"parameters:\n  p0: 1\n{rows}")


def types(count: int) -> str:
    rows = "".join(f"  kind{k}: {{index: x{k}, count: {k + 1}}}\n" for k in range(count))
    return changed("agents:\n", f"agents:\n{rows}")


def phases(count: int) -> str:
    rows = ", ".join(f"p{k}: {{iterations: 1, economies: 1}}" for k in range(count))
    return f"{MARKET}training: {{phases: {{{rows}}}}}\n"


# A spec, and a code that is among its errors, or None if it is right.
CASES: dict[str, tuple[str, str | None]] = {
    "a power of ten": (cost("1e-99999999"), "RB201"),
    "zero with an exponent": (cost("0e-99999999"), None),
    "too many digits": (cost("9" * 50), "RB201"),
    "digits without end": (changed("cost: {value: 2", f"cost: {{value: {'9' * 100_000}"), "RB201"),
    "a tower of powers": (cost("9^9^9^9"), "RB401"),
    "a power with many digits": (cost("((0.9999999^64)^64)^64"), None),
    "a power that is too small": (cost("1e-30^64"), "RB401"),
    "a unit with a large exponent": (changed("unit: good/money", "unit: good^1e99999999/money"), "RB201"),
    "a chain of terms": (equations([f"x[j] = {' + '.join(['price[j]'] * 101)}"]), "RB201"),
    "a chain that is just right": (equations([f"x[j] = {' + '.join(['price[j]'] * 95)}"]), None),
    "brackets": (equations([f"x = {'max(1, ' * 1000}1{')' * 1000}"]), "RB201"),
    "signs": (equations([f"x = {'-' * 300}1"]), "RB201"),
    "negations": (equations([f"x = 1 if {'not ' * 300} 1 > 2 else 3"]), "RB201"),
    "equations": (equations([f"x{k} = x{k - 1} + 1" if k else "x0 = 1" for k in range(2500)]), None),
    "parameters": (parameters(3000), None),
    "types": (types(3000), None),
    "a name that is unknown in many places": (equations([f"x{k} = unknown" for k in range(4000)]), "RB202"),
    "many unknown names": (equations([f"x{k} = unknown{k}" for k in range(3000)]), "RB202"),
    "a long cycle": (equations([f"x{k} = x{(k + 1) % 2500} + 1" for k in range(2500)]), "RB602"),
    "unknown keys": (MARKET + "".join(f"key{k}: {k}\n" for k in range(6000)), "RB101"),
    "words": (equations(["x = 1"] * 10_000), "RB005"),
    "a long name": (changed("sold", "s" * 50_000), None),
    "words in place of an equation": (equations([f"x {'sum_over_all ' * 5000}"]), "RB201"),
    "if after if": (equations([f"x = {'if ' * 9000}"]), "RB201"),
    "more agents than can be chosen from": (changed("count: 3", "count: 2147483647"), "RB701"),
    "more choices than can be offered": (changed("choices: [0, 1, 2]", f"choices: {list(range(0, 9001))}"), None),
    "more phases than anybody needs": (phases(21), "RB103"),
    "observed again and again": (changed("observes: [price, time]", f"observes: [{'price, ' * 5000}price]"), None),
    "a file name that is too long": (f"extends: {'a' * 300}\n", "RB001"),
    "a folder name that is too long": (f"extends: {'a' * 300}/b\n", "RB001"),
    "no file name": ('extends: "a\\0b"\n', "RB001"),
    "an index as a stock": (MARKET + "accounts: {money: {stocks: [i]}}\n", "RB903"),
}


@pytest.mark.parametrize("name", CASES)
def test_within_bounds(name: str, write_spec: Callable[..., Path]) -> None:
    text, code = CASES[name]
    path = write_spec(text)
    begin = time.process_time()
    if code is None:
        compile(compile_spec(path).python(), "module", "exec")
    else:
        with pytest.raises(CompileError) as caught:
            compile_spec(path)
        assert code in {d.code for d in caught.value.diagnostics if d.severity == "error"}
        assert len(render_text(caught.value.diagnostics)) < 200_000
    assert time.process_time() - begin < SECONDS


def test_the_formatter_has_the_same_bounds() -> None:
    with pytest.raises(CompileError) as caught:
        format_text(equations(["x = 1"] * 10_000))
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["RB005"]


def test_after_a_hundred_errors_the_rest_is_not_looked_at(write_spec: Callable[..., Path]) -> None:
    path = write_spec(equations([f"x{k} = 1 +" for k in range(MAX_ERRORS + 50)]))
    with pytest.raises(CompileError) as caught:
        compile_spec(path)
    assert len(caught.value.diagnostics) == MAX_ERRORS
    assert str(caught.value).splitlines()[-1].startswith("100 errors, the rest of the spec was not looked at")
    assert len(examine(path).diagnostics.errors) == MAX_ERRORS


def test_many_specs_that_extend_each_other(write_spec: Callable[..., Path]) -> None:
    for k in range(MAX_EXTENDS + 1):
        write_spec(f"extends: b{k + 1}.yaml\n", f"b{k}.yaml")
    with pytest.raises(CompileError) as caught:
        compile_spec(write_spec("extends: b0.yaml\n"))
    assert [d.message for d in caught.value.diagnostics] == ["more than 20 specs extend each other in a chain"]


def test_a_finding_about_an_override_has_its_place() -> None:
    warnings = compile_spec(ROOT / "tests" / "specs" / "market.yaml", {"agents.seller.reward": "j"}).warnings
    places = {warning.code: warning.span.place for warning in warnings if warning.span}
    assert places["RB804"] == "--set:1:1"
