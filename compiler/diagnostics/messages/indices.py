"""Indices that are missing, unknown, unbound, bound twice, or of another agent type."""

from collections.abc import Iterable, Sequence

from rbcc.compiler.diagnostics.diagnostic import Diagnostic, Label, Span, error


def unbound(index: str, span: Span, bound: Sequence[str], help: str) -> Diagnostic:
    return error(
        "RB303",
        f"index '{index}' has no range here",
        span,
        expected=f"an index that does: {', '.join(bound)}" if bound else None,
        help=help,
    )


def unknown(name: str, span: Span, known: str, close: str | None) -> Diagnostic:
    """`known` lists all indices; `close` is the one that `name` may be meant to be."""
    return error(
        "RB303",
        f"'{name}' is not an index",
        span,
        expected=f"one of: {known}",
        help=f"did you mean '{close}'?" if close else f"a second one of a type is declared so: 'index: [i, {name}]'",
    )


def of_time(name: str, span: Span, short: str, wanted: str, past: str) -> Diagnostic:
    """`name` is given the step as an index; `past` says how to keep an earlier value."""
    return error(
        "RB301",
        f"'{name}' has no index of time",
        span,
        expected=_indexed(short, wanted),
        help=f"x is the value in this step, x' a state in the next; for that of the step before, {past}",
    )


def wrong_number(
    name: str, span: Span, needed: str, given: int, short: str, wanted: str, total: bool, labels: tuple[Label, ...]
) -> Diagnostic:
    """`needed` counts the indices in words; with `total` a sum over the only one may be meant."""
    return error(
        "RB301",
        f"'{name}' has {needed}, here it is given {given}",
        span,
        expected=_indexed(short, wanted),
        help=f"for the total write sum({wanted}, {short}[{wanted}])" if total else None,
        labels=labels,
    )


def wrong_way_round(
    name: str, span: Span, short: str, order: Iterable[str], labels: tuple[Label, ...]
) -> Diagnostic:  # fmt: skip
    return error(
        "RB302",
        f"the indices of '{name}' are the wrong way round",
        span,
        expected=f"{short}[{', '.join(order)}]",
        labels=labels,
    )


def of_another_type(
    symbol: str, agent: str, index: str, other: str, span: Span, known: Sequence[str], labels: tuple[Label, ...]
) -> Diagnostic:
    return error(
        "RB302",
        f"'{symbol}' is indexed by {agent}, but '{index}' is an index of {other}",
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
    """`free` is another index of the type, if there is one that has no range yet."""
    return error(
        "RB304",
        f"index '{index}' already has a range here",
        span,
        help=f"use '{free}', another index of {agent}"
        if free
        else f"declare a second one of {agent}, 'index: [{index}, k]', and sum over k",
    )


def over_nothing(reduction: str, index: str, span: Span, instead: str | None) -> Diagnostic:
    return error(
        "RB306",
        f"this {reduction} runs over '{index}', but nothing in it depends on '{index}'",
        span,
        help="is an index missing inside?" + (f" If it is meant so, write {instead}" if instead else ""),
    )


def _indexed(name: str, indices: str) -> str:
    return f"{name}[{indices}]" if indices else f"{name} without [ ]"
