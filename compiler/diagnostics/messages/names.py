"""Names that mean nothing, mean several things, or mean something else already."""

from collections.abc import Iterable, Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error, warning
from rbcc.compiler.diagnostics.messages.phrases import declared_at, did_you_mean, listed


# --- unknown names ---------------------------------------------------------------------------------------------------


def no_agent_type(name: str, span: Span, known: Sequence[str], help: str | None = None) -> Diagnostic:
    return error(
        "RB202",
        f"there is no agent type '{name}'",
        span,
        help=help or did_you_mean(name, known, f"agent types are: {listed(known)}"),
    )


def no_next_value(name: str, span: Span) -> Diagnostic:
    return error(
        "RB202",
        f"'{name}' has no next value",
        span,
        expected="a state: only states are carried to the next step",
        help=f"write '{name}' for its value in this step",
    )


def undefined(name: str, span: Span, expected: str | None, help: str | None) -> Diagnostic:
    return error("RB202", f"'{name}' is not defined", span, expected=expected, help=help)


def where_to_define(name: str, primed: bool, fixed: bool) -> str:
    """`fixed`: the name stands where only parameters are known."""
    if primed:
        return f"declare '{name}' under 'state' of the spec or of an agent type"
    if fixed:
        return "declare it under 'parameters'"
    return "declare it under 'parameters', 'state' or 'actions', or write an equation for it"


def no_value(name: str, span: Span, meaning: str | None, values: Sequence[str]) -> Diagnostic:
    """`name` is not one of the `values`; `meaning` is what else it is, if anything."""
    return error(
        "RB202" if meaning is None else "RB208",
        f"'{name}' is not defined" if meaning is None else f"'{name}' is {meaning}, not a value of an equation",
        span,
        help=did_you_mean(name, values, f"values are: {listed(values)}"),
    )


def no_indicator(name: str, span: Span, indicators: Sequence[str]) -> Diagnostic:
    return error(
        "RB202",
        f"there is no indicator '{name}'",
        span,
        help=did_you_mean(name, indicators, f"indicators are: {listed(indicators)}"),
    )


def no_function(name: str, span: Span, help: str | None, declared: Span | None = None) -> Diagnostic:
    return error("RB205", f"there is no function '{name}'", span, help=help, labels=declared_at(declared))


# --- names with several meanings -------------------------------------------------------------------------------------


def declared_twice(name: str, first: str, second: str, span: Span, declared: Span | None) -> Diagnostic:
    """`first` and `second` say what it is declared as, with the article."""
    return error(
        "RB203",
        f"'{name}' is declared twice, as {first} and as {second}",
        span,
        help="give one of the two another name",
        labels=declared_at(declared, "declared first at"),
    )


def unit_declared_twice(unit: str, span: Span) -> Diagnostic:
    return error("RB203", f"unit '{unit}' is declared twice", span, help="keep one of the two")


def index_declared_twice(index: str, agent: str, span: Span, declared: Span, free: str) -> Diagnostic:
    """`agent` is the type that has the index already; `free` is an index that no type has."""
    return error(
        "RB203",
        f"index '{index}' already belongs to '{agent}'",
        span,
        help=f"use another, such as '{free}'",
        labels=(Label(declared, "declared first at"),),
    )


def identity_and_account(name: str, span: Span, identity: Span) -> Diagnostic:
    return error(
        "RB203",
        f"'{name}' is an identity and an account",
        span,
        help="an account is an identity too: remove the other one, or give it another name",
        labels=(Label(identity, "the identity is at"),),
    )


def ambiguous(name: str, span: Span, meanings: Sequence[str]) -> Diagnostic:
    return error(
        "RB204",
        f"'{name}' is declared by more than one agent type",
        span,
        help=f"write {' or '.join(meanings)}",
    )


def ambiguous_state(name: str, span: Span, states: Iterable[str]) -> Diagnostic:
    return error(
        "RB204",
        f"'{name}' is a state of more than one agent type: {' and '.join(states)}",
        span,
        help="give one of them another name",
    )


def hides_symbol(name: str, hidden: str, role: str, span: Span, declared: Span) -> Diagnostic:
    """`name` of an agent type hides what the spec declares as `hidden`, with a `role`."""
    return error(
        "RB209",
        f"'{name}' hides '{hidden}', {role} of the model",
        span,
        help="give one of the two another name",
        labels=(Label(declared, "declared at"),),
    )


def schedule_hides_word(name: str, span: Span) -> Diagnostic:
    return error("RB209", f"schedule '{name}' hides '{name}', a word of schedules", span, help="give it another name")


def schedule_hides_parameter(name: str, span: Span, declared: Span) -> Diagnostic:
    return error(
        "RB209",
        f"schedule '{name}' hides the parameter '{name}'",
        span,
        help="to change the parameter during training, put it under 'anneal'; otherwise use another name",
        labels=(Label(declared, "declared at"),),
    )


# --- names that cannot be used ---------------------------------------------------------------------------------------


def reserved(name: str, meaning: str, span: Span) -> Diagnostic:
    """`name` in quotation marks, with what it would name if that helps; `meaning` is what it means already."""
    return error("RB208", f"{name} cannot be declared: it is {meaning}", span, help="use another name")


def reserved_agent_type(name: str, span: Span) -> Diagnostic:
    return error(
        "RB208", f"'{name}' cannot name an agent type: it is a word of the language", span, help="use another name"
    )


def reserved_index(index: str, span: Span, free: str) -> Diagnostic:
    return error(
        "RB208",
        f"'{index}' cannot be an index name: it means something else",
        span,
        help=f"use another, such as '{free}'",
    )


def not_a_name(name: str, span: Span) -> Diagnostic:
    return error("RB208", f"'{name}' cannot be a name", span, expected="letters, digits and _")


def agent_type_as_value(name: str, span: Span) -> Diagnostic:
    return error(
        "RB208", f"'{name}' is an agent type, not a value", span, help=f"count({name}) is the number of its agents"
    )


def unit_as_value(unit: str, span: Span) -> Diagnostic:
    return error(
        "RB208",
        f"'{unit}' is a unit, not a value",
        span,
        help=f"give the number a name: 'parameters: {{x: {{value: 1, unit: {unit}}}}}'",
    )


# --- names without a use ---------------------------------------------------------------------------------------------


def unused(name: str, span: Span, help: str = "remove it", only_by_itself: bool = False) -> Diagnostic:
    """`name` says what it is: "parameter 'x'"; with `only_by_itself` its own equation is all that reads it."""
    used = "used only by its own equation" if only_by_itself else "never used"
    return warning("RB207", f"{name} is {used}", span, help=help)


def unused_choice(name: str, span: Span) -> Diagnostic:
    return unused(
        f"choice '{name}'", span, "choosing it has no effect: use it in an equation or a reward, or remove it"
    )


def unused_unit(unit: str, span: Span) -> Diagnostic:
    return unused(f"unit '{unit}'", span, "give values their unit, or remove it")
