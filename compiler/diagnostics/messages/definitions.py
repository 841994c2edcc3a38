"""Equations, rewards, values of parameters and starts of states: what defines each symbol."""

from collections.abc import Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error
from rbcc.compiler.diagnostics.messages.phrases import declared_at


# --- left sides of equations -----------------------------------------------------------------------------------------


def equation_as_group(left: str, right: str, span: Span) -> Diagnostic:
    """An equation is written as a key and its value, `left: right`."""
    return error(
        "RB103",
        f"'{left}' stands where the name of a group of equations is expected",
        span,
        help=f"write a name with '|', such as 'market: |', and below it {left} = {right}",
    )


def unknown_and_equation(name: str, span: Span, declared: Span) -> Diagnostic:
    return error(
        "RB604",
        f"'{name}' is an unknown that is solved for, and has an equation too",
        span,
        help="remove one of the two",
        labels=(Label(declared, "declared at"),),
    )


def second_equation(name: str, span: Span, first: Span) -> Diagnostic:
    return error(
        "RB604",
        f"'{name}' has a second equation",
        span,
        help="keep one; for cases write a if condition else b",
        labels=(Label(first, "first at"),),
    )


def index_twice(index: str, agent: str, free: str | None, span: Span) -> Diagnostic:
    """`free` is another index of the type, if there is one."""
    return error(
        "RB304",
        f"index '{index}' stands twice on the left side",
        span,
        help=f"for pairs of {agent} use '{free}' as the second"
        if free
        else f"for pairs of {agent} declare a second index: 'index: [{index}, k]'",
    )


def no_state(name: str, span: Span, help: str) -> Diagnostic:
    return error(
        "RB605",
        f"there is no state '{name}'",
        span,
        expected="a state: only states have a next value",
        help=help,
    )


def state_to_declare(name: str, meaning: str | None) -> str:
    """How a name with a prime could be written; `meaning` is what it is, if anything."""
    if meaning is None:
        return f"write {name} for its value in this step, or declare it under 'state' with a start"
    return f"{meaning} is not a state: write it without the prime, or declare it under 'state'"


def indices_of_next_value(name: str, indices: str, span: Span, declared: Span) -> Diagnostic:
    return error(
        "RB301",
        f"the indices of '{name}' do not match its declaration",
        span,
        expected=f"{name}'[{indices}]" if indices else f"{name}' without [ ]",
        labels=(Label(declared, "declared at"),),
    )


def not_assignable(name: str, meaning: str, span: Span, next_value: str | None, declared: Span | None) -> Diagnostic:
    """`meaning` is what `name` is already; `next_value` is what could be assigned if that is a state."""
    return error(
        "RB605",
        f"'{name}' is {meaning}: it cannot be assigned",
        span,
        help=f"its value in the next step is {next_value}" if next_value else "give this value another name",
        labels=declared_at(declared),
    )


# --- definitions in a circle -----------------------------------------------------------------------------------------


def needs_itself(cycle: Sequence[str], span: Span, help: str, links: Sequence[Span]) -> Diagnostic:
    """`links` are the places at which each name of the cycle uses the next."""
    pairs = zip(cycle, cycle[1:], links, strict=False)
    labels = tuple(Label(place, f"'{user}' needs '{needed}' at") for user, needed, place in pairs)
    return error(
        "RB602",
        f"'{cycle[0]}' needs itself: {' -> '.join(cycle)}",
        span,
        help=help,
        labels=labels if len(labels) > 1 else (),
    )


PARAMETER_IN_A_CIRCLE = "one of them must have a value of its own"

STATE_IN_A_CIRCLE = (
    "one of them must use something known already, such as a state, whose new value (x') counts in the next step"
)

VALUE_IN_A_CIRCLE = f"{STATE_IN_A_CIRCLE}; or make it an unknown that an equation under 'solve' determines"


def carried_over(next_value: str) -> str:
    return (
        f"a value that is carried from step to step is a state: declare it, with a start, and write {next_value} = ..."
    )


# --- right sides -----------------------------------------------------------------------------------------------------


def sides_in_different_units(name: str, unit: str, found: str, span: Span, declared: Span | None) -> Diagnostic:
    return error(
        "RB501",
        f"the right side of '{name}' has a different unit from the left",
        span,
        expected=f"{unit}, the unit of '{name}'",
        found=f"{found}, the unit of the right side",
        labels=declared_at(declared),
    )


def another_kind(name: str, kind: str, found: str, span: Span, declared: Span) -> Diagnostic:
    """The equation of the state `name`, a number or a flag, gives another kind of value."""
    flag = kind == "flag"
    return error(
        "RB401",
        f"'{name}' is a {kind}, but its equation gives a {found}",
        span,
        expected="a condition, such as x[i] > 0" if flag else "a number",
        help="a state that starts as true or false is a flag; to make it a number, start it with a number"
        if flag
        else None,
        labels=(Label(declared, "declared at"),),
    )


def reward_as_choice(agent: str, span: Span) -> Diagnostic:
    """A reward is a choice of one member of the type `agent`."""
    return error(
        "RB401",
        f"a reward is a number, but this is a choice of one {agent}",
        span,
        help="look something up with it, x[choice[i]]",
    )


# --- values and starts -----------------------------------------------------------------------------------------------


def value_as_choice(purpose: str, span: Span) -> Diagnostic:
    return error("RB401", f"{purpose} must be a number or a flag", span)


def value_in_another_unit(
    purpose: str, name: str, unit: str, found: str, pure: bool, span: Span, declared: Span
) -> Diagnostic:
    """`purpose` says what the value is for; `pure`: a pure number is needed."""
    return error(
        "RB501",
        f"{purpose} has a different unit from '{name}'",
        span,
        expected=f"{unit}, the unit of '{name}'",
        found=f"{found}, the unit of this value",
        help="without 'unit' it is a pure number" if pure else None,
        labels=(Label(declared, "declared at"),),
    )


def start_from(name: str, span: Span) -> Diagnostic:
    return error(
        "RB601",
        f"a start can use only parameters, not '{name}'",
        span,
        help="'time' is 0 at the start"
        if name == "time"
        else "give the common start a name under 'parameters', and use it for both",
    )
