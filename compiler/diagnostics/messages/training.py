"""Settings of training and of verification."""

from collections.abc import Collection, Iterable, Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error
from rbcc.compiler.diagnostics.messages.phrases import did_you_mean, listed, numbers


# --- settings --------------------------------------------------------------------------------------------------------


def no_setting(name: str, span: Span, settings: Iterable[str], types: Sequence[str]) -> Diagnostic:
    """`name` stands where `settings` and agent `types` can."""
    return error(
        "RB702",
        f"'{name}' is neither a setting nor an agent type with choices",
        span,
        help=did_you_mean(name, [*settings, *types], f"agent types are: {listed(types)}"),
    )


def changes_between_phases(key: str, agents: Iterable[str], first: str, later: str, span: Span) -> Diagnostic:
    return error(
        "RB702",
        f"'{key}' of {' and '.join(agents)} changes between the phases {first} and {later}",
        span,
        help=f"set '{key}' once, under the agent type or 'default': a network goes through all phases",
    )


def no_constraint(agent: str | None, name: str, span: Span, known: Collection[str]) -> Diagnostic:
    """A multiplier of a constraint that `agent`, or with None every type, lacks."""
    return error(
        "RB702",
        f"{agent} has no constraint '{name}'" if agent else f"no agent type has a constraint '{name}'",
        span,
        expected=f"one of: {listed(sorted(known))}" if known else None,
        help="declare it under 'constraints' of the agent type",
    )


def not_a_single_number(name: str, span: Span) -> Diagnostic:
    return error("RB702", f"{name} must be a single number", span)


# --- schedules, annealing and windows --------------------------------------------------------------------------------


def schedules_need_each_other(cycle: Sequence[str], spans: Sequence[Span]) -> Diagnostic:
    """`spans` are the places of the schedules of the cycle."""
    labels = tuple(Label(span, f"'{name}' at") for name, span in zip(cycle[1:-1], spans[1:-1], strict=True))
    return error(
        "RB602",
        f"schedules need each other: {' -> '.join(cycle)}",
        spans[0],
        help="one of them must do without the others, with progress or iteration",
        labels=labels,
    )


def not_annealable(name: str, meaning: str | None, span: Span, parameters: Iterable[str]) -> Diagnostic:
    """`meaning` is what `name` is, if anything; `parameters` are those that can be annealed."""
    return error(
        "RB702",
        f"'{name}' is not a parameter that could be annealed"
        if meaning is None
        else f"'{name}' is {meaning}: it cannot be annealed",
        span,
        expected="a parameter without an index, or a choice with a window {open: [0, 0.2], from: ...}",
        help=did_you_mean(name, parameters),
    )


def not_a_list_of_numbers(choice: str, span: Span, close: str | None) -> Diagnostic:
    """A window is of something other than a choice from a list; `close` is the choice that may be meant."""
    return error(
        "RB702",
        f"'{choice}' is not a choice from a list of numbers",
        span,
        expected="type.choice, such as baker.hours",
        help=f"did you mean '{close}'?" if close and close != choice else None,
    )


def window_out_of_order(span: Span) -> Diagnostic:
    return error(
        "RB702",
        "a window opens between two points of progress",
        span,
        expected="two numbers from 0 to 1, rising",
    )


def not_among_choices(code: str, value: float, choice: str, choices: Collection[float], span: Span) -> Diagnostic:
    return error(code, f"{value:g} is not among the choices of '{choice}'", span, expected=numbers(choices, most=12))


# --- algorithms ------------------------------------------------------------------------------------------------------


def nothing_to_take_as_given(agent: str, span: Span) -> Diagnostic:
    """A type takes values as given, but does not learn by derivatives."""
    return error(
        "RB702",
        f"'{agent}' takes values as given, and only a derivative through the model can leave them out",
        span,
        help=f"write 'algorithm: pathwise' for {agent}, or remove 'takes_as_given'",
    )


def no_derivative(agent: str, choice: str, span: Span) -> Diagnostic:
    return error(
        "RB702",
        f"'{agent}' cannot learn by derivatives: '{choice}' is chosen from a list",
        span,
        help="give it an interval, 'between: [low, high]', or learn by ppo",
    )


def not_drawn_jointly(agent: str, choice: str, span: Span, choices: Iterable[str]) -> Diagnostic:
    return error(
        "RB702",
        f"'{agent}' has no choice '{choice}' that could be drawn jointly",
        span,
        expected="choices of this type from a list, without 'over'",
        help=did_you_mean(choice, choices),
    )


def too_many_joint(choices: int, combinations: int, most: int, span: Span) -> Diagnostic:
    return error(
        "RB702",
        f"{choices} choices with {combinations:,} combinations are too many to draw as one",
        span,
        expected=f"at most {most:,} combinations",
        help="take larger steps between choices",
    )


def nothing_to_join(choices: Iterable[str], span: Span) -> Diagnostic:
    return error(
        "RB702",
        f"'joint' lists {listed(choices)}: a single choice is always drawn on its own",
        span,
        expected="two or more different choices",
        help="remove 'joint'",
    )


# --- verification ----------------------------------------------------------------------------------------------------


def not_a_condition(kind: str, text: str, span: Span) -> Diagnostic:
    return error("RB401", f"'alive' lists conditions, but this is a {kind}", span, expected=f"for example {text} > 0")


def no_choice(name: str, span: Span, close: str | None, choices: Iterable[str]) -> Diagnostic:
    """`close` is the choice that may be meant."""
    return error(
        "RB703",
        f"there is no choice '{name}'",
        span,
        help=f"did you mean '{close}'?" if close else f"choices: {', '.join(choices)}",
    )


def outside_interval(choice: str, span: Span) -> Diagnostic:
    return error(
        "RB703",
        f"'{choice}' is chosen from an interval",
        span,
        expected="a share of it: 0 for the lower end, 1 for the upper",
    )


def no_member(choice: str, agent: str, count: int, span: Span) -> Diagnostic:
    """A choice of shares is set to something other than one of the `count` members of the type `agent`."""
    return error(
        "RB703",
        f"'{choice}' divides a whole among members of '{agent}'",
        span,
        expected=f"the number of the {agent} that gets all, from 0 to {count - 1}",
    )


def target_in_another_unit(agent: str, unit: str, found: str, common: bool, span: Span) -> Diagnostic:
    """`common`: the target is that of all types."""
    return error(
        "RB503",
        f"the reward of '{agent}' is in {unit}, but this target is in {found}",
        span,
        expected=f"an amount in {unit}, or a share such as 1%",
        help=f"each type can have its own: {{{agent}: 1%}}" if common else None,
    )
