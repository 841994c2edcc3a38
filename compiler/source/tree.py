"""A spec as a tree of nodes that know their line and column, and the document that is made of it."""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping as MappingABC
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rbcc.compiler.diagnostics import Source, Span


Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Scalar:
    """A leaf: `value` is its YAML 1.2 value, `text` the characters it was read from (escapes and folding undone)."""

    value: bool | int | float | str | None
    text: str
    span: Span
    quote: str = ""

    @cached_property
    def _offsets(self) -> list[int]:
        """For each character of `text` its offset in the source.

        Folding and block indentation only change white space, so the other characters are met in order.
        """
        raw, place, end = self.span.source.text, self.span.start, self.span.end
        if self.quote in ("|", ">"):
            place = raw.find("\n", place) + 1 or end
        elif self.quote:
            place += 1
        offsets = []
        for character in self.text:
            if character.isspace():
                offsets.append(min(place, end))
                place += place < end and raw[place] == character
                continue
            while place < end and raw[place] != character:
                place += 1
            offsets.append(min(place, end))
            place += 2 if character == self.quote == "'" else 1
        return offsets

    def locate(self, start: int, end: int) -> Span:
        """The span of `text[start:end]` in the source."""
        if not self.text:
            return self.span
        offsets = self._offsets
        last = min(max(end - 1, start), len(offsets) - 1)
        first = min(start, len(offsets) - 1)
        past = start >= len(offsets)
        begin = offsets[first] + past
        return Span(self.span.source, begin, max(begin, offsets[last] + 1))


@dataclass(frozen=True)
class Sequence:
    items: tuple["Node", ...]
    span: Span


@dataclass(frozen=True)
class Entry:
    key: Span
    node: "Node"


@dataclass(frozen=True)
class Mapping:
    entries: dict[str, Entry]
    span: Span


Node = Scalar | Sequence | Mapping


def names_in(node: Node) -> Iterator[str]:
    """All keys inside a node, in whatever table."""
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            yield name
            yield from names_in(entry.node)
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from names_in(item)


def merged(base: Mapping, child: Mapping) -> Mapping:
    """`child` over `base`: tables are merged key by key, anything else is replaced, null removes a key."""
    entries = dict(base.entries)
    for key, entry in child.entries.items():
        if key not in entries:
            entries[key] = entry
        elif isinstance(entry.node, Scalar) and entry.node.value is None:
            del entries[key]
        else:
            entries[key] = replace(entry, node=_replaced(entries[key].node, entry.node))
    return Mapping(entries, child.span)


def _replaced(old: Node, new: Node) -> Node:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return merged(old, new)
    short = next((key for key in ("value", "start") if isinstance(old, Mapping) and key in old.entries), None)
    if isinstance(old, Mapping) and isinstance(new, (Scalar, Sequence)) and short:
        return Mapping({**old.entries, short: Entry(new.span, new)}, old.span)
    return new


@dataclass(frozen=True)
class Override:
    """One `path=value` from the command line or the API, already applied; `known` tells whether the key existed."""

    path: KeyPath
    span: Span
    known: bool


@dataclass(frozen=True)
class Document:
    """A spec with everything it extends and all overrides merged in."""

    root: Mapping
    sources: tuple[Source, ...]
    overrides: tuple[Override, ...] = ()

    @cached_property
    def plain(self) -> Plain:
        return _plain(self.root)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the resolved spec and of the files it uses; comments and layout do not change it."""
        plain = self.with_files({path: _digest(file) for path, file in self.files.items()})
        plain.pop("extends", None)
        plain.pop("silence", None)
        return hashlib.sha256(json.dumps(plain, ensure_ascii=False).encode()).hexdigest()

    @cached_property
    def files(self) -> dict[KeyPath, Path]:
        """The files that the spec names, Python and CSV, by the place where their names stand."""
        return {path: self.file_beside(scalar.span, scalar.text) for path, scalar in _file_names(self.root, ())}

    def with_files(self, names: MappingABC[KeyPath, str]) -> dict[str, Plain]:
        """The resolved spec with other names for the files at some places."""
        root = copy.deepcopy(self.plain)
        for path, name in names.items():
            table: Any = root
            for key in path[:-1]:
                table = table[key]
            table[path[-1]] = name
        return root  # type: ignore[return-value]

    def file_beside(self, span: Span, name: str) -> Path:
        """The file `name`, relative to the spec that `span` lies in."""
        origin = span.source if span.source in self.sources else self.sources[0]
        return Path(origin.name).parent / name

    def node(self, path: KeyPath) -> Node:
        """The node at `path`, or the deepest one above it (a shorthand scalar stands for its table)."""
        return self._walk(path)[0]

    def span(self, path: KeyPath) -> Span:
        node, rest, key = self._walk(path)
        if isinstance(node, Scalar) and not rest:
            return node.span
        return key or node.span

    def key(self, path: KeyPath) -> Span:
        """The span of the key that ends `path`."""
        node, _, key = self._walk(path)
        return key or node.span

    def extent(self, path: KeyPath) -> Span:
        """The entry at `path` with its key; the key alone where its value was written in another file."""
        node, _, key = self._walk(path)
        if key is None or key.source is not node.span.source:
            return key or node.span
        return Span(key.source, key.start, max(key.end, node.span.end))

    def has(self, path: KeyPath) -> bool:
        """Whether there is something at `path`."""
        return not self._walk(path)[1]

    def scalar(self, path: KeyPath) -> Scalar:
        node = self.node(path)
        if not isinstance(node, Scalar):
            raise TypeError(f"{'.'.join(map(str, path))} is not a scalar")
        return node

    def _walk(self, path: KeyPath) -> tuple[Node, KeyPath, Span | None]:
        node: Node = self.root
        key: Span | None = None
        for depth, part in enumerate(path):
            if isinstance(node, Mapping) and isinstance(part, str) and part in node.entries:
                key, node = node.entries[part].key, node.entries[part].node
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                key = node.span
            else:
                return node, path[depth:], key
        return node, (), key


def _file_names(node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, Scalar]]:
    """Where names of files stand: under `use`, and as `csv` of a value or start."""
    if isinstance(node, Scalar):
        if path[0] == "use" or path[-2:] in (("value", "csv"), ("start", "csv")):
            yield path, node
    elif isinstance(node, Mapping):
        for key, entry in node.entries.items():
            yield from _file_names(entry.node, (*path, key))
    elif path == ("use",):
        for position, item in enumerate(node.items):
            yield from _file_names(item, (*path, position))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def _plain(node: Node) -> Plain:
    if isinstance(node, Mapping):
        return {key: _plain(entry.node) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    return node.value
