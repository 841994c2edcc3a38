"""YAML files to a tree of nodes that remember their line and column.

The tree is built from YAML events, not from Python objects: every scalar keeps its text and place, values follow
the YAML 1.2 core schema (`no` is a word, `1e-3` a number), and anchors, aliases and tags, which specs do not need,
are refused, so that no file can expand without limit or construct objects.
"""

import copy
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping as MappingABC
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rbcc.compiler.diagnostics import Diagnostics, Label, Source, Span, suggest


MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 100_000
MAX_EXTENDS = 20

Plain = bool | int | float | str | list["Plain"] | dict[str, "Plain"] | None
KeyPath = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Plain] = {"": None, "~": None, "null": None, "true": True, "false": False}


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


def load(path: str | Path, overrides: MappingABC[str, object] | None, diagnostics: Diagnostics) -> Document | None:
    """Reads a spec and whatever it extends. Returns None, with the reason in `diagnostics`, if that fails."""
    sources: list[Source] = []
    root = _load_file(str(path), None, (), sources, diagnostics)
    if root is None or diagnostics.failed:
        return None
    applied = []
    for name, value in (overrides or {}).items():
        root = _override(root, name, value, applied, diagnostics)
    return None if diagnostics.failed else Document(root, tuple(sources), tuple(applied))


def find_model(name: str, folder: Path | None = None) -> Path | None:
    """The file a model name means: a path, or the bare name of a model that ships with rbcc."""
    direct = Path(name) if folder is None or os.path.isabs(name) else folder / name
    if direct.is_file():
        return direct
    if Path(name).name == name:
        shipped = shipped_models() / (name if name.endswith(".yaml") else f"{name}.yaml")
        if shipped.is_file():
            return shipped
    return None


def shipped_models() -> Path:
    import rbcc.models

    return Path(rbcc.models.__path__[0])


def _load_file(
    name: str, origin: Span | None, chain: tuple[Path, ...], sources: list[Source], diagnostics: Diagnostics
) -> Mapping | None:
    folder = chain[-1].parent if chain else None
    path = find_model(name, folder)
    if path is None:
        _missing_file(name, folder, origin, diagnostics)
        return None
    if path.resolve() in [known.resolve() for known in chain] or len(chain) >= MAX_EXTENDS:
        circle = " -> ".join(map(str, (*chain, path)))
        diagnostics.error("RB006", "this spec extends itself", origin, found=circle)
        return None
    source = _read(path, origin, diagnostics)
    if source is None:
        return None
    sources.append(source)
    root = _parse(source, diagnostics)
    if root is None:
        return None
    parent = root.entries.get("extends")
    if parent is None:
        return root
    if not isinstance(parent.node, Scalar) or not isinstance(parent.node.value, str):
        diagnostics.error("RB103", "'extends' takes the name of one spec", parent.node.span, expected="a file name")
        return None
    base = _load_file(parent.node.value, parent.node.span, (*chain, path), sources, diagnostics)
    return None if base is None else _merge(base, root)


def _missing_file(name: str, folder: Path | None, origin: Span | None, diagnostics: Diagnostics) -> None:
    direct = Path(name) if folder is None else folder / name
    if direct.is_dir():
        diagnostics.error("RB001", f"{name} is a folder", origin, expected="a spec file such as model.yaml")
        return
    parent = direct.parent
    nearby = [p.name for p in parent.glob("*.yaml")] if parent.is_dir() else []
    nearby += [p.stem for p in shipped_models().glob("*.yaml")]
    close = suggest(direct.name, nearby)
    diagnostics.error("RB001", f"there is no file {direct}", origin, help=f"did you mean {close}?" if close else None)


def _read(path: Path, origin: Span | None, diagnostics: Diagnostics) -> Source | None:
    try:
        if path.stat().st_size > 4 * MAX_CHARACTERS:
            diagnostics.error("RB005", f"{path} has more than {4 * MAX_CHARACTERS:,} bytes", origin)
            return None
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        diagnostics.error("RB001", f"{path} is not UTF-8 text (byte {error.start})", origin, help="save it as UTF-8")
        return None
    except OSError as error:
        diagnostics.error("RB001", f"{path} cannot be read: {error.strerror}", origin)
        return None
    if len(text) > MAX_CHARACTERS:
        diagnostics.error("RB005", f"{path} has more than {MAX_CHARACTERS:,} characters", origin)
        return None
    return Source(str(path), text)


class _Refused(Exception):
    """A spec that is YAML but not one of ours; the diagnostic is already recorded."""


def _parse(source: Source, diagnostics: Diagnostics) -> Mapping | None:
    try:
        root = _Builder(source, diagnostics).build()
    except yaml.YAMLError as error:
        _yaml_error(source, error, diagnostics)
        return None
    except _Refused:
        return None
    if not isinstance(root, Mapping):
        span = root.span if root else Span(source, 0, 0)
        diagnostics.error(
            "RB103",
            "a spec is a table of keys",
            span,
            expected="lines such as 'model: my_economy'",
            found="other YAML",
        )
        return None
    return root


@dataclass
class _Builder:
    source: Source
    diagnostics: Diagnostics
    nodes: int = 0
    events: Iterator[yaml.Event] = field(init=False)

    def __post_init__(self) -> None:
        self.events = yaml.parse(self.source.text, Loader=_LOADER)

    def build(self) -> Node | None:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = self.node(next(self.events), 0)
                next(self.events)
                following = next(self.events)
                if isinstance(following, yaml.DocumentStartEvent):
                    self.refuse("RB004", "a spec file holds one document", following, help="remove the line '---'")
                return root
        return None

    def node(self, event: yaml.Event, depth: int) -> Node:
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            self.refuse("RB005", "this spec is nested too deeply or has too many values", event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self.refuse(
                "RB004",
                "specs use no anchors or aliases (& and *)",
                event,
                help="use 'extends', or quote the text",
            )
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self.refuse("RB004", f"specs use no tags ({tag})", event, help="quote the text if it starts with '!'")
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(inner, depth + 1))
            return Sequence(tuple(items), self.span(event, inner))
        return self.mapping(event, depth)

    def mapping(self, event: yaml.Event, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(inner := next(self.events), yaml.MappingEndEvent):
            key = self.node(inner, depth + 1)
            value = self.node(next(self.events), depth + 1)
            if not isinstance(key, Scalar):
                self.refuse("RB004", "a key must be a word", inner, help="quote an expression that holds { } or [ ]")
            elif key.text == "<<":
                self.refuse("RB004", "specs use no merge keys (<<)", inner, help="use 'extends'")
            elif key.text in entries:
                self.diagnostics.error(
                    "RB003",
                    f"key '{key.text}' is given twice",
                    key.span,
                    help="keep one of the two",
                    labels=(Label(entries[key.text].key, "given first at"),),
                )
            else:
                entries[key.text] = Entry(key.span, value)
        return Mapping(entries, self.span(event, inner))

    def scalar(self, event: yaml.ScalarEvent) -> Scalar:
        quote = event.style or ""
        value = event.value if quote else _value(event.value)
        return Scalar(value, event.value, self.span(event, event), quote)

    def span(self, first: yaml.Event, last: yaml.Event) -> Span:
        start = self.source.offset(first.start_mark.line, first.start_mark.column)
        end = self.source.offset(last.end_mark.line, last.end_mark.column)
        return Span(self.source, start, end)

    def refuse(self, code: str, message: str, event: yaml.Event, **details: str) -> None:
        self.diagnostics.error(code, message, self.span(event, event), **details)
        raise _Refused


def _value(text: str) -> bool | int | float | str | None:
    """A plain scalar under the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]  # type: ignore[return-value]
    if _INTEGER.fullmatch(text) and len(text) < 19:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _yaml_error(source: Source, error: yaml.YAMLError, diagnostics: Diagnostics) -> None:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        position = getattr(error, "position", 0)
        diagnostics.error("RB002", "a character that YAML does not allow", Span(source, position, position + 1))
        return
    start = source.offset(mark.line, mark.column)
    span = Span(source, start, start + 1)
    line = source.line(source.position(start)[0])
    problem = str(getattr(error, "problem", "")).replace("could not", "cannot")
    if "\t" in line[: len(line) - len(line.lstrip())] or (source.text[start : start + 1] == "\t"):
        diagnostics.error("RB002", "a tab in the indentation", span, help="indent with spaces")
        return
    hint = "quote an expression that holds ': ', ' #', or (inside { }) ',', '[' or ']'"
    known = {
        "mapping values are not allowed": "': ' in a place where no key can stand",
        "expected <block end>": "this line is indented differently from its neighbours",
        "did not find expected key": "this line is indented differently from its neighbours, or a bracket is missing",
        "did not find expected ',' or '}'": "a comma or '}' is missing, or an expression needs quotes",
        "did not find expected ',' or ']'": "a comma or ']' is missing, or an expression needs quotes",
    }
    message = next((text for start, text in known.items() if problem.startswith(start)), problem or "not valid YAML")
    opened = getattr(error, "context_mark", None)
    labels = ()
    if opened is not None and "flow" in str(getattr(error, "context", "")):
        place = source.offset(opened.line, opened.column)
        labels = (Label(Span(source, place, place + 1), "the bracket was opened at"),)
    diagnostics.error("RB002", message, span, help=hint, labels=labels)


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


def _merge(base: Mapping, child: Mapping) -> Mapping:
    """`child` over `base`: tables are merged key by key, anything else is replaced, null removes a key."""
    entries = dict(base.entries)
    for key, entry in child.entries.items():
        if key not in entries:
            entries[key] = entry
        elif isinstance(entry.node, Scalar) and entry.node.value is None:
            del entries[key]
        else:
            entries[key] = replace(entry, node=_replace(entries[key].node, entry.node))
    return Mapping(entries, child.span)


def _replace(old: Node, new: Node) -> Node:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _merge(old, new)
    short = next((key for key in ("value", "start") if isinstance(old, Mapping) and key in old.entries), None)
    if isinstance(old, Mapping) and isinstance(new, (Scalar, Sequence)) and short:
        return Mapping({**old.entries, short: Entry(new.span, new)}, old.span)
    return new


def override_text(value: object) -> str:
    """The value of an override as one would write it behind `--set path=`."""
    return value if isinstance(value, str) else json.dumps(value, default=_plain_number)


def _override(root: Mapping, name: str, value: object, applied: list[Override], diagnostics: Diagnostics) -> Mapping:
    """Applies one override; keys may themselves hold dots (`training.anneal.seller.quantity`), null removes."""
    source = Source("--set", f"{name}={override_text(value)}")
    span = Span(source, 0, len(name))
    node = _override_value(source, len(name) + 1, diagnostics)
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
        elif parts:
            close = suggest(key, table.entries)
            diagnostics.error(
                "RB007",
                f"the spec has no '{'.'.join(path)}'",
                span,
                expected=f"one of: {', '.join(table.entries)}",
                help=f"did you mean '{close}'?" if close else None,
            )
            return root
    if path == ["extends"]:
        diagnostics.error("RB007", "'extends' cannot be overridden", span, help="name the other spec in the command")
        return root
    parent, key = tables.pop()
    applied.append(Override(tuple(path), span, key in parent.entries))
    changed = _merge(parent, Mapping({key: Entry(span, node)}, parent.span))
    for parent, key in reversed(tables):
        entry = Entry(parent.entries[key].key, changed)
        changed = Mapping({**parent.entries, key: entry}, parent.span)
    return changed


def _plain_number(value: Any) -> object:
    """A NumPy number or array as JSON can hold it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _override_value(source: Source, start: int, diagnostics: Diagnostics) -> Node | None:
    text = source.text[start:]
    if not text.lstrip().startswith(("[", "{")):
        return Scalar(_value(text.strip()), text, Span(source, start, len(source.text)))
    blank = Source(source.name, " " * start + text)
    try:
        node = _Builder(blank, diagnostics).build()
    except yaml.YAMLError as error:
        _yaml_error(blank, error, diagnostics)
        return None
    except _Refused:
        return None
    return node


def is_text(text: str) -> bool:
    """Whether `text`, written without quotes, is read back as text and not as a number or a word such as true."""
    return _value(text) == text and isinstance(_value(text), str)
