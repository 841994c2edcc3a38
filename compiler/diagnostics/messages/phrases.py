"""Phrases that messages of several themes have in common."""

from collections.abc import Collection, Iterable

from rbcc.compiler.diagnostics.diagnostic import Label, Span, suggest


def did_you_mean(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """The name of `known` that `name` may be meant to be; `otherwise` if there is none, or it is `name` itself."""
    close = suggest(name, known)
    return otherwise if close in (None, name) else meant(f"'{close}'")


def meant(name: str) -> str:
    """`name` as it is shown, in quotation marks or with what it is."""
    return f"did you mean {name}?"


def listed(names: Iterable[str], none: str = "none") -> str:
    """Names one after the other, or the word `none` where there are none."""
    return ", ".join(names) or none


def numbers(values: Collection[float], most: int | None = None) -> str:
    """Numbers one after the other, of many the first `most`."""
    shown = [f"{value:g}" for value in values][:most]
    return ", ".join(shown) + (", ..." if len(shown) < len(values) else "")


def declared_at(span: Span | None, text: str = "declared at") -> tuple[Label, ...]:
    return () if span is None else (Label(span, text),)


def named_at(span: Span) -> Label:
    """The place at which a spec names the file that a finding is about."""
    return Label(span, "the file is named at")
