"""The parts of a spec, as an editor lists them beside the text."""

from collections.abc import Iterator
from dataclasses import dataclass

from rbcc.compiler.diagnostics import Span
from rbcc.compiler.schema.introspection import keys_at
from rbcc.compiler.semantics.occurrences import What
from rbcc.compiler.source import KeyPath, Mapping
from rbcc.editor import descriptions
from rbcc.editor.workspace import Analysis, entry_at


@dataclass(frozen=True)
class Part:
    """An entry of the outline: `what` is the table it stands in, such as `state`, or `equation`."""

    name: str
    what: str
    key: Span
    extent: Span
    parts: tuple["Part", ...] = ()


def outline(analysis: Analysis) -> tuple[Part, ...]:
    """The tables of names in the file itself: agent types with what they have, groups with their equations."""
    known = analysis if analysis.tree is not None else analysis.known
    return tuple(_parts(known, ())) if known.tree is not None else ()


def _parts(analysis: Analysis, path: KeyPath) -> Iterator[Part]:
    entry = entry_at(analysis.tree, path) if analysis.tree is not None and path else None
    table = entry.node if entry is not None else analysis.tree
    for key, inner in table.entries.items() if isinstance(table, Mapping) else ():
        here = (*path, key)
        if path and keys_at(path):  # a key of the language: only tables of names are listed
            if isinstance(inner.node, Mapping) and not keys_at(here):
                yield from _parts(analysis, here)
            continue
        nested = not path or path[0] in ("agents", "solve")
        parts = tuple(_parts(analysis, here)) if nested and isinstance(inner.node, Mapping) else ()
        if path == ("equations",):
            parts = tuple(_equations(analysis, inner.node.span))
        if path or parts:
            end = max(inner.key.end, inner.node.span.end)
            extent = Span(inner.key.source, inner.key.start, end)
            yield Part(key, str(path[-1]) if path else "table", inner.key, extent, parts)


def _equations(analysis: Analysis, group: Span) -> Iterator[Part]:
    symbols = analysis.names.symbols if analysis.names is not None else {}
    for one in analysis.mentions:
        inside = one.span.source == group.source and group.start <= one.span.start < group.end
        if one.what is What.SYMBOL and one.extent is not None and inside and one.name in symbols:
            yield Part(descriptions.target(symbols[one.name]), "equation", one.span, one.extent)
