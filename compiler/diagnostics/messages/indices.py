"""Indices that are missing, unknown, unbound, bound twice, or of another agent type."""

from collections.abc import Iterable, Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error
from rbcc.compiler.diagnostics.messages.phrases import did_you_mean


def unbound(index: str, span: Span, bound: Sequence[str], help: str) -> Diagnostic:
    return error(
        "RB303",
        f"index '{index}' is not bound here",
        span,
        expected=f"an index that is bound here: {', '.join(bound)}" if bound else None,
        help=help,
    )


def bind_on_the_left(index: str) -> str:
    return f"take a sum over it, sum({index}, ...), or put [{index}] on the left side"


def bind_in_a_mean(index: str) -> str:
    return f"take a sum or a mean over it: mean({index}, ...)"


def bind_or_declare(index: str, agent: str) -> str:
    """`index` stands in a value that is fixed, outside the type `agent`."""
    return f"take a sum over it, sum({index}, ...); values that differ between agents belong to their type, '{agent}'"


def unknown(name: str, span: Span, known: Iterable[str], listed: str) -> Diagnostic:
    """`listed` names the `known` indices with their agent types."""
    return _unknown(name, span, known, listed, f"to declare a second index of a type write 'index: [i, {name}]'")


def unknown_on_the_left(name: str, span: Span, known: Iterable[str], listed: str) -> Diagnostic:
    """`name` is an index on the left side of an equation; `listed` names the `known` ones with their agent types."""
    if name == "t":
        help = "there is no time index: x is the value in this step, x' that of a state in the next"
        return error("RB303", f"'{name}' is not an index", span, expected=f"one of: {listed}", help=help)
    return _unknown(name, span, known, listed, "each agent type declares its own: 'index: i'")


def _unknown(name: str, span: Span, known: Iterable[str], listed: str, otherwise: str) -> Diagnostic:
    help = did_you_mean(name, known, otherwise)
    return error("RB303", f"'{name}' is not an index", span, expected=f"one of: {listed}", help=help)


def of_time(name: str, span: Span, short: str, wanted: str, past: str) -> Diagnostic:
    """`name` is given the step as an index; `past` says how to keep an earlier value."""
    return error(
        "RB301",
        f"'{name}' has no time index",
        span,
        expected=_indexed(short, wanted),
        help=f"x is the value in this step, x' that of a state in the next; for the value in the step before, {past}",
    )


def wrong_number(
    name: str, span: Span, needed: str, given: int, short: str, wanted: str, total: bool, labels: tuple[Label, ...]
) -> Diagnostic:
    """`needed` counts the indices in words; with `total` a sum over the only one may be meant."""
    return error(
        "RB301",
        f"'{name}' has {needed}, but is given {given or 'none'} here",
        span,
        expected=_indexed(short, wanted),
        help=f"for the total write sum({wanted}, {short}[{wanted}])" if total else None,
        labels=labels,
    )


def wrong_order(
    name: str, span: Span, short: str, order: Iterable[str], labels: tuple[Label, ...]
) -> Diagnostic:  # fmt: skip
    return error(
        "RB302",
        f"the indices of '{name}' are in the wrong order",
        span,
        expected=f"{short}[{', '.join(order)}]",
        labels=labels,
    )


def of_another_type(
    symbol: str, agent: str, index: str, its_agent: str, span: Span, known: Sequence[str], labels: tuple[Label, ...]
) -> Diagnostic:
    return error(
        "RB302",
        f"'{symbol}' is indexed by {agent}, but '{index}' is an index of {its_agent}",
        span,
        expected=f"an index of {agent}: {', '.join(known)}",
        labels=labels,
    )


def not_by(
    symbol: str, agent: str, kind: str, span: Span, known: Sequence[str], help: str | None, labels: tuple[Label, ...]
) -> Diagnostic:
    """Something other than an index or a choice, `kind` in words, stands in the place of an index."""
    return error(
        "RB302",
        f"'{symbol}' is indexed by {agent}, not by {kind}",
        span,
        expected=f"an index of {agent} ({', '.join(known)}) or a choice of one",
        help=help,
        labels=labels,
    )


def bound_twice(index: str, span: Span, agent: str, free: str | None) -> Diagnostic:
    """`free` is another index of the type, if there is one that is not bound yet."""
    return error(
        "RB304",
        f"index '{index}' is bound already",
        span,
        help=f"use '{free}', another index of {agent}"
        if free
        else f"declare a second index of {agent}, 'index: [{index}, k]', and sum over k",
    )


def over_nothing(reduction: str, index: str, span: Span, instead: str | None) -> Diagnostic:
    return error(
        "RB306",
        f"this {reduction} runs over '{index}', but nothing in it depends on '{index}'",
        span,
        help="is an index missing inside?" + (f" If not, write {instead}" if instead else ""),
    )


def choice_to_declare(agent: str) -> str:
    return f"a choice of one {agent} is declared under 'actions': {{choose: {agent}}}"


def picked_by_number(symbol: str, number: Span, index: str, free: str | None) -> str:
    """How to look something up with a number; `free` is an index of the type that the number does not vary over."""
    another, k = ("", free) if free else (f"declare a second index, 'index: [{index}, k]': ", "k")
    return f"{another}an agent picked by number, from 0, is sum({k} where {k} == {number.words}, {symbol}[{k}])"


def _indexed(name: str, indices: str) -> str:
    return f"{name}[{indices}]" if indices else f"{name} without [ ]"
