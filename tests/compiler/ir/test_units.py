from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from rbcc.compiler.ir.units import ONE, Unit
from rbcc.compiler.primitives import PrimitiveError, UnitRule
from rbcc.compiler.syntax import unit_of


POWERS = st.fractions(min_value=-4, max_value=4, max_denominator=6)
UNITS = st.dictionaries(st.sampled_from(["money", "good", "hour", "util"]), POWERS).map(
    lambda powers: Unit(tuple(sorted((k, v) for k, v in powers.items() if v)))
)


@given(UNITS, UNITS, UNITS)
def test_units_form_a_commutative_group(a: Unit, b: Unit, c: Unit) -> None:
    assert a * b == b * a
    assert (a * b) * c == a * (b * c)
    assert a * ONE == a
    assert a / a == ONE
    assert (a * b) / b == a


@given(UNITS, POWERS, POWERS)
def test_powers_add_up(a: Unit, p: Fraction, q: Fraction) -> None:
    assert a**p * a**q == a ** (p + q)
    assert (a**p) ** q == a ** (p * q)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("money/good", "money/good"),
        ("1/hour", "1/hour"),
        ("good^2*money/good", "good*money"),
        ("hour^-1", "1/hour"),
        ("1", "1"),
        ("money/good^2", "money/good^2"),
        ("money/good/hour", "money/good/hour"),
    ],
)
def test_reading_and_showing(text: str, shown: str) -> None:
    assert str(unit_of(text)) == shown
    assert unit_of(shown) == unit_of(text)


@pytest.mark.parametrize("text", ["", "2*money", "money//good", "money +good", "3"])
def test_what_is_no_unit(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        unit_of(text)


@pytest.mark.parametrize(
    ("rule", "units", "result", "misfit"),
    [
        ("a, a -> a", ["good", "good"], "good", None),
        ("a, a -> a", ["good", "hour"], None, (1, "good")),
        ("a, 1/a -> util", ["good", "1/good"], "util", None),
        ("a^2 -> a", ["good^2"], "good", None),
        ("a... -> a", ["good", "good", "hour"], None, (2, "good")),
        ("1, a... -> a", ["1", "hour", "hour"], "hour", None),
        ("any, 1 -> util", ["money", "good"], None, (1, "1")),
        ("a, b, (a, b)... -> b", ["good", "hour", "good", "hour", "good", "hour"], "hour", None),
        ("a, b, (a, b)... -> b", ["good", "hour", "good", "hour", "hour", "hour"], None, (4, "good")),
    ],
)
def test_unit_rules(rule: str, units: list[str], result: str | None, misfit: tuple[int, str] | None) -> None:
    found, wrong = UnitRule.parse(rule).apply([unit_of(u) for u in units])
    assert (wrong and (wrong[0], str(wrong[1]))) == misfit
    if misfit is None:
        assert str(found) == result


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ("a, a -> a", [2]),
        ("a... -> a", [2, 3, 4, 5, 6, 7]),
        ("1, a... -> a", [2, 3, 4, 5, 6, 7]),
        ("a, b, (a, b)... -> b", [4, 6]),
    ],
)
def test_numbers_of_arguments(rule: str, numbers: list[int]) -> None:
    assert [n for n in range(8) if UnitRule.parse(rule).fits(n)] == numbers


def test_unit_rule_that_cannot_be_read() -> None:
    with pytest.raises(PrimitiveError, match="write for example"):
        UnitRule.parse("a a")
