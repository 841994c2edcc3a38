"""Agent types, their choices and their indices as a spec declares them; files of functions."""

from collections.abc import Collection, Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error
from rbcc.compiler.diagnostics.messages.phrases import named_at, numbers


# --- files of functions ----------------------------------------------------------------------------------------------


def no_python_file(path: str, span: Span) -> Diagnostic:
    return error("RB008", f"there is no file {path}", span, help="paths start at the spec's folder")


def unusable_python_file(reason: str, span: Span, named: Span | None) -> Diagnostic:
    """`named` is the place in the spec, if `span` is one in the file."""
    return error("RB008", reason, span, labels=() if named is None else (named_at(named),))


def reserved_function(name: str) -> str:
    return f"'{name}' cannot name a function: it means something else"


# --- agent types and indices -----------------------------------------------------------------------------------------


def no_index(agent: str, count: int, span: Span, free: str) -> Diagnostic:
    return error(
        "RB305",
        f"{count} agents of type '{agent}', but no index to tell them apart",
        span,
        help=f"add 'index: {free}'",
    )


def nothing_to_go_over(agent: str, single: bool, span: Span) -> Diagnostic:
    """`over` names a type without an index; `single`: it has one agent."""
    help = "leave out 'over': there is one agent of this type" if single else "give it one: 'index: k'"
    return error("RB305", f"'over' needs an index, but '{agent}' has none", span, help=help)


def pairs_need_two_indices(agent: str, index: str, span: Span, declared: Span) -> Diagnostic:
    return error(
        "RB305",
        f"pairs of '{agent}' need two index names, but it has one",
        span,
        help=f"add a second: 'index: [{index}, ...]'",
        labels=(Label(declared, "its index at"),),
    )


def choose_after_each_other(cycle: Sequence[str], span: Span) -> Diagnostic:
    return error("RB602", f"agent types choose after each other: {' -> '.join(cycle)}", span)


# --- choices ---------------------------------------------------------------------------------------------------------


def nothing_to(verb: str, agent: str, span: Span) -> Diagnostic:
    """Members of a type are to be chosen or shared among, but it has only one."""
    return error(
        "RB701",
        f"there is only one '{agent}', so there is nothing to {verb}",
        span,
        expected="an agent type with an index",
    )


def too_many_choices(number: float, most: int, span: Span) -> Diagnostic:
    return error(
        "RB701", f"{number:,.0f} choices are too many", span, expected=f"at most {most:,}", help="take a larger step"
    )


def too_many_members(agent: str, count: int, most: int, span: Span) -> Diagnostic:
    return error("RB701", f"{count:,} of '{agent}' are too many to choose one from", span, expected=f"at most {most:,}")


def falling_choices(start: float, end: float, step: float, span: Span) -> Diagnostic:
    return error(
        "RB701",
        f"these choices fall, from {start:g} to {end:g}",
        span,
        help=f"write {{from: {end:g}, to: {start:g}, step: {step:g}}}",
    )


def steps_miss_the_end(start: float, end: float, step: float, nearest: tuple[float, float], span: Span) -> Diagnostic:
    return error(
        "RB701",
        f"steps of {step:g} do not lead from {start:g} to {end:g}",
        span,
        expected="'to' is 'from' plus a whole number of steps",
        help=f"end at {nearest[0]:g} or {nearest[1]:g}, or take another step",
    )


def unordered_choices(choices: Collection[float], span: Span) -> Diagnostic:
    return error(
        "RB701",
        "choices must rise, and each is given once",
        span,
        found=numbers(choices),
        help=f"write [{numbers(sorted(set(choices)))}]",
    )


def share_with_unit(name: str, span: Span) -> Diagnostic:
    return error(
        "RB501",
        "shares have no unit",
        span,
        help=f"multiply them by the whole: an equation x = {name}[...] * whole has its unit",
    )


def shares_over_twice(name: str, agent: str, span: Span) -> Diagnostic:
    return error(
        "RB701",
        f"'{name}' is over '{agent}' already: there is a share for each of them",
        span,
        help="remove 'over'; declare a choice for each whole that is divided",
    )


# --- intervals -------------------------------------------------------------------------------------------------------


def end_is_not_a_number(span: Span) -> Diagnostic:
    return error("RB401", "the end of an interval is a number", span)


def end_in_another_unit(name: str, unit: str, found: str, span: Span, declared: Span) -> Diagnostic:
    return error(
        "RB501",
        f"the end of the interval has a different unit from '{name}'",
        span,
        expected=f"{unit}, the unit of '{name}'",
        found=found,
        labels=(Label(declared, "declared at"),),
    )


def falling_interval(span: Span) -> Diagnostic:
    return error("RB701", "an interval goes from its lower to its higher end", span)


# --- choices that depend on the state --------------------------------------------------------------------------------


def where_is_not_a_condition(action: str, members: bool, kind: str, span: Span) -> Diagnostic:
    """`members`: the choice is one of an agent type; `kind` says what stands there instead."""
    return error(
        "RB401",
        f"'where' is a condition, but this is {kind}",
        span,
        expected=f"for example {action} {'!=' if members else '<='} ...",
    )


def where_without_its_choice(action: str, span: Span) -> Diagnostic:
    return error(
        "RB701",
        f"this condition does not depend on '{action}': it allows all choices, or none",
        span,
        expected=f"'{action}', which stands for each of its choices in turn",
        help="what holds for all choices alike belongs in the equations",
    )


def where_without_a_list(action: str, end: str | None, span: Span) -> Diagnostic:
    """The choice is from an interval, of which `end` may be an end, or one of shares."""
    return error(
        "RB701",
        f"{'shares have' if end is None else 'an interval has'} no 'where': '{action}' is not chosen from a list",
        span,
        help="remove it: multiply the shares by what there is to divide, in an equation"
        if end is None
        else f'let its ends depend on what is known: between: [0, "{end}"]',
    )


def never_allowed(action: str, span: Span) -> Diagnostic:
    return error(
        "RB704",
        f"no choice of '{action}' is ever allowed",
        span,
        expected="a choice that fulfils the condition, whatever happens",
        help="with the values of the spec it is never true: is it the wrong way round?",
    )
