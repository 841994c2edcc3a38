"""Every row of the table of what other languages call it is met by an author who writes its example."""

import re
from pathlib import Path

import pytest

from rbcc.compiler.diagnostics import Diagnostics, Source, Span
from rbcc.compiler.diagnostics.other_languages import (
    EQUATIONS,
    EXPRESSIONS,
    FUNCTIONS,
    KEYS,
    NUMBERS,
    UNITS,
    WORDS,
    Notation,
    Number,
    number_trap,
)
from rbcc.compiler.driver import examine
from rbcc.compiler.source import Scalar
from rbcc.compiler.syntax import parse_equations, parse_expression, parse_unit


MARKET = Path(__file__).parents[2] / "specs" / "market.yaml"

TABLES = (
    "{}: 1",
    "agents: {{seller: {{{}: 1}}}}",
    "parameters: {{slope: {{value: 1, {}: 1}}}}",
    "state: {{mood: {{start: 1, {}: 1}}}}",
    "agents: {{seller: {{actions: {{quantity: {{choices: {{step: 1, {}: 1}}}}}}}}}}",
)
"""A key in the spec, an agent type, a parameter, a state, a list of choices."""


def helps(text: str, folder: Path) -> set[str | None]:
    path = folder / "model.yaml"
    path.write_text(f"rbcc: 1\nextends: {MARKET}\nmodel: stranger\n{text}\n", encoding="utf-8")
    return {error.help for error in examine(path).diagnostics.errors}


def scalar(text: str) -> Scalar:
    return Scalar(text, text, Span(Source("text", text), 0, len(text)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, tmp_path: Path) -> None:
    assert FUNCTIONS[name] in helps(f"indicators: {{strange: {name}(1)}}", tmp_path)


@pytest.mark.parametrize("name", WORDS)
def test_words(name: str, tmp_path: Path) -> None:
    assert WORDS[name] in helps(f"indicators: {{strange: 1 + {name}}}", tmp_path)


@pytest.mark.parametrize("name", KEYS)
def test_keys(name: str, tmp_path: Path) -> None:
    assert KEYS[name] in {help for table in TABLES for help in helps(table.format(name), tmp_path)}


@pytest.mark.parametrize("notation", EXPRESSIONS, ids=lambda notation: notation.example)
def test_expressions(notation: Notation) -> None:
    parse_expression(scalar(notation.example), diagnostics := Diagnostics())
    assert [error.help for error in diagnostics.errors] == [notation.help]


@pytest.mark.parametrize("notation", EQUATIONS, ids=lambda notation: notation.example)
def test_equations(notation: Notation) -> None:
    parse_equations(scalar(notation.example), diagnostics := Diagnostics())
    assert [error.help for error in diagnostics.errors] == [notation.help]


@pytest.mark.parametrize("notation", UNITS, ids=lambda notation: notation.example)
def test_units(notation: Notation) -> None:
    parse_unit(scalar(notation.example), diagnostics := Diagnostics())
    assert [error.help for error in diagnostics.errors] == [notation.help]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.example)
def test_numbers(number: Number) -> None:
    first = next(other for other in NUMBERS if re.fullmatch(other.pattern, number.example))
    assert first is number
    assert number_trap(number.example) == number.trap(number.example)
