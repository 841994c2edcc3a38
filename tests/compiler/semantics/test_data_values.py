"""Parameters and starts from lists and CSV files; wrong ones are in test_bad_specs."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from transitions import compare

from rbcc.compiler import ir
from rbcc.compiler.diagnostics import CompileError
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.semantics import data_values
from rbcc.runtime.economy.model import compile


SPEC = """
rbcc: 1
model: tables
horizon: 2
discount: 1
parameters: {{level: {level}}}
agents:
  ant:
    index: [i, k]
    count: {ants}
    parameters:
      skill: {skill}
      near: {{over: ant, value: {near}}}
      taste: {{over: bee, value: {taste}}}
    state:
      wealth: {{start: {wealth}}}
    actions: {{work: {{choices: [0, 1]}}}}
    observes: [wealth, skill, near, taste]
    reward: level * skill[i] * work[i] * sum(k, near[i,k]) * sum(j, taste[i,j])
  bee: {{index: j, count: {bees}}}
equations:
  all: "wealth'[i] = wealth[i]"
"""
PLAIN = {
    "level": "1", "ants": "3", "bees": "2", "skill": "1", "near": "0", "taste": "0", "wealth": "1",
}  # fmt: skip


@pytest.fixture
def spec(write_spec: Callable[..., Path]) -> Callable[..., Path]:
    return lambda **values: write_spec(SPEC.format(**{**PLAIN, **values}))


def parameter(path: Path, name: str) -> np.ndarray:
    """In the order of the spec."""
    model = compile(path)
    return np.asarray(model.written(model.module.constants())[name])


def codes(path: Path) -> set[str]:
    """Those of the errors of a spec."""
    try:
        compile_spec(path)
    except CompileError as error:
        assert len(str(error)) > 20  # noqa: PT017
        return {d.code for d in error.diagnostics}
    return set()


def test_lists(spec: Callable[..., Path]) -> None:
    path = spec(skill="[1, 5%, 1/3]", near="[[0, 1, 2], [3, 4, 5], [6, 7, 8]]", taste="[[1, 2], [3, 4], [5, 6]]")
    assert np.allclose(parameter(path, "ant.skill"), [1, 0.05, 1 / 3])
    assert np.array_equal(parameter(path, "ant.near"), np.arange(9).reshape(3, 3))
    assert np.array_equal(parameter(path, "ant.taste"), np.arange(1, 7).reshape(3, 2))
    compare(compile(path), 10)


def test_lists_of_starts_and_flags(spec: Callable[..., Path]) -> None:
    model = compile(spec(wealth="[10, -2.5e2, 0]"))
    assert np.array_equal(model.reset(jax.random.key(0))["ant.wealth"], [10, -250, 0])
    assert np.allclose(model.observe(model.reset(jax.random.key(0)))["ant"][1, 0], -np.log(2))  # scale 250
    flags = compile(spec(wealth="[true, false, true]"))
    assert np.array_equal(flags.reset(jax.random.key(0))["ant.wealth"], [True, False, True])
    assert flags.reset(jax.random.key(0))["ant.wealth"].dtype == bool


def test_a_list_in_place_of_a_number_keeps_the_unit(write_spec: Callable[..., Path]) -> None:
    base = SPEC.format(**{**PLAIN, "skill": "{value: 1, unit: money, doc: how able}"})
    write_spec(base.replace("horizon", "units: [money]\nhorizon"), "base.yaml")
    child = "rbcc: 1\nextends: base.yaml\nmodel: child\nagents: {ant: {parameters: {skill: [1, 2, 3]}}}\n"
    symbol = compile_spec(write_spec(child)).model.symbol("ant.skill")
    assert (str(symbol.type.unit), symbol.doc) == ("money", "how able")
    overridden = compile_spec(write_spec(child), {"agents.ant.parameters.skill": [4, 5, 6]}).model
    found = next(d.expression for d in overridden.parameters if d.symbol == "ant.skill")
    assert isinstance(found, ir.Table)
    assert found.values == (4, 5, 6)
    assert str(overridden.symbol("ant.skill").type.unit) == "money"


def test_columns_of_a_file(spec: Callable[..., Path], tmp_path: Path) -> None:
    """With the byte order mark, the line ends, quotes and blank lines at the end that spreadsheets write."""
    text = '\ufeffname , "wage"\r\n"Ann, née B",1\r\n"the ""other""",-2.5e3\r\nCleo, 0.5 \r\n\r\n'
    (tmp_path / "people.csv").write_bytes(text.encode())
    path = spec(skill="{value: {csv: people.csv, column: wage}}", wealth="{csv: people.csv, column: wage}")
    assert np.array_equal(parameter(path, "ant.skill"), [1, -2500, 0.5])
    assert np.array_equal(compile(path).reset(jax.random.key(0))["ant.wealth"], [1, -2500, 0.5])


def test_matrices_of_a_file(spec: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "near.csv").write_text("land,A,B,C\nA,0,1,2\nB,3,4,5\nC,6,7,8\n")
    (tmp_path / "taste.csv").write_text("x,y\n1,2\n3,4\n5,6\n")
    path = spec(near="{csv: near.csv, key: land}", taste="{csv: taste.csv}")
    assert np.array_equal(parameter(path, "ant.near"), np.arange(9).reshape(3, 3))
    assert np.array_equal(parameter(path, "ant.taste"), np.arange(1, 7).reshape(3, 2))


def test_a_single_number_of_a_file(spec: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "level.csv").write_text("level\n7\n")
    assert parameter(spec(level="{value: {csv: level.csv, column: level}}"), "level") == 7


def test_files_are_relative_to_the_spec_that_names_them(spec: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "skill.csv").write_text("x\n1\n2\n3\n")
    spec(skill="{value: {csv: skill.csv, column: x}}")
    folder = tmp_path / "deeper"
    folder.mkdir()
    child = folder / "child.yaml"
    child.write_text("rbcc: 1\nextends: ../model.yaml\nmodel: child\n")
    assert np.array_equal(parameter(child, "ant.skill"), [1, 2, 3])


@settings(deadline=None, max_examples=30)
@given(values=st.lists(st.floats(-1e38, 1e38, width=64), min_size=1, max_size=40))
def test_numbers_survive_the_file_the_ir_and_the_module(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "x.csv").write_text("x\n" + "".join(f"{value!r}\n" for value in values))
    text = SPEC.format(**{**PLAIN, "ants": len(values), "skill": "{value: {csv: x.csv, column: x}}"})
    (folder / "table.yaml").write_text(text)
    compiled = compile_spec(folder / "table.yaml")
    model = ir.from_json(json.loads(json.dumps(ir.to_json(compiled.model))))
    assert model == compiled.model
    table = next(d.expression for d in model.parameters if d.symbol == "ant.skill")
    assert isinstance(table, ir.Table)
    assert table.values == tuple(values)
    line = compiled.python().partition('given.get("ant.skill", jnp.asarray((')[2].partition("), float)")[0]
    assert [float(number) for number in line.split(",") if number.strip()] == values


def test_long_tables_are_written_in_lines(spec: Callable[..., Path]) -> None:
    path = spec(ants="400", skill=str(list(range(400))))
    text = compile_spec(path).python()
    assert max(map(len, text.splitlines())) < 200
    assert np.array_equal(parameter(path, "ant.skill"), np.arange(400))


def test_the_digest_covers_the_files(spec: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "skill.csv"
    file.write_text("x\n1\n2\n3\n")
    path = spec(skill="{value: {csv: skill.csv, column: x}}")
    first = compile_spec(path).model.digest
    file.write_text("x\n1\n2\n4\n")
    assert compile_spec(path).model.digest != first
    file.write_text("x\n1\n2\n3\n")
    (tmp_path / "renamed.csv").write_text(file.read_text())
    assert compile_spec(spec(skill="{value: {csv: renamed.csv, column: x}}")).model.digest == first


@pytest.mark.parametrize(("name", "limit"), [("MAX_BYTES", 99), ("MAX_ROWS", 50)])
def test_files_that_are_too_large(
    spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    (tmp_path / "skill.csv").write_text("x\n" + "1\n" * 50)
    monkeypatch.setattr(data_values, name, limit)
    assert codes(spec(skill="{value: {csv: skill.csv, column: x}}")) == {"RB005"}


def test_of_many_bad_cells_the_first_are_told(spec: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "skill.csv").write_text("x\n" + "NA\n" * 50)
    with pytest.raises(CompileError) as caught:
        compile_spec(spec(ants="50", skill="{value: {csv: skill.csv, column: x}}"))
    assert len(caught.value.diagnostics) == data_values.MAX_BAD_CELLS + 1


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.sampled_from('a,";\n\r\t 1.eé-\x00'), max_size=40))
def test_no_file_gives_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "x.csv").write_text(text, encoding="utf-8")
    (folder / "fuzz.yaml").write_text(SPEC.format(**{**PLAIN, "ants": 2, "skill": "{value: {csv: x.csv, column: a}}"}))
    assert codes(folder / "fuzz.yaml") <= {"RB110", "RB111", "RB112"}
