"""Values that are read before they are known."""

from collections.abc import Iterable

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error


def too_late(
    name: str, known: str, purpose: str, span: Span, expected: str, help: str | None, labels: tuple[Label, ...]
) -> Diagnostic:
    """`known` says when the value is known, `purpose` for what it is needed."""
    return error(
        "RB601", f"'{name}' is {known}, too late for {purpose}", span, expected=expected, help=help, labels=labels
    )


def not_offered(
    name: str, purpose: str, span: Span, offered: str, help: str | None, labels: tuple[Label, ...]
) -> Diagnostic:
    """Only what `offered` names can be used for `purpose`, whatever is known."""
    return error(
        "RB601", f"'{name}' cannot be used in {purpose}", span, expected=offered, help=help, labels=labels
    )  # fmt: skip


def use_now(name: str) -> str:
    return f"use the value at the start of the step, '{name}'"


def observe_state(state: str) -> str:
    return f"in the next step it is known as the state '{state}': observe that"


def of_the_step_before(name: str, index: str, after: str | None) -> str:
    """`after` names the types after which the type could choose to know it."""
    later = f"; or let the type choose later in the step: 'after: {after}'" if after else ""
    return f"agents can see the value in the step before: {kept_in_state(name, index)}{later}"


def kept_in_state(name: str, index: str) -> str:
    """How a value of an earlier step is kept."""
    return f"keep it in a state 'last_{name}', with the equation last_{name}'{index} = {name}{index}"


CHANGES = "a quantity that changes from step to step is a state or a value, with an equation"

RESULT_OF_CHOICES = "the result of choices in the step"
RESULT_OF_SHOCKS = "the result of shocks or choices in the step"


def result_of(choices: Iterable[str]) -> str:
    return f"the result of {', '.join(choices)}"


FIXED = "numbers and parameters"
AT_THE_START = "something known at the start of the step"
"""What can be used where no more than this is known."""
