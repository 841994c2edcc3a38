"""Calls of functions, sums over agents, and draws."""

from collections.abc import Iterable, Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Span, error
from rbcc.compiler.diagnostics.messages.timing import kept_in_state


# --- functions -------------------------------------------------------------------------------------------------------


FUNCTIONS_OF_YOUR_OWN = "functions of your own come from Python files named under 'use'"


def condition_in_function(function: str, span: Span) -> Diagnostic:
    return error(
        "RB201",
        f"'where' belongs to the index of a sum, not into {function}()",
        span,
        help="write sum(i where x[i] > 0, y[i]), or a if condition else b",
    )


def wrong_number(
    function: str, needed: str, given: int, arguments: Sequence[str], span: Span, help: str | None
) -> Diagnostic:
    """`needed` counts the arguments in words."""
    return error(
        "RB206",
        f"{function} takes {needed}, but has {given or 'none'} here",
        span,
        expected=f"{function}({', '.join(arguments)})",
        help=help,
    )


def over_agents(function: str, index: str, value: Span) -> str:
    """How a function of several values, such as `max`, is taken over agents instead."""
    return f"to go over agents write {function}({index}, {value.words})"


def no_product(name: str) -> str:
    return f"'{name}' is not a function; a product needs *"


def indices_in_brackets(name: str, indices: Iterable[str]) -> str:
    return f"indices stand in [ ]: {name}[{', '.join(indices)}]"


def no_lags(name: str, index: str) -> str:
    return f"there are no lags: {kept_in_state(name, index)}"


def no_lag_operators(name: str, index: str) -> str:
    return f"there are no lag operators: {kept_in_state(name, index)}"


def no_leads(name: str, index: str) -> str:
    return f"there are no leads: the next value of a state is written {name}'{index}"


def since_needs_a_type(span: Span, types: Iterable[str]) -> Diagnostic:
    return error(
        "RB206",
        "since() takes an agent type that chooses",
        span,
        expected=f"one of: {', '.join(f'since({agent})' for agent in types)}",
    )


# --- sums ------------------------------------------------------------------------------------------------------------


def condition_after_last_index(
    function: str, indices: str, condition: Span, behind: Iterable[Span], call: Span
) -> Diagnostic:
    """`behind` are the arguments after the indices."""
    rest = "".join(f", {argument.words}" for argument in behind)
    return error(
        "RB201",
        "'where' stands once, after the last index",
        call,
        help=f"write {function}({indices} where {condition.words}{rest})",
    )


def no_value_without_members(function: str, indices: str, condition: Span, body: Span, call: Span) -> Diagnostic:
    """A mean, an extreme or a statistic over those that fulfil a condition, which may be none."""
    where = f"{indices} where {condition.words}"
    if function == "mean":
        help = f"write sum({where}, {body.words}) / max(1, count({where}))"
    elif function in ("min", "max", "argmin", "argmax"):
        help = (
            f"write {function}({indices}, {body.words} if {condition.words} else ...), with the value that counts "
            "where it does not hold"
        )
    else:
        help = "take it over all agents, or make those that are to count an agent type of their own"
    return error("RB206", f"{function} with a condition has no value where nothing fulfils it", call, help=help)


def one_index(function: str, index: str, span: Span) -> Diagnostic:
    return error(
        "RB206",
        f"{function} gives one member, so it runs over one index",
        span,
        expected=f"for example {function}({index}, ...)",
    )


def over_agent_type(function: str, agent: str, index: str, span: Span) -> Diagnostic:
    return error(
        "RB206",
        f"{function} runs over an index, not over an agent type",
        span,
        expected=f"an index of {agent}: {index}",
        help=f"write {function}({index}, ...), and {index} inside",
    )


def not_an_index(function: str, span: Span, example: str, help: str | None) -> Diagnostic:
    return error("RB206", f"{function} needs an index here", span, expected=f"for example {example}", help=help)


def count_where(indices: Iterable[str], condition: Span) -> str:
    return f"write count({', '.join(indices)} where {condition.words})"


_NEEDS = ("an index", "an index and a value", "an index, a value and a level from 0 to 1")
"""What functions over agents take, by how many arguments stand behind the indices."""


def no_index(
    function: str, values: int, span: Span, example: str, arguments: str | None, level: bool = False
) -> Diagnostic:
    """`values` arguments stand behind the indices; `arguments` are those that are meant, if they can be told, and
    `level` says that only the last is missing."""
    help = f"write {function}({arguments})" if arguments else None
    return error(
        "RB206",
        f"{function} needs {_NEEDS[values]}",
        span,
        expected=f"for example {example}",
        help="a level is missing behind the value: 0.5 is the middle" if level else help,
    )


# --- draws -----------------------------------------------------------------------------------------------------------


def drawn_elsewhere(distribution: str, purpose: str, span: Span) -> Diagnostic:
    """`purpose` says what it is drawn in."""
    return error(
        "RB208",
        f"{distribution}() cannot be drawn in {purpose}",
        span,
        help="draw it in an equation, or in the start of a state if it is drawn once and stays",
    )


def outside_limits(distribution: str, argument: str, value: float, span: Span, limits: str) -> Diagnostic:
    return error(
        "RB410",
        f"the {argument} of {distribution} cannot be {value:g}",
        span,
        expected=f"a {argument} {limits}",
    )
