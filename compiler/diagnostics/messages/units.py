"""Units that do not agree, and units that are missing."""

from collections.abc import Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Span, error, warning
from rbcc.compiler.diagnostics.messages.phrases import did_you_mean


def differ(what: str, first: Span, first_unit: str, second: Span, second_unit: str) -> Diagnostic:
    """`what` names the parts that should have one unit: "the two sides of '+'"."""
    return error(
        "RB501",
        f"{what} have different units",
        second,
        expected=f"{first_unit}, the unit of '{first.words}'",
        found=f"{second_unit}, the unit of '{second.words}'",
    )


def number_without_unit(number: Span, unit: str) -> Diagnostic:
    """A written number stands beside a value in `unit`."""
    return warning(
        "RB503",
        f"'{number.words}' has no unit, but stands beside a value in {unit}",
        number,
        help=f"make it a parameter with 'unit: {unit}'",
    )


def exponent(span: Span, unit: str) -> Diagnostic:
    return error(
        "RB501",
        "an exponent has a unit",
        span,
        expected="a pure number",
        found=f"{unit}, the unit of '{span.words}'",
        help=made_pure(unit),
    )


def depends_on_exponent(power: Span, exponent: Span, base_unit: str) -> Diagnostic:
    return warning(
        "RB504",
        f"the unit of this power depends on the value of '{exponent.words}'",
        power,
        expected="an exponent that is a written number, or a base without a unit",
        help=f"the units of expressions made from it are not checked; {made_pure(base_unit)}",
    )


def argument_of_distribution(distribution: str, span: Span, unit: str) -> Diagnostic:
    return error("RB501", f"an argument of {distribution} has a unit", span, expected="a pure number", found=unit)


def argument(function: str, number: int, span: Span, unit: str, needed: str | None, like: Span | None) -> Diagnostic:
    """Argument `number` of a function has a `unit` other than `needed`, None for a pure number, which is that of
    another argument, `like`, if there is such a one."""
    expected = "a pure number" if needed is None else needed
    return error(
        "RB501",
        f"argument {number} of {function} has the wrong unit",
        span,
        expected=expected if like is None else f"{expected}, the unit of '{like.words}'",
        found=f"{unit}, the unit of '{span.words}'",
        help=made_pure(unit) if needed is None else None,
    )


def made_pure(unit: str) -> str:
    """How a pure number is made of a value in `unit`."""
    return f"divide by something in {unit}, such as a parameter {{value: 1, unit: {unit}}}"


def unknown(unit: str, span: Span, declared: Sequence[str]) -> Diagnostic:
    """`declared` are the units of the spec; "util" is one of every model."""
    return error(
        "RB502",
        f"'{unit}' is not a unit of this model",
        span,
        help=did_you_mean(unit, [*declared, "util"], f"declare it: 'units: [{', '.join([*declared, unit])}]'"),
    )
