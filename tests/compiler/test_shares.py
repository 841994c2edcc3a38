"""Choices of shares in what people read and write: summaries, pages, differences, completion."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rbcc.compiler import ir
from rbcc.compiler.driver import compile_spec
from rbcc.compiler.tools.diff import difference, show
from rbcc.compiler.tools.doc import document
from rbcc.compiler.tools.formatter import format_text
from rbcc.compiler.tools.summary import summary
from rbcc.editor.complete import complete
from rbcc.editor.workspace import Workspace


SPEC = """rbcc: 1
model: savers
horizon: 2
discount: 1
agents:
  saver:
    index: i
    count: 3
    state: {held: {over: firm, start: 1/2, scale: 1}, last: {over: firm, start: 0}}
    actions: {portfolio: {shares: firm, doc: of savings}}
    observes: [held, last]
    reward: sum(j, j * portfolio[i,j]) + sum(j, held[i,j] + last[i,j])
  firm: {index: j, count: 2}
equations:
  all: |
    held'[i,j] = held[i,j] * portfolio[i,j]
    last'[i,j] = portfolio[i,j]
"""


@pytest.fixture
def model(write_spec: Callable[..., Path]) -> ir.Model:
    return compile_spec(write_spec(SPEC)).model


def test_ir(model: ir.Model) -> None:
    action = model.action("saver.portfolio")
    assert (action.shares, action.choices, action.bounds, action.of) == (True, (), None, None)
    assert model.symbol("saver.portfolio").sets == ("saver", "firm")
    assert "saver.portfolio: a share of the whole" in model.text()
    assert ir.from_json(json.loads(json.dumps(ir.to_json(model)))) == model


def test_what_holds_shares_is_observed_as_it_is(model: ir.Model) -> None:
    (observation,) = model.observations
    last = next(feature for feature in observation.features if feature.name == "last")
    assert last.scale is not None
    assert (last.encoding, ir.show(last.scale)) == ("linear", "1")


def test_pages(write_spec: Callable[..., Path]) -> None:
    compiled = compile_spec(write_spec(SPEC))
    assert "chooses  portfolio for each firm: a share of the whole" in summary(compiled, "module.py")
    for form in (".md", ".html", ".tex"):
        assert "a share of the whole, for each firm" in document(compiled, form)


def test_differences(model: ir.Model, write_spec: Callable[..., Path]) -> None:
    other = SPEC.replace("{shares: firm, doc: of savings}", "{over: firm, choices: [0, 1]}")
    lines = show(difference(compile_spec(write_spec(other)).model, model)).splitlines()
    assert lines[:2] == ["choices", "  ~ saver.portfolio: 0, 1 for each firm -> a share of the whole for each firm"]
    assert not difference(model, model)


def test_formatting() -> None:
    assert format_text(SPEC, "model.yaml") == SPEC
    assert format_text(SPEC.replace("{shares: firm, doc", "{ shares:  firm,doc"), "model.yaml") == SPEC


@pytest.mark.parametrize(("typed", "offered"), [("{sh", "shares"), ("{shares: f", "firm")])
def test_completion(typed: str, offered: str, write_spec: Callable[..., Path]) -> None:
    path = write_spec(SPEC)
    text = SPEC.replace("{shares: firm, doc: of savings}", typed)
    workspace = Workspace([path.parent])
    workspace.write(path, SPEC.replace("{shares: firm, doc: of savings}", "{over: firm, choices: [0, 1]}"))
    analysis = workspace.analysis(path)
    workspace.write(path, text)
    now = workspace.analysis(path)
    offers = complete(now.source, text.index(typed) + len(typed), analysis, workspace)
    assert offered in [offer.label for offer in offers]
