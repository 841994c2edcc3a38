"""Values that the command line or the API puts in place of those of a spec."""

import json
from typing import Any

from rbcc.compiler.diagnostics import Diagnostics, Source, Span, suggest
from rbcc.compiler.source.tree import Entry, KeyPath, Mapping, Node, Override, Sequence, merged
from rbcc.compiler.source.yaml_reader import parse_value


def override_text(value: object) -> str:
    """The value of an override as one would write it behind `--set path=`."""
    return value if isinstance(value, str) else json.dumps(value, default=_plain_number)


SETTINGS = ("training", "verify")
"""Tables of settings that a spec may leave out, and an override still set."""


def _may_be_left_out(root: Mapping, path: KeyPath) -> bool:
    """Whether the table at `path` is one of settings: all of them, or those of one agent type or all types."""
    agents = root.entries.get("agents")
    types = agents.node.entries if agents and isinstance(agents.node, Mapping) else {}
    if len(path) == 1:
        return path[0] in SETTINGS
    return path[0] == "training" and len(path) in (2, 4) and (path[-1] in types or path == ("training", "default"))


def override(root: Mapping, name: str, value: object, applied: list[Override], diagnostics: Diagnostics) -> Mapping:
    """Applies one override; keys may themselves hold dots (`training.anneal.seller.quantity`), null removes."""
    source = Source("--set", f"{name}={override_text(value)}")
    span = Span(source, 0, len(name))
    node = parse_value(source, len(name) + 1, diagnostics)
    if node is None:
        return root
    parts, path = name.split("."), []
    table: Node = root
    tables: list[tuple[Mapping, str]] = []
    while parts:
        if not isinstance(table, Mapping):
            shown = "a list, which can only be replaced whole" if isinstance(table, Sequence) else "a single value"
            diagnostics.error("RB007", f"'{'.'.join(path)}' is {shown}: nothing below it can be set", span)
            return root
        key = next((k for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in table.entries), parts[0])
        parts = parts[key.count(".") + 1 :]
        path.append(key)
        tables.append((table, key))
        if key in table.entries:
            table = table.entries[key].node
        elif parts and _may_be_left_out(root, tuple(path)):
            table = Mapping({}, span)
        elif parts:
            close = suggest(key, table.entries)
            whole = path_like(root, name.split("."))
            meant = ".".join(map(str, whole)) if whole else close
            diagnostics.error(
                "RB007",
                f"the spec has no '{'.'.join(path)}'",
                span,
                expected=f"one of: {', '.join(table.entries)}" if table.entries else None,
                help=f"did you mean '{meant}'?" if meant else None,
            )
            return root
    if path == ["extends"]:
        diagnostics.error("RB007", "'extends' cannot be overridden", span, help="name the other spec in the command")
        return root
    parent, key = tables.pop()
    applied.append(Override(tuple(path), span, key in parent.entries))
    changed = merged(parent, Mapping({key: Entry(span, node)}, parent.span))
    for parent, key in reversed(tables):
        entry = Entry(parent.entries[key].key if key in parent.entries else span, changed)
        changed = Mapping({**parent.entries, key: entry}, parent.span)
    return changed


def path_like(root: Node, parts: list[str]) -> KeyPath | None:
    """The shortest path of keys that ends with the last of `parts` and has all others, in their order, before it."""
    pending: list[tuple[Node, KeyPath, int]] = [(root, (), 0)]
    for node, path, done in pending:
        for key, entry in node.entries.items() if isinstance(node, Mapping) else ():
            matched = done + (done < len(parts) - 1 and key == parts[done])
            if done == len(parts) - 1 and key == parts[-1]:
                return (*path, key)
            pending.append((entry.node, (*path, key), matched))
    return None


def _plain_number(value: Any) -> object:
    """A NumPy number or array as JSON can hold it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
