"""Phrases that messages of several themes have in common."""

from collections.abc import Collection, Iterable

from rbcc.compiler.diagnostics.diagnostic import Label, Span, suggest


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """The name of `known` that `name` may be meant to be; `otherwise` if there is none, or it is `name` itself."""
    close = suggest(name, known)
    return otherwise if close in (None, name) else f"did you mean '{close}'?"


def listed(names: Iterable[str], none: str = "none") -> str:
    """Names one after the other, or the word `none` where there are none."""
    return ", ".join(names) or none


def numbers(values: Collection[float], most: int | None = None) -> str:
    """Numbers one after the other, of many the first `most`."""
    shown = [f"{value:g}" for value in values][:most]
    return ", ".join(shown) + (", ..." if len(shown) < len(values) else "")


def declared_at(span: Span | None, text: str = "declared at") -> tuple[Label, ...]:
    return () if span is None else (Label(span, text),)
