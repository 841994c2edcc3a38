"""Equations that are solved for unknowns."""

from collections.abc import Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error
from rbcc.compiler.util.text import counted


def need_each_other(
    name: str, unknowns: Sequence[str], another: str, its_unknowns: Sequence[str], span: Span, its_span: Span
) -> Diagnostic:
    """Two systems, `name` and `another`, of which each needs the solution of the other."""
    return error(
        "RB602",
        f"'{', '.join(unknowns)}' of '{name}' and '{', '.join(its_unknowns)}' of '{another}' need each other: "
        "neither can be solved for first",
        span,
        help=f"put the unknowns and equations of '{another}' into '{name}': they are solved together",
        labels=(Label(its_span, "the other is at"),),
    )


def end_follows_from_unknown(unknown: str, name: str, span: Span) -> Diagnostic:
    """The interval in which `unknown` is looked for depends on `name`, which follows from it."""
    return error(
        "RB601",
        f"the interval for '{unknown}' depends on '{name}', which follows from it",
        span,
        help="give ends that are known without it",
    )


def not_an_equality(span: Span) -> Diagnostic:
    return error(
        "RB401",
        "an equation under 'solve' is an equality",
        span,
        expected="left == right",
        help="a limit to a choice is one of its ends, 'between: [0, ...]'",
    )


def not_a_number(kind: str, span: Span) -> Diagnostic:
    """A side of an equation, of a `kind` with the article."""
    return error("RB401", f"an equation that is solved has numbers on both sides, but this is {kind}", span)


def equation_without_unknown(unknowns: Sequence[str], span: Span) -> Diagnostic:
    names = ", ".join(f"'{name}'" for name in unknowns)
    subject = "its value is" if len(unknowns) == 1 else "their values are"
    return error(
        "RB609",
        f"nothing in this equation depends on {names}",
        span,
        help=f"it holds or fails whatever {subject}: is a name missing? A condition that does not determine an "
        "unknown is an identity",
    )


def unknown_without_equation(system: str, unknown: str, span: Span) -> Diagnostic:
    return error(
        "RB609",
        f"no equation of '{system}' depends on '{unknown}'",
        span,
        help="any value would do: add its equation, or remove it",
    )


def another_number_of_equations(
    system: str, unknowns: Sequence[str], sizes: Sequence[int], equations: Sequence[int], span: Span
) -> Diagnostic:
    """`sizes` are the numbers of members of each unknown, `equations` those of each equation."""
    return error(
        "RB609",
        f"'{system}' has {counted(sum(sizes), 'unknown')} and {counted(sum(equations), 'equation')}",
        span,
        expected="as many equations as unknowns",
        found=f"unknowns {', '.join(unknowns)}: {_sum(sizes)}; equations: {_sum(equations)}",
        help="an equation stands for as many as its free indices have members",
    )


def _sum(terms: Sequence[int]) -> str:
    return " + ".join(map(str, terms)) + (f" = {sum(terms)}" if len(terms) > 1 else "")
