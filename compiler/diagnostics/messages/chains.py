"""Markov chains: their values, their chances, and where they start."""

from collections.abc import Iterable

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error


CODE = "RB113"


def number_of_values(count: int, most: int, span: Span) -> Diagnostic:
    return error(CODE, f"a chain of {count} values", span, expected=f"2 to {most}")


def number_of_rows(values: int, rows: int, span: Span) -> Diagnostic:
    return error(CODE, f"{values} values, but {rows} rows of transitions", span, expected=f"{values} rows")


def long_row(chances: int, most: int, span: Span) -> Diagnostic:
    return error(CODE, f"a row of {chances} chances", span, expected=f"at most {most} numbers")


def row_of_another_length(chances: int, values: int, span: Span) -> Diagnostic:
    return error(CODE, f"a row of {chances} chances for {values} values", span, expected=f"{values} numbers")


def value_twice(span: Span) -> Diagnostic:
    return error(CODE, "a value that is given twice", span, expected="values that differ")


def negative_chance(span: Span) -> Diagnostic:
    return error(CODE, "a chance below 0", span, expected="numbers from 0 to 1")


def sum_of_row(total: float, nearly: bool, span: Span) -> Diagnostic:
    """`nearly`: it is off by no more than a rounded fraction is."""
    return error(
        CODE,
        f"this row sums to {total:.12g}",
        span,
        expected="chances that sum to 1",
        help="write thirds as 1/3" if nearly else None,
    )


def outside_limits(key: str, value: object, span: Span, expected: str) -> Diagnostic:
    return error(CODE, f"'{key}' cannot be {value}", span, expected=expected)


PERSISTENCE = "a number between -1 and 1"


def deviation(above_zero: bool) -> str:
    """`above_zero`: it is, but lost beside the mean."""
    return "a number above a millionth of the mean" if above_zero else "a number above 0"


def values_up_to(most: int) -> str:
    return f"2 to {most} values"


def several_stationary_distributions(span: Span) -> Diagnostic:
    return error(
        CODE,
        "this chain has more than one stationary distribution",
        span,
        help="start it at one of its values: where it begins decides where it stays",
    )


def start_outside(values: Iterable[float], span: Span) -> Diagnostic:
    listed = ", ".join(f"{value:.6g}" for value in values)
    return error(CODE, "a Markov chain starts at one of its values", span, expected=f"one of {listed}, or stationary")


def chain_and_equation(state: str, equation: Span, declared: Span) -> Diagnostic:
    return error(
        "RB604",
        f"'{state}' follows its Markov chain, and has an equation too",
        equation,
        help="remove one of the two",
        labels=(Label(declared, "declared at"),),
    )
