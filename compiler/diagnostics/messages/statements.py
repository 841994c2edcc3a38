"""What a spec says of its economy as a whole: rewards, discount factors, constraints, identities, invariants and
indicators."""

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Span, error


# --- what is missing -------------------------------------------------------------------------------------------------


def no_equation(state: str, next_value: str, span: Span) -> Diagnostic:
    return error(
        "RB603",
        f"nothing says what '{state}' is in the next step",
        span,
        help=f"add an equation {next_value} = ...; a value that never changes is a parameter",
    )


def no_reward(agent: str, span: Span) -> Diagnostic:
    return error(
        "RB102",
        f"'{agent}' has choices but no reward",
        span,
        help="add 'reward: ...': what an agent of this type wants, per step",
    )


def no_discount(agent: str, span: Span, misplaced: Span | None) -> Diagnostic:
    """`misplaced` is a parameter of this name."""
    return error(
        "RB102",
        f"'{agent}' has a reward but no discount factor",
        span,
        help=f"the one at {misplaced.place} is indented below 'parameters': indent it less"
        if misplaced
        else "add 'discount: 0.99' to the spec or to the agent type; 1 for none",
    )


# --- what does not fit -----------------------------------------------------------------------------------------------


def discount_outside_limits(value: float, span: Span) -> Diagnostic:
    return error(
        "RB702",
        f"a discount factor of {value:g}",
        span,
        expected="a number from 0 to 1",
        help=f"is it {value:g}%? Write {value / 100:g}, or {value:g}%"
        if 2 < value <= 100
        else "later steps would count for more than earlier ones",
    )


def discount_with_unit(unit: str, span: Span) -> Diagnostic:
    return error("RB501", "a discount factor has a unit", span, expected="a pure number", found=unit)


def violation_as_choice(constraint: str, span: Span) -> Diagnostic:
    return error(
        "RB401",
        f"the violation of '{constraint}' and its scale are numbers",
        span,
        found="a choice of an agent",
        expected='for example {violation: "max(-budget\'[i], 0)", scale: 1000}',
    )


def scale_of_nothing(span: Span) -> Diagnostic:
    return error(
        "RB401",
        "the scale of a constraint cannot be 0: the violation is divided by it",
        span,
        help="give the size of a violation that matters",
    )


def not_an_identity(span: Span) -> Diagnostic:
    return error(
        "RB401",
        "an identity is an equality",
        span,
        expected="left == right",
        help="a condition that must hold is listed under 'invariants'",
    )


def not_an_invariant(kind: str, text: str, span: Span) -> Diagnostic:
    return error(
        "RB401", f"an invariant is a condition, but this is a {kind}", span, expected=f"for example {text} >= 0"
    )


def indicator_as_choice(agent: str, span: Span) -> Diagnostic:
    """An indicator is a choice of one member of the type `agent`."""
    return error(
        "RB401",
        f"an indicator is a number, but this is a choice of one {agent}",
        span,
        help="look something up with it, x[choice[i]], or count who chose what: count(i where choice[i] == j)",
    )
