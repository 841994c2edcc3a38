"""What holds for every model that ships."""

import json
from pathlib import Path

import pytest

from rbcc.compiler.driver import compile_spec
from rbcc.compiler.ir import from_json, to_json
from rbcc.compiler.optimize import optimise
from rbcc.compiler.source import shipped_models


MODELS = sorted(path.stem for path in shipped_models().glob("*.yaml"))
NAMES = """eta technology interest export_price export_quantity labor_floor revenue_boost theta_scale disutility_scale
    budget_guard consumer.budget firm.price firm.wage firm.inventory firm.overdemanded firm.cash firm.capital
    government.income_tax government.corporate_tax consumer.theta firm.alpha consumer.demand consumer.hours
    consumer.employer firm.set_price firm.set_wage firm.invest government.set_income_tax government.set_corporate_tax
    consumption exported production""".split()


@pytest.mark.parametrize("name", MODELS)
def test_compiles_without_warnings(name: str) -> None:
    compiled = compile_spec(name)
    assert compiled.warnings == ()
    assert compiled.model.title
    compile(compiled.python(), name, "exec")


@pytest.mark.parametrize("name", MODELS)
def test_header_comment(name: str) -> None:
    assert (shipped_models() / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("name", MODELS)
def test_ir_survives_json(name: str) -> None:
    for model in (compile_spec(name).model, optimise(compile_spec(name).model)):
        assert from_json(json.loads(json.dumps(to_json(model)))) == model


@pytest.mark.parametrize("name", MODELS)
def test_same_spec_same_text(name: str) -> None:
    assert compile_spec(name).python() == compile_spec(name).python()


def test_names_that_others_rely_on() -> None:
    symbols = {symbol.name for symbol in compile_spec("open_rbc").model.symbols}
    assert set(NAMES) <= symbols


@pytest.mark.parametrize("name", [m for m in MODELS if m.startswith("open_rbc_")])
def test_variants_only_override(name: str) -> None:
    """A variant has no equations beyond those of the open economy, some of them changed."""
    base, variant = compile_spec("open_rbc").model, compile_spec(name).model
    assert {d.symbol for d in variant.equations} == {d.symbol for d in base.equations}
    assert len((shipped_models() / f"{name}.yaml").read_text().splitlines()) < 40


def test_ir_text_names_everything() -> None:
    model = compile_spec("open_rbc").model
    text = model.text()
    for symbol in model.symbols:
        assert symbol.name in text
    assert "labour[j] = sum(i where consumer.employer[i] == j, consumer.hours[i])" in text


def test_generated_module_is_readable() -> None:
    text = compile_spec("cournot").python()
    assert text.startswith('"""Cournot duopoly (Cournot (1838))\n')
    assert "    supply = jnp.sum(quantity, axis=0)\n" in text
    assert [line for line in text.splitlines() if line.startswith(("import", "from"))] == [
        "import jax",
        "import jax.numpy as jnp",
    ]


def test_files_are_where_they_say(tmp_path: Path) -> None:
    """A model that extends a shipped one by its bare name finds it from any folder."""
    path = tmp_path / "mine.yaml"
    path.write_text("extends: open_rbc\nmodel: mine\nparameters: {eta: 0.5}\n")
    compiled = compile_spec(path)
    assert compiled.model.name == "mine"
    assert [Path(file).name for file in compiled.model.files] == ["mine.yaml", "open_rbc.yaml", "closed_rbc.yaml"]
