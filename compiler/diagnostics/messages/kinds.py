"""Numbers, flags, choices and indices where another kind of value is needed; numbers that cannot be."""

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Span, error


def choice_as_number(span: Span, agent: str, index: str) -> Diagnostic:
    return error(
        "RB401",
        f"a choice of one {agent} is not a number",
        span,
        help=f"compare it with an index ({span.words} == {index}), or look something up with it (x[{span.words}])",
    )


def no_condition(span: Span, kind: str, index: str | None) -> Diagnostic:
    """`index` is one of the agent type if it is a choice that stands where a condition is needed."""
    return error(
        "RB401",
        f"a {kind} stands where a condition is needed",
        span,
        expected="a comparison or a flag",
        help=f"compare it: {span.words} {f'== {index}' if index else '> 0'}",
    )


def different_members(span: Span, left: str, right: str, choice: Span, agent: str, index: str) -> Diagnostic:
    """A choice, or an index, is compared with something other than a member of its type; `left` and `right` say what
    they are."""
    return error(
        "RB302",
        f"{left} is compared with {right}",
        span,
        help=f"compare it with an index of {agent}: {choice.words} == {index}; an index counts from 0: {index} == 2",
    )


def choices_in_order(span: Span, operator: str) -> Diagnostic:
    return error(
        "RB401", f"choices have no order: '{operator}' cannot compare them", span, expected="== or !="
    )  # fmt: skip


def different_branches(span: Span, then: str, otherwise: str) -> Diagnostic:
    return error("RB401", f"one branch is {then}, the other {otherwise}", span)


def division_by_zero(span: Span, divisor: bool = True) -> Diagnostic:
    """The divisor that is 0, or else a negative power of 0."""
    return error("RB401", "division by zero", span, expected="a divisor that is not 0" if divisor else None)


def power_of_negative(span: Span) -> Diagnostic:
    return error("RB401", "a power of a negative number", span, expected="a whole number as its exponent")


def beyond_computers(span: Span, smallest: float, largest: float) -> Diagnostic:
    return error(
        "RB401",
        "a number too large or too small for a computer",
        span,
        expected=f"0, or numbers from {smallest:g} to {largest:g}",
    )


def level(function: str, value: float, span: Span) -> Diagnostic:
    """The last argument of a quantile or a top share does not lie from 0 to 1."""
    percent = f"{value:g}% is written {value / 100:g} or {value:g}%" if 1 < value <= 100 else None
    return error(
        "RB401", f"the level of {function} is {value:g}", span, expected="a number from 0 to 1", help=percent
    )  # fmt: skip


_DOMAINS = {
    "log": ("the logarithm", "a number above 0"),
    "sqrt": ("the square root", "0 or a number above it"),
    "exp": ("the exponential", "at most 87: the result of more is too large for a computer"),
}


def outside_domain(function: str, value: float, span: Span) -> Diagnostic:
    words, domain = _DOMAINS[function]
    return error("RB401", f"{words} of {value:g}", span, expected=domain)
