"""The examples of docs/extending.md do what the page says."""

import re
import textwrap
from pathlib import Path

import jax.numpy as jnp
import pytest

from rbcc.compiler import ir
from rbcc.compiler.analysis.lint.base import Report
from rbcc.compiler.diagnostics import CompileError, Diagnostics, Source, Span
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.ir.constants import constant
from rbcc.compiler.primitives import load_file
from rbcc.compiler.semantics.distributions import DISTRIBUTIONS, Distribution
from rbcc.runtime.economy.model import compile as compile_model


PAGE = Path(__file__).parent.parent / "docs" / "extending.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="needs a checkout")


def example(section: str) -> str:
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^ *```python\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(block)


def test_primitive(tmp_path: Path) -> None:
    path = tmp_path / "family.py"
    path.write_text(example("A primitive"), encoding="utf-8")
    assert load_file(path, {})["discounted"].arguments == ("x", "rate")


def test_distribution(write_spec, monkeypatch: pytest.MonkeyPatch) -> None:
    table = dict(DISTRIBUTIONS)
    exec(
        example("A distribution"),
        {"ir": ir, "constant": constant, "Distribution": Distribution, "DISTRIBUTIONS": table},
    )
    monkeypatch.setitem(DISTRIBUTIONS, "logistic", table["logistic"])
    spec = "rbcc: 1\nextends: cournot\nmodel: noisy\nequations:\n  noise: luck = logistic({})\nindicators: {{luck: luck}}\n"
    model = compile_model(write_spec(spec.format(2)))
    assert any(isinstance(node, ir.Draw) for node in ir.expressions(model.ir.equations))
    with pytest.raises(CompileError, match="the scale of logistic cannot be -1"):
        compile_spec(write_spec(spec.format(-1)))


def test_encoding() -> None:
    names: dict = {}
    exec(example("An encoding"), names)
    assert jnp.allclose(names["signed_root"](jnp.array([-8.0, 0.0, 8.0]), 2.0), jnp.array([-2.0, 0.0, 2.0]))


def test_lint_rule(write_spec) -> None:
    names: dict = {}
    exec(example("A lint rule"), names)
    compiled = compile_spec(write_spec("rbcc: 1\nextends: cournot\nmodel: monopoly\nagents: {seller: {count: 1}}\n"))
    names["lonely"](compiled.model, Report(compiled.document, diagnostics := Diagnostics()))
    assert [warning.message for warning in diagnostics.warnings] == ["'seller' has an index and one agent"]


def test_diagnostic() -> None:
    names: dict = {}
    exec(example("A diagnostic"), names)
    source = Source("model.yaml", "x[1 / 2]")
    finding = names["fractional_index"](Span(source, 2, 7), "seller")
    assert finding.message == "'1 / 2' lies between two agents of type 'seller'"
